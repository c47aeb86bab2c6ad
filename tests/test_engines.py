"""Surveys over data sets: every engine, number of workers and batch gives what a slow loop gives; interruptions."""

from __future__ import annotations

import hashlib
import importlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest
import torch
from PIL import Image

import pixelgrad as pg
from pixelgrad.batches import TASK, batches
from pixelgrad.data import Sample
from pixelgrad.datasets import open_data
from pixelgrad.engines import local
from pixelgrad.engines.ray import Ray
from pixelgrad.errors import (
    Cancelled,
    DataError,
    EngineError,
    ModelError,
    NotFound,
    OutputError,
    SettingError,
)
from tests.conftest import ROOT
from tests.counting import Counting

over = importlib.import_module("pixelgrad.run_over")
BROKEN = (3, 57, 58, 229)
N = 230


@pytest.fixture(scope="module")
def model() -> pg.Classifier:
    return pg.load("tinynet")


@pytest.fixture(scope="module")
def data(model, tmp_path_factory) -> Path:
    """230 small pictures in two folders, one of which is a class of the network; four cannot be read."""
    root = tmp_path_factory.mktemp("data")
    generator = random.Random(1)
    for folder in ("goldfish", "zz no class"):
        (root / folder).mkdir()
    for i in range(N):
        path = root / ("goldfish" if i < 150 else "zz no class") / f"{i:03}.png"
        size = (generator.randrange(20, 90), generator.randrange(20, 90))
        colours = bytes(generator.randrange(256) for _ in range(48))
        Image.frombytes("RGB", (4, 4), colours).resize(size).save(path)
        if i in BROKEN:
            path.write_bytes(path.read_bytes()[:30])
    return root


@pytest.fixture(scope="module")
def expected(model, data) -> str:
    """What `Counting` must find, by a loop over pictures."""
    predicted, sums = [0] * len(model.labels), [0, 0, 0, 0]
    for i, path in enumerate(sorted(data.rglob("*.png"))):
        try:
            pixels = pg.open_image(path, model)
        except pg.PixelgradError:
            continue
        predicted[model.top(pixels, 1)[0][0].index] += 1
        value = int((pixels * 255).round().sum().item())
        label = model.label("goldfish") if i < 150 else -1
        for j, term in enumerate((1, value, value * (i + 1), (label + 1) * (i + 7))):
            sums[j] += term
    return " ".join(map(str, predicted + sums))


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Parts of 50 pictures, so that there are five."""
    monkeypatch.setattr(over, "SMALL", 50)


@pytest.fixture(autouse=True)
def known_classes():
    """One of the folders is of no class that the network knows, which is said each time."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "1 of the data's 2 classes are not among those of tinynet")
        yield


def counts(folder: Path) -> str:
    return (folder / "counts.txt").read_text()


# ---------------------------------------------------------------------- one result


@pytest.mark.parametrize("options", [{}, {"batch": 1}, {"batch": 37}, {"workers": 2, "batch": 7}])
def test_what_a_slow_loop_finds(model, data, expected, tmp_path, options):
    steps = []
    done = pg.run_over(Counting(), model, data, tmp_path / "out", progress=steps.append, **options)
    assert counts(tmp_path / "out") == expected
    assert done == (tmp_path / "out", (f"{N - 4} pictures were counted",), N, 4)
    pictures = [step.done for step in steps[:-1]]  # the last is of `finish`
    assert pictures[0] == 0
    assert pictures[-1] == N
    assert pictures == sorted(pictures)
    rows = (tmp_path / "out" / "errors.csv").read_text().splitlines()
    assert [row.partition(",")[0] for row in rows[1:]] == [
        f"{'goldfish' if i < 150 else 'zz no class'}/{i:03}.png" for i in BROKEN
    ]


def test_a_second_run_does_nothing_twice_and_a_third_only_what_is_missing(model, data, expected, tmp_path):
    pg.run_over(Counting(), model, data, tmp_path)
    parts = sorted((tmp_path / "parts").iterdir())
    assert len(parts) == 5
    before = {path: path.stat().st_mtime_ns for path in parts}
    pg.run_over(Counting(), model, data, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in parts} == before
    parts[2].write_bytes(parts[2].read_bytes()[:-9])
    parts[4].unlink()
    pg.run_over(Counting(), model, data, tmp_path)
    assert counts(tmp_path) == expected
    assert [i for i, path in enumerate(parts) if path.stat().st_mtime_ns != before[path]] == [2, 4]


