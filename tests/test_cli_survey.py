"""Surveys of data sets on the command line: their options, what they print, bad input, interruptions."""

from __future__ import annotations

import csv
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from rich.progress import Task

from pixelgrad import registry
from pixelgrad.cli import console
from pixelgrad.cli import survey as commands
from pixelgrad.gradient import Step
from tests.conftest import ROOT
from tests.counting import Counting

OPTIONS = ("--out", "run", "--model", "tinynet", "--workers", "1")


@pytest.fixture(autouse=True)
def counting(monkeypatch):
    """The tests' survey is one of the registry's."""
    registry.surveys()
    monkeypatch.setitem(registry._surveys, Counting.name, Counting)


@pytest.fixture
def data(here) -> Path:
    """Eight pictures, of which one cannot be read."""
    (here / "data").mkdir()
    for i in range(8):
        Image.new("RGB", (40 + i, 50), (i, 20 * i, 0)).save(here / "data" / f"{i}.png")
    (here / "data" / "5.png").write_text("x")
    return here / "data"


def test_what_it_says_and_writes(run, data, here):
    code, out, err = run("find", "counting", "data", *OPTIONS)
    assert code == 0
    assert out == "7 pictures were counted\nwrote run\n"
    assert err == "warning: 1 of 8 pictures cannot be read: run/errors.csv says why\n"
    rows = list(csv.reader((here / "run" / "errors.csv").read_text().splitlines()))
    assert rows[0] == ["name", "reason"]
    assert rows[1][0] == "5.png"
    assert sorted(p.name for p in (here / "run").iterdir()) == [
        "counts.txt",
        "errors.csv",
        "parts",
        "run.json",
    ]


def test_as_json(done, data):
    (data / "5.png").unlink()
    answer = json.loads(done("find", "counting", "data", *OPTIONS, "--weight", 3, "--json"))
    assert answer == {
        "survey": "find/counting",
        "settings": {"weight": 3},
        "model": "tinynet",
        "folder": "run",
        "found": ["7 pictures were counted"],
        "pictures": 7,
        "unreadable": 0,
    }


def test_settings_and_batch_reach_the_run(done, data, here):
    (data / "5.png").unlink()
    done("find", "counting", "data", *OPTIONS, "--weight", 2)
    first = (here / "run" / "counts.txt").read_text()
    settings = json.loads((here / "run" / "run.json").read_text())["settings"]
    assert settings == {"weight": 2, "pause": 0.0}
    done("find", "counting", "data", "--out", "two", *OPTIONS[2:], "--weight", 2, "--batch", 3)
    assert (here / "two" / "counts.txt").read_text() == first


def test_the_same_again_goes_on_and_another_is_refused(run, data, fails):
    assert run("find", "counting", "data", *OPTIONS)[0] == 0
    assert run("find", "counting", "data", *OPTIONS)[0] == 0
    message = fails("find", "counting", "data", *OPTIONS, "--weight", 5)
    assert message == (
        "error: run is of another run: its weight is 1, not 5; give another folder, or delete it"
    )


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("nowhere", *OPTIONS), "no such folder or file: nowhere"),
        (("empty", *OPTIONS), "empty holds no pictures: it is empty"),
        (("data", *OPTIONS, "--address", "auto"), "an address is of a Ray cluster"),
        (("data", "--out", "data", *OPTIONS[2:]), "data holds other files; give a new folder"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(fails, data, here, args, message):
    (here / "empty").mkdir()
    assert message in fails("find", "counting", *args)


@pytest.mark.parametrize(
    "args", [("data",), ("data", *OPTIONS, "--weight", "0"), ("data", *OPTIONS, "--engine", "x")]
)
def test_wrong_usage(run, data, args):
    assert run("find", "counting", *args)[0] == 2


def test_verbs_have_techniques_and_surveys_in_one_group(done):
    assert done("--help").count(" find ") == 1
    assert re.search(r"counting +Counts and sums", done("find", "--help"))
    for name in registry.surveys():
        verb, short = name.split("/")
        assert short in done(verb, "--help")


def test_every_setting_is_an_option_with_its_help(done):
    text = " ".join(done("find", "counting", "--help").split())
    for setting in Counting.settings():
        assert f"--{setting.name}" in text
        assert setting.help in text
    for option in ("--engine", "--address", "--workers", "--batch", "--json", "--device", "--weights"):
        assert option in text


def test_a_network_on_each_core_or_gpu(monkeypatch):
    monkeypatch.setattr("torch.get_num_threads", lambda: 6)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    assert [commands.together(d) for d in ("cpu", "cuda", "cuda:1", "mps")] == [6, 3, 1, 1]


def test_the_bar_tells_the_speed_of_what_is_done_now(monkeypatch):
    """Pictures of an earlier run, which are there at once, count for none."""
    times = iter(range(1000))
    task = None

    class Watched(console.Progress):
        def __init__(self, *columns, **more):
            super().__init__(*columns, **{**more, "disable": True}, get_time=lambda: float(next(times)))

        def stop(self):
            nonlocal task
            task = self.tasks[0]

    monkeypatch.setattr(console, "Progress", Watched)
    with console.working("x", speed=True) as step:
        for n in (5000, 5010, 5020, 5030):
            step(Step(n, 9000))
    assert isinstance(task, Task)
    assert 0 < task.speed <= 10
    assert (task.completed, task.total) == (5030, 9000)
    assert console.Speed().render(task).plain == f"{task.speed:,.0f}/s"


MAIN = """
import importlib, sys
from pixelgrad import cli, registry
from tests.counting import Counting
registry.surveys()
registry._surveys[Counting.name] = Counting
importlib.import_module("pixelgrad.run_over").SMALL = 2
cli.main()
"""


def test_ctrl_c_keeps_what_is_done_and_says_so(data, here):
    arguments = ["find", "counting", "data", *OPTIONS, "--batch", "1", "--pause", "0.3"]
    command = [sys.executable, "-c", MAIN, *arguments]
    program = subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        # a shell that runs the tests in the background has it ignored, and a process passes that on
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    end = time.monotonic() + 60
    while not list(here.glob("run/parts/part-*")):
        assert time.monotonic() < end
        time.sleep(0.02)
    program.send_signal(signal.SIGINT)
    _, err = program.communicate(timeout=60)
    assert program.returncode == 130
    assert re.match(r"warning: [1-3] of 4 parts are done, the same command goes on\n", err), err
    assert "Traceback" not in err
    assert not list(here.rglob(".pixelgrad-*"))


def test_the_module_that_runs_surveys_is_named_like_its_function():
    assert (
        importlib.import_module("pixelgrad.run_over").run_over
        is importlib.import_module("pixelgrad").run_over
    )