def test_another_survey_data_or_network_is_refused(model, data, tmp_path):
    pg.run_over(Counting(), model, data, tmp_path)
    with pytest.raises(SettingError, match="its weight is 1, not 2"):
        pg.run_over(Counting(weight=2), model, data, tmp_path)
    with pytest.raises(SettingError, match="its data had 230 pictures, not 150"):
        pg.run_over(Counting(), model, data / "goldfish", tmp_path)
    other = pg.load("tinynet")
    other.module.classifier.bias[3] += 1
    with pytest.raises(SettingError, match="its network had other weights"):
        pg.run_over(Counting(), other, data, tmp_path)


# ---------------------------------------------------------------------- reading ahead


class Slow:
    """A data set that counts what was read."""

    root, classes = "slow", None

    def __init__(self, n: int) -> None:
        self.n, self.read_so_far = n, 0

    def __len__(self):
        return self.n

    def fingerprint(self):
        return ""

    def read(self, start, stop):
        for i in range(start, stop):
            self.read_so_far += 1
            time.sleep(0.0005 * (i % 3))
            yield Sample(i, str(i), None, "no" if i % 5 == 0 else Image.new("RGB", (64, 64), (i % 256, 0, 0)))


def test_the_order_is_kept_and_little_is_read_ahead(model):
    data, lost, reported = Slow(400), [], []
    found = []
    threads = max(2, torch.get_num_threads())
    for batch in batches(data, range(3, 400), model, 16, (), lost, reported.append):
        found += batch.ids.tolist()
        assert (batch.pixels[:, 0, 0, 0] * 255).round().int().tolist() == [
            i % 256 for i in batch.ids.tolist()
        ]
        assert data.read_so_far <= batch.ids[-1] + (5 + 2 * threads) * TASK
    assert found == [i for i in range(3, 400) if i % 5]
    assert [u.id for u in lost] == [i for i in range(3, 400) if i % 5 == 0]
    assert sum(reported) == 397


def test_a_reader_that_is_left_stops_its_threads(model):
    data, before = Slow(10_000), threading.active_count()
    reader = batches(data, range(10_000), model, 16, (), [], lambda more: None)
    next(reader)
    reader.close()
    assert threading.active_count() == before
    assert data.read_so_far < 500


def test_storage_that_is_gone_is_an_error_and_not_a_million_unreadable_pictures(model, tmp_path):
    class Gone(Slow):
        def read(self, start, stop):
            raise OSError(5, "Input/output error")

    with pytest.raises(DataError, match="slow cannot be read: input/output error"):
        pg.run_over(Counting(), model, Gone(40), tmp_path)


# ---------------------------------------------------------------------- bad input


def test_none_can_be_read(model, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.png").write_text("x")
    with pytest.raises(DataError, match=r"none of the 1 pictures of .* can be read: see .*errors.csv"):
        pg.run_over(Counting(), model, tmp_path / "data", tmp_path / "out")
    assert 'a.png,"is not a picture; JPEG' in (tmp_path / "out" / "errors.csv").read_text()


def test_bad_settings(model, small, data, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(SettingError, match="workers is at least 1; got 0"):
        pg.run_over(Counting(), model, data, out, workers=0)
    with pytest.raises(SettingError, match="batch is at least 1; got 0"):
        pg.run_over(Counting(), model, data, out, batch=0)
    with pytest.raises(NotFound, match="no engine 'rya'; did you mean 'ray'"):
        pg.run_over(Counting(), model, data, out, engine="rya")
    with pytest.raises(SettingError, match="an address is of a Ray cluster"):
        pg.run_over(Counting(), model, data, out, address="auto")
    with pytest.raises(ModelError, match="it needs one size for all"):
        pg.run_over(Counting(), pg.Classifier(small.module), data, out)
    assert not out.exists()
    with pytest.raises(SettingError, match=r"small is a network of your own, .* use workers=1"):
        pg.run_over(Counting(), small, data, out, workers=2)


def test_workers_see_that_their_network_is_another(data, tmp_path):
    changed = pg.load("tinynet")
    changed.module.classifier.bias[3] += 1
    with pytest.raises(pg.PixelgradError, match="tinynet has other weights in a worker than here"):
        pg.run_over(Counting(), changed, data, tmp_path, workers=2)


def test_without_ray_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.import_module("pixelgrad.engines.ray"), "find_spec", lambda name: None)
    with pytest.raises(EngineError, match=r"pip install 'pixelgrad\[scale\]'"):
        Ray()


def test_classes_by_name_number_and_wordnet_id(model, lite0):
    assert over.places(["goldfish", "3", "GOLDFISH"], model) == [0, 3, 0]
    assert over.places(model.labels, model) == list(range(100))
    assert over.places(["n01440764", "n01443537", "tench, Tinca tinca"], lite0) == [0, 1, 0]
    with pytest.warns(
        UserWarning, match="2 of the data's 3 classes are not among those of tinynet, such as 'n01'"
    ):
        assert over.places(["n01", "100", "7"], model) == [-1, -1, 7]


def test_no_space_ends_the_run_in_one_line_and_it_goes_on_later(model, data, expected, tmp_path, monkeypatch):
    replace, written = os.replace, []

    def full(a, b):
        if "part-" in str(b):
            written.append(b)
            if len(written) == 3:
                raise OSError(28, os.strerror(28))
        replace(a, b)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OutputError, match="no space left on device"):
        pg.run_over(Counting(), model, data, tmp_path)
    assert len(list((tmp_path / "parts").iterdir())) == 2
    assert not list(tmp_path.rglob(".*"))
    pg.run_over(Counting(), model, data, tmp_path)
    assert counts(tmp_path) == expected


# ---------------------------------------------------------------------- interruptions


@pytest.mark.parametrize(
    ("kind", "workers"), [(KeyboardInterrupt, 1), (Cancelled, 1), (KeyboardInterrupt, 2)]
)
def test_interrupted_it_keeps_what_is_done_and_says_so(model, data, expected, tmp_path, kind, workers):
    def progress(step):
        if step.done >= 130:
            raise kind

    before = threading.active_count()
    with (
        pytest.warns(UserWarning, match="[1-4] of 5 parts are done, the same command goes on"),
        pytest.raises(kind),
    ):
        pg.run_over(Counting(), model, data, tmp_path, workers=workers, batch=8, progress=progress)
    assert threading.active_count() == before
    assert children(os.getpid()) == []
    assert len(list((tmp_path / "parts").glob("part-*"))) >= 1
    pg.run_over(Counting(), model, data, tmp_path)
    assert counts(tmp_path) == expected


def children(pid: int) -> list[int]:
    """The workers of a process."""
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(p) for p in found if b"spawn_main" in Path(f"/proc/{p}/cmdline").read_bytes()]
    except OSError:
        return []


needs_proc = pytest.mark.skipif(not Path(f"/proc/{os.getpid()}/task").is_dir(), reason="needs /proc")


@pytest.mark.slow
@needs_proc
def test_a_worker_that_is_killed_is_replaced(model, data, expected, tmp_path):
    generator, killed = random.Random(4), []

    def progress(step):
        if len(killed) < 2 and step.done > 20 + 60 * len(killed) and generator.random() < 0.5:
            killed.append(generator.choice(children(os.getpid())))
            os.kill(killed[-1], signal.SIGKILL)

    with pytest.warns(
        UserWarning, match=r"a worker was killed \(signal 9\) in part \d; another one does it again"
    ):
        done = pg.run_over(Counting(), model, data, tmp_path, workers=2, batch=4, progress=progress)
    assert len(killed) == 2
    assert counts(tmp_path) == expected
    assert done.unreadable == 4


@pytest.mark.slow
@needs_proc
def test_a_part_that_always_kills_its_worker_ends_the_run(model, data, tmp_path, monkeypatch):
    monkeypatch.setattr(local, "TRIES", 2)

    def progress(step):
        for worker in children(os.getpid()):
            os.kill(worker, signal.SIGKILL)

    said = r"part \d has lost 2 workers, the last was killed \(signal 9\): is memory too small\?; "
    with (
        pytest.warns(UserWarning, match="does it again"),
        pytest.raises(EngineError, match=said + r"\d of 5 parts are done, the same command goes on$"),
    ):
        pg.run_over(Counting(pause=0.2), model, data, tmp_path, workers=2, batch=4, progress=progress)


DRIVER = """
import importlib, sys, warnings
import pixelgrad as pg
from tests.counting import Counting
warnings.simplefilter("ignore")
importlib.import_module("pixelgrad.run_over").SMALL = 50
pg.run_over(Counting(pause=0.05), pg.load("tinynet"), sys.argv[1], sys.argv[2], workers=2, batch=4)
"""


@pytest.mark.slow
@needs_proc
def test_a_driver_that_is_killed_takes_its_workers_along_and_the_run_goes_on(model, data, tmp_path):
    pg.run_over(Counting(pause=0.05), model, data, tmp_path / "undisturbed", batch=64)
    out = tmp_path / "out"
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(data), str(out)], cwd=ROOT)
    try:
        soon(lambda: len(list(out.glob("parts/part-*"))) >= 1)
        workers = children(driver.pid)
        assert len(workers) == 2
    finally:
        driver.kill()
        driver.wait()
    soon(lambda: not any(alive(worker) for worker in workers))
    parts = {path: path.stat().st_mtime_ns for path in out.glob("parts/part-*")}
    assert 1 <= len(parts) < 5
    pg.run_over(Counting(pause=0.05), model, data, out, batch=64)
    assert counts(out) == counts(tmp_path / "undisturbed")
    assert {path: path.stat().st_mtime_ns for path in parts} == parts
    assert not list(out.rglob(".*"))


def alive(pid: int) -> bool:
    try:
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def soon(happens) -> None:
    """Wait until it does."""
    end = time.monotonic() + 60
    while not happens():
        assert time.monotonic() < end
        time.sleep(0.02)


# ---------------------------------------------------------------------- Ray

RAY = """
import importlib, os, sys, threading, time, warnings
os.environ.update(RAY_AUTH_MODE="token", RAY_USAGE_STATS_ENABLED="0")
import ray
import pixelgrad as pg
from tests.counting import Counting
warnings.simplefilter("ignore")
importlib.import_module("pixelgrad.run_over").SMALL = 20
model, data, out = pg.load("tinynet"), sys.argv[1], sys.argv[2]
survey = Counting(pause=0.1)
if sys.argv[3] == "alone":
    pg.run_over(survey, model, data, out, engine="ray", workers=2, batch=9)
    assert not ray.is_initialized()
else:
    from ray.cluster_utils import Cluster
    args = {"num_cpus": 1, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=args)
    second = cluster.add_node(num_cpus=1)
    def remove():
        while len(os.listdir(os.path.join(out, "parts")) if os.path.isdir(os.path.join(out, "parts")) else []) < 3:
            time.sleep(0.05)
        cluster.remove_node(second, allow_graceful=False)
        print("removed", flush=True)
    watcher = threading.Thread(target=remove, daemon=True)
    watcher.start()
    pg.run_over(survey, model, data, out, engine="ray", address=cluster.address, batch=9)
    watcher.join(30)
    cluster.shutdown()
"""


@pytest.fixture(scope="module")
def token(tmp_path_factory) -> Path:
    """A token for the clusters of the tests; that of the person who runs them is left alone."""
    pytest.importorskip("ray", reason="needs the scale extra")
    file = tmp_path_factory.mktemp("ray") / "token"
    file.write_text(hashlib.sha256(os.urandom(16)).hexdigest())
    return file


@pytest.mark.slow
@pytest.mark.parametrize("how", ["alone", "a node is removed"])
def test_ray_gives_the_same(token, data, expected, tmp_path, how):
    environment = {**os.environ, "RAY_AUTH_TOKEN_PATH": str(token), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", RAY, str(data), str(tmp_path / "out"), how]
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert ("removed" in ran.stdout) == (how != "alone")
    assert counts(tmp_path / "out") == expected


@pytest.mark.slow
def test_a_cluster_that_is_not_there_is_one_line(token, data, tmp_path):
    code = (
        "import sys, pixelgrad as pg; from tests.counting import Counting\n"
        "try: pg.run_over(Counting(), pg.load('tinynet'), sys.argv[1], sys.argv[2], engine='ray', address='auto')\n"
        "except pg.PixelgradError as error: print(error)"
    )
    environment = {**os.environ, "RAY_AUTH_TOKEN_PATH": str(token), "RAY_TMPDIR": str(tmp_path)}
    command = [sys.executable, "-W", "ignore", "-c", code, str(data), str(tmp_path / "out")]
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert ran.stdout.startswith("no Ray cluster at auto: ")
    assert len(ran.stdout.splitlines()) == 1


def test_the_pictures_are_what_open_image_gives(model, data):
    found = batches(open_data(data), range(N), model, 50, (0, 0), [], lambda more: None)
    paths = sorted(data.rglob("*.png"))
    for batch in found:
        for i, pixels in zip(batch.ids.tolist(), batch.pixels, strict=True):
            assert torch.equal(pixels, pg.open_image(paths[i], model)[0])
