"""The command line: what it prints and writes, and that bad input is one line, exit code 1 and nothing written."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import re
import shlex
import shutil
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin
from safetensors.torch import load_file, save_file
from torch import nn
from torchvision import models as tv

import pixelgrad as pg
from pixelgrad import cli, images
from pixelgrad.presets import PRESETS
from pixelgrad.registry import techniques

SALIENCY = ("show", "saliency")


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """A tour makes a picture of a class too: in two steps here, in place of hundreds."""
    for name, preset in PRESETS.items():
        monkeypatch.setitem(PRESETS, name, replace(preset, steps=2))


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


class Failing(NamedTuple):
    """Runs a command that must fail: exit code 1, one line of error, the folder as it was."""

    run: Callable[..., Outcome]
    folder: Path

    def __call__(self, *args: object) -> str:
        before = listing(self.folder)
        code, out, err = self.run(*args)
        assert code == 1
        assert out == ""
        assert err.startswith("error: ")
        assert err.endswith("\n")
        assert len(err.splitlines()) == 1, err
        assert "Traceback" not in err
        assert listing(self.folder) == before
        return err.strip()


def listing(folder: Path) -> dict[str, str]:
    """Every file below a folder, with its content."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in folder.rglob("*")
    }


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """An empty folder, which the commands run in."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def run(here, monkeypatch, capsys) -> Callable[..., Outcome]:
    """Run the command line in this process."""
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # which main replaces

    def run(*args: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["pixelgrad", *map(str, args)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return Outcome(int(caught.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def done(run) -> Callable[..., str]:
    """Run a command that must succeed and print nothing beside its output."""

    def done(*args: object) -> str:
        code, out, err = run(*args)
        assert err == ""
        assert code == 0
        return out

    return done


@pytest.fixture
def fails(run, here) -> Failing:
    return Failing(run, here)


@pytest.fixture
def cat(here) -> Path:
    """A photograph of one's own."""
    shutil.copy(images.find("sample:cat"), here / "cat.png")
    return here / "cat.png"


@pytest.fixture(scope="session")
def random_squeezenet(tmp_path_factory) -> Path:
    """Weights that belong to squeezenet1_1."""
    file = tmp_path_factory.mktemp("weights") / "squeezenet.safetensors"
    torch.manual_seed(5)
    save_file(tv.get_model("squeezenet1_1").state_dict(), file)
    return file


# ---------------------------------------------------------------------- looking


def test_version(done):
    assert done("--version") == f"{version('pixelgrad')}\n"


def test_classify_prints_a_table_with_the_likeliest_first(done, lite0):
    out = done("classify", "sample:cat", "--top", 3)
    best = lite0.top(pg.open_image("sample:cat", lite0), 3)[0]
    title, *rows = out.splitlines()
    assert title.strip() == "sample:cat"
    assert len(rows) == 3
    for row, guess in zip(rows, best, strict=True):
        assert f"{guess.probability:.1%}" in row
        assert f"{guess.label} {guess.index}" in row


def test_classify_as_json_is_what_the_library_says(done, lite0):
    answer = json.loads(done("classify", "sample:cat", "sample:coffee", "--json"))
    assert [a["image"] for a in answer] == ["sample:cat", "sample:coffee"]
    for a in answer:
        best = lite0.top(pg.open_image(a["image"], lite0), 5)[0]
        assert [g["index"] for g in a["top"]] == [g.index for g in best]
        assert [g["label"] for g in a["top"]] == [g.label for g in best]
        assert [g["probability"] for g in a["top"]] == pytest.approx([g.probability for g in best], rel=1e-4)
        assert [g["logit"] for g in a["top"]] == pytest.approx([g.logit for g in best], rel=1e-4)


def test_classify_with_weights_of_your_own(done, random_squeezenet):
    options = ("--model", "squeezenet1_1", "--weights", random_squeezenet)
    answer = json.loads(done("classify", "sample:cat", *options, "--top", 1, "--json"))
    model = pg.load("squeezenet1_1", weights=random_squeezenet)
    assert answer[0]["top"][0]["index"] == model.top(pg.open_image("sample:cat", model), 1)[0][0].index


def test_odd_file_names_are_printed_as_they_are(done, cat):
    for name in ("a [bold]b.png", "[.png", "Füße 猫.png", ":cat:.png"):
        cat.rename(cat := cat.with_name(name))
        assert done("classify", name, "--top", 1).splitlines()[0].strip() == name
        assert json.loads(done("classify", name, "--json"))[0]["image"] == name


def test_models_lists_what_can_be_loaded(done):
    out = done("models")
    for name in ("efficientnet_lite0", "squeezenet1_0", "vgg16", "timm/NAME"):
        assert name in out


def test_models_search_finds_the_names_that_contain_a_word(done):
    out = done("models", "--search", "VGG").split()
    assert "vgg16" in out
    assert "timm/vgg16.tv_in1k" in out
    assert "resnet18" not in out
    assert "efficientnet_lite0" not in out


def test_models_as_json(done):
    found = {s["source"]: s["models"] for s in json.loads(done("models", "--search", "resnet18", "--json"))}
    assert found["torchvision"] == ["resnet18"]
    assert "timm/resnet18.a1_in1k" in found["timm"]
    assert all("resnet18" in name for names in found.values() for name in names)


@pytest.mark.parametrize("word", ["zzz", "[/]", "[bold]", "["])
def test_models_that_nothing_is_called_are_said_to_be_none(done, word):
    assert word in done("models", "--search", word)
    assert not any(s["models"] for s in json.loads(done("models", "--search", word, "--json")))


def test_layers_are_listed_in_the_order_they_run_with_their_shapes(done, lite0):
    found = json.loads(done("layers", "--json"))
    assert [(f["name"], f["kind"], tuple(f["shape"])) for f in found] == [
        (layer.name, layer.kind, tuple(layer.shape)) for layer in lite0.layers()
    ]
    names = [f["name"] for f in found]
    assert names.index("conv_stem") < names.index("blocks.3") < names.index("classifier")
    rows = done("layers").splitlines()
    assert len(rows) == len(found) + 1
    assert re.search(r"conv_stem +Conv2d\w* +.*32×112×112", rows[1 + names.index("conv_stem")])


def test_layers_of_a_picture_of_another_size(done):
    found = {
        f["name"]: f["shape"]
        for f in json.loads(done("layers", "efficientnet_lite0", "--size", 64, "--json"))
    }
    assert found["conv_stem"][-2:] == [32, 32]


# ---------------------------------------------------------------------- show saliency


def test_saliency_writes_a_picture_beside_its_name(done, cat, here):
    out = done(*SALIENCY, "cat.png")
    assert listing(here).keys() == {str(here / "cat.png"), str(here / "cat-saliency.png")}
    assert "wrote cat-saliency.png" in out
    assert "cat.png: " in out
    with Image.open(here / "cat-saliency.png") as image:
        assert image.format == "PNG"
        assert image.width > 2 * 224


@pytest.mark.parametrize(
    ("given", "written"),
    [(["sample:cat"], "cat-saliency.png"), (["sample:cat", "sample:coffee"], "saliency.png")],
)
def test_default_names_of_samples_and_of_several_pictures(done, here, given, written):
    assert f"wrote {written}" in done(*SALIENCY, *given)
    assert os.listdir(here) == [written]


def test_a_picture_elsewhere_gives_a_result_here(done, cat, here):
    (here / "deeper").mkdir()
    cat.rename(here / "deeper" / "tom.cat.png")
    done(*SALIENCY, "deeper/tom.cat.png")
    assert sorted(os.listdir(here)) == ["deeper", "tom.cat-saliency.png"]
    assert os.listdir(here / "deeper") == ["tom.cat.png"]


def test_several_pictures_are_one_labelled_sheet_with_a_map_for_each(done, here):
    out = done(*SALIENCY, "sample:cat", "sample:coffee", "-o", "both.png", "--raw")
    done(*SALIENCY, "sample:cat", "-o", "one.png")
    with Image.open("both.png") as both, Image.open("one.png") as one:
        assert both.height > 1.5 * one.height
    assert load_file("both.safetensors")["pixels"].shape == (2, 224, 224)
    assert len(re.findall(r"^sample:", out, re.M)) == 2


def raw(file: Path | str) -> dict[str, torch.Tensor]:
    return load_file(Path(file).with_suffix(".safetensors"))


@pytest.mark.parametrize("target", ["goldfish", "1", "GoldFish"])
def test_a_target_is_a_name_or_an_index(done, here, lite0, target):
    done(*SALIENCY, "sample:cat", "--target", target, "--raw", "-o", "a.png")
    expected = pg.make("show/saliency", target=1).run(lite0, pg.open_image("sample:cat", lite0))
    torch.testing.assert_close(raw("a.png")["pixels"], expected.pixels, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(raw("a.png")["score"], expected.score, rtol=1e-4, atol=1e-5)


def test_without_a_target_it_is_the_class_predicted(done, here, lite0):
    predicted = lite0.top(pg.open_image("sample:cat", lite0), 1)[0][0].label
    done(*SALIENCY, "sample:cat", "--raw", "-o", "a.png")
    done(*SALIENCY, "sample:cat", "--raw", "-o", "b.png", "--target", predicted)
    assert torch.equal(raw("a.png")["pixels"], raw("b.png")["pixels"])


@pytest.mark.parametrize(
    "text",
    [
        "Logit('goldfish')",
        "2 * Logit(1) - Logit('tabby')",
        "-LogProbability('tabby')",
        'Channel("conv_stem", 3)',
    ],
)
def test_an_objective_is_what_is_scored(done, here, lite0, text):
    from pixelgrad.objective_text import read

    done(*SALIENCY, "sample:cat", "--objective", text, "--raw", "-o", "a.png")
    _, gradient = pg.gradient(lite0, read(text), pg.open_image("sample:cat", lite0))
    torch.testing.assert_close(raw("a.png")["pixels"], gradient.abs().amax(1), rtol=1e-4, atol=1e-6)
    assert read(images.recipe("a.png")["settings"]["objective"]) == read(text)


def test_raw_writes_the_floats_beside_and_otherwise_there_are_none(done, here):
    done(*SALIENCY, "sample:cat", "-o", "a.png")
    assert os.listdir(here) == ["a.png"]
    done(*SALIENCY, "sample:cat", "-o", "a.png", "--raw")
    assert sorted(os.listdir(here)) == ["a.png", "a.safetensors"]
    assert raw("a.png").keys() == {"pixels", "score"}
    assert raw("a.png")["pixels"].min() >= 0


def test_json_says_what_was_made_and_from_what(done, cat, here):
    facts = json.loads(done(*SALIENCY, "cat.png", "--target", "tabby", "--json"))
    sha256 = hashlib.sha256(cat.read_bytes()).hexdigest()
    assert facts["out"] == "cat-saliency.png"
    assert facts["technique"] == "show/saliency"
    assert facts["settings"] == {"target": "tabby"}
    assert facts["model"] == "efficientnet_lite0"
    assert facts["images"] == [{"path": "cat.png", "sha256": sha256}]
    assert facts["report"]["gradients"] == 1
    assert facts["report"]["seconds"] > 0
    recipe = images.recipe("cat-saliency.png")
    assert recipe == {k: facts[k] for k in recipe}


def test_other_formats_can_be_written(done, here):
    done(*SALIENCY, "sample:cat", "-o", "a.jpg")
    with Image.open("a.jpg") as image:
        assert image.format == "JPEG"


# ---------------------------------------------------------------------- redo


def content(file: Path | str) -> np.ndarray:
    with Image.open(file) as image:
        return np.asarray(image)


def test_redo_makes_the_same_file_bit_by_bit(done, cat, here):
    done(*SALIENCY, "cat.png", "--objective", "Logit('tabby') - 0.5 * Logit(1)", "--raw")
    out = done("redo", "cat-saliency.png", "--raw")
    assert "wrote cat-saliency-redo.png" in out
    for ending in (".png", ".safetensors"):
        first, again = (Path(f"cat-saliency{middle}{ending}").read_bytes() for middle in ("", "-redo"))
        assert first == again


def test_redo_of_samples_and_several_pictures_with_weights(done, here, random_squeezenet):
    shutil.copy(random_squeezenet, "w.safetensors")
    done(
        *SALIENCY,
        "sample:cat",
        "sample:coffee",
        "-m",
        "squeezenet1_1",
        "--weights",
        "w.safetensors",
        "-o",
        "a.png",
    )
    done("redo", "a.png", "-o", "b.png")
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()


def test_redo_onto_itself(done, cat, here):
    done(*SALIENCY, "cat.png", "-o", "a.png")
    before = Path("a.png").read_bytes()
    facts = json.loads(done("redo", "a.png", "-o", "a.png", "--json"))
    assert facts["out"] == "a.png"
    assert Path("a.png").read_bytes() == before


def test_redo_finds_a_picture_that_moved_beside_the_result(done, cat, here):
    done(*SALIENCY, "cat.png", "-o", "a.png")
    (here / "moved").mkdir()
    cat.rename(here / "moved" / "cat.png")
    Path("a.png").rename(here / "moved" / "a.png")
    done("redo", "moved/a.png")
    np.testing.assert_array_equal(content("moved/a-redo.png"), content("moved/a.png"))


def test_redo_of_another_picture(done, cat, here):
    done(*SALIENCY, "cat.png", "--target", "tabby", "-o", "a.png")
    done("redo", "a.png", "sample:coffee", "-o", "b.png")
    done(*SALIENCY, "sample:coffee", "--target", "tabby", "-o", "c.png")
    assert Path("b.png").read_bytes() == Path("c.png").read_bytes()


def test_redo_of_a_picture_that_changed_is_refused(done, fails, cat):
    done(*SALIENCY, "cat.png", "-o", "a.png")
    with cat.open("ab") as file:
        file.write(b"\0")
    assert "cat.png has changed" in fails("redo", "a.png")
    done("redo", "a.png", "cat.png")  # the cure that it names


def test_redo_of_a_picture_that_is_gone_is_refused(done, fails, cat):
    done(*SALIENCY, "cat.png", "-o", "a.png")
    cat.unlink()
    message = fails("redo", "a.png")
    assert "cat.png" in message
    assert "is not there" in message


def test_redo_with_weights_that_are_gone_is_refused(done, fails, here, random_squeezenet):
    shutil.copy(random_squeezenet, "w.safetensors")
    done(*SALIENCY, "sample:cat", "-m", "squeezenet1_1", "--weights", "w.safetensors", "-o", "a.png")
    Path("w.safetensors").unlink()
    assert "w.safetensors" in fails("redo", "a.png")


def test_redo_of_a_picture_without_a_recipe_is_refused(fails, cat):
    assert "carries no recipe" in fails("redo", "cat.png")
    assert "no such file" in fails("redo", "none.png")
    assert "no recipe" in fails("redo", "sample:cat")


GOOD = {
    "pixelgrad": "0.1.0",
    "technique": "show/saliency",
    "settings": {},
    "model": "efficientnet_lite0",
    "weights": None,
    "images": [
        {"path": "sample:cat", "sha256": hashlib.sha256(images.find("sample:cat").read_bytes()).hexdigest()}
    ],
}
DAMAGE: list[dict[str, Any]] = [
    {"technique": None},
    {"technique": "show/salience"},
    {"technique": ["show/saliency"]},
    {"settings": []},
    {"settings": {"no_such": 1}},
    {"settings": {"target": {"a": 1}}},
    {"settings": {"target": 1.5}},
    {"settings": {"target": [[1]]}},
    {"settings": {"target": [1, 2]}},
    {"settings": {"objective": 3}},
    {"settings": {"objective": ["Logit(1)"]}},
    {"settings": {"objective": "__import__('os').mkdir('x')"}},
    {"model": 3},
    {"model": "efficientnet_lite"},
    {"weights": 5},
    {"weights": ["w"]},
    {"images": []},
    {"images": {}},
    {"images": ["sample:cat"]},
    {"images": [{}]},
    {"images": [{"path": "sample:cat"}]},
    {"images": [{"path": 3, "sha256": ""}]},
    {"images": [{"path": "sample:cat", "sha256": None}]},
    {"images": [{"path": "sample:dog", "sha256": ""}]},
    {"images": [{"path": "x" * 300, "sha256": ""}]},
    {"images": [{"path": "a\0b", "sha256": ""}]},
]


def with_recipe(file: str, text: str) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_itxt(images.RECIPE, text)
    Image.new("RGB", (8, 8)).save(file, pnginfo=info)


def test_redo_of_a_good_recipe_written_by_hand(done, here):
    with_recipe("a.png", json.dumps(GOOD))
    assert "wrote a-redo.png" in done("redo", "a.png")


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda d: json.dumps(d)[:60])
def test_redo_of_a_damaged_recipe_is_refused(fails, here, damage):
    with_recipe("a.png", json.dumps(GOOD | damage))
    fails("redo", "a.png")


@pytest.mark.parametrize("text", ["", "{", "[1]", "[" * 50_000], ids=["empty", "cut", "list", "deep"])
def test_redo_of_what_is_no_recipe_is_refused(fails, here, text):
    with_recipe("a.png", text)
    assert "damaged" in fails("redo", "a.png")


# ---------------------------------------------------------------------- tour


class Page(HTMLParser):
    """What a page asks for, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [v for k, v in attrs if k in ("src", "href", "srcset", "data", "action") and v]

    def handle_data(self, data):
        self.words += data


def test_tour_writes_a_page_that_needs_nothing_else(done, here):
    assert "wrote pixelgrad-tour/index.html" in done("tour")
    text = Path("pixelgrad-tour/index.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.links
    for link in page.links:
        assert "/" not in link
        with Image.open(Path("pixelgrad-tour", link)) as image:
            image.load()
    assert set(os.listdir("pixelgrad-tour")) == {"index.html", *page.links}
    assert not {"script", "link", "iframe", "base"} & set(page.tags)
    assert not re.search(r"url\(|@import|//[a-z]", text.replace("<!doctype html>", ""), re.I)


def test_tour_shows_every_technique_with_the_command_that_makes_its_picture(done, here):
    done("tour", "sample:cat", "-o", "deep/er")
    page = Page(Path("deep/er/index.html").read_text(encoding="utf-8"))
    commands = re.findall(r"^pixelgrad .*$", page.words, re.M)
    assert len(commands) == len(techniques())
    assert "tiger cat" in page.words
    first = next(c for c in commands if " show saliency " in c)
    done(*shlex.split(first)[1:], "-o", "again.png")
    assert Path("again.png").read_bytes() == Path("deep/er/show-saliency.png").read_bytes()


def test_tour_of_an_odd_file_name_a_second_time_with_weights(done, cat, here, random_squeezenet):
    cat.rename(here / "<b>&'x' .png")
    options = ("-m", "squeezenet1_1", "--weights", random_squeezenet, "-o", "t")
    done("tour", "<b>&'x' .png", *options)
    first = listing(here)
    done("tour", "<b>&'x' .png", *options)
    assert listing(here) == first
    page = Page(Path("t/index.html").read_text(encoding="utf-8"))
    assert "<b>&'x' .png" in page.words
    assert "b" not in page.tags
    command = next(c for c in page.words.splitlines() if c.startswith("pixelgrad show saliency"))
    done(*shlex.split(command)[1:], "-o", "again.png")
    assert Path("again.png").read_bytes() == Path("t/show-saliency.png").read_bytes()


# ---------------------------------------------------------------------- bad pictures


def damaged(name: str) -> str:
    """A file that is no picture to be looked at; its path."""
    data = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)).save(data, "JPEG")
    row = b"\0" + bytes(10_000 // 8)
    header = struct.pack(">IIBBBBB", 10_000, 10_000, 1, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(row * 10_000)), (b"IEND", b""))
    chunks = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts)
    if name == "folder.png":
        Path(name).mkdir()
    elif name == "point.png":
        Image.new("RGB", (1, 1)).save(name)
    elif name == "large.png":
        Path(name).write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    elif name == "cut.jpg":
        Path(name).write_bytes(data.getvalue()[:1500])
    elif name == "text.png":
        Path(name).write_text("I am no picture.\n")
    elif name == "empty.png":
        Path(name).write_bytes(b"")
    return name


BAD_PICTURES = {
    "none.png": "no such file",
    "text.png": "is not a picture",
    "empty.png": "is not a picture",
    "cut.jpg": "truncated",
    "point.png": "1×1",
    "large.png": "10000×10000",
    "folder.png": "not a file",
    "sample:dog": "no sample 'dog'",
}


@pytest.mark.parametrize("name", BAD_PICTURES)
@pytest.mark.parametrize("command", [("classify",), SALIENCY, ("tour",), ("redo", "good.png")], ids=" ".join)
def test_a_bad_picture_is_one_line(fails, here, command, name):
    with_recipe("good.png", json.dumps(GOOD))
    message = fails(*command, damaged(name))
    assert BAD_PICTURES[name] in message
    assert name.removeprefix("sample:") in message


@pytest.mark.parametrize("name", BAD_PICTURES)
@pytest.mark.parametrize("command", [("classify",), SALIENCY], ids=" ".join)
def test_one_bad_picture_among_good_ones_is_one_line(fails, here, command, name):
    assert BAD_PICTURES[name] in fails(*command, "sample:cat", damaged(name))


@pytest.mark.parametrize("command", [("classify",), SALIENCY, ("tour",), ("redo",)], ids=" ".join)
@pytest.mark.parametrize("name", ["two\nlines.png", "red \x1b[31m.png", "x" * 300 + ".png", "a/b/[/]/c.png"])
def test_odd_names_of_missing_pictures_are_one_line(fails, here, command, name):
    message = fails(*command, name)
    assert "\x1b" not in message


def test_a_picture_that_is_too_long_is_refused_before_it_is_read(fails, cat, monkeypatch):
    monkeypatch.setattr(images, "MAX_BYTES", 1000)
    whole = Path.read_bytes

    def read_bytes(path):
        assert path.name != "cat.png", "read before its size was looked at"
        return whole(path)

    for command in (("classify",), SALIENCY, ("tour",)):
        with monkeypatch.context() as patch:
            patch.setattr(sys.modules[__name__], "listing", lambda folder: sorted(os.listdir(folder)))
            patch.setattr(Path, "read_bytes", read_bytes)
            assert "at most 1,000" in fails(*command, "cat.png")


# ---------------------------------------------------------------------- bad names and settings


@pytest.mark.parametrize("command", ["classify", "show saliency", "tour", "layers"])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("efficientnet_lite1", "did you mean 'efficientnet_lite0'"),
        ("resnet19", "'resnet18'"),
        ("", "no model ''"),
        ("[/]", "no model '[/]'"),
        ("[bold]", "no model '[bold]'"),
    ],
)
def test_an_unknown_model_is_one_line_with_the_nearest(fails, command, name, words):
    args = (name,) if command == "layers" else ("sample:cat", "--model", name)
    assert words in fails(*command.split(), *args)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("tabbyy", "did you mean 'tabby'"),
        ("gold fish", "'goldfish'"),
        ("1000", "0 to 999"),
        ("-1", "0 to 999"),
        ("9" * 30, "0 to 999"),
        ("--5", "no class '--5'"),
        ("1.5", "no class '1.5'"),
        ("", "no class ''"),
        ("CARDIGAN", "264 or 474"),
        ("[/red]", "no class '[/red]'"),
        ("a\nb", "no class"),
    ],
)
def test_an_unknown_class_is_one_line_with_what_there_is(fails, target, words):
    assert words in fails(*SALIENCY, "sample:cat", f"--target={target}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Channel('conv_ste', 0)", "'conv_stem'"),
        ("Channel('blocks.9', 0)", "no layer 'blocks.9'"),
        ("Channel('conv_stem', 32)", "channels 0 to 31"),
        ("Channel('conv_stem', -1)", "at least 0"),
        ("Channel('conv_stem', 1.5)", "whole number"),
        ("Channel('conv_stem:2', 0)", "conv_stem:2"),
        ("Channel('', 0)", "layer"),
        ("Channel()", "layer"),
        ("Channel(5, 0)", "layer"),
        ("Logit('tabbyy')", "'tabby'"),
        ("Logit(1000)", "0 to 999"),
        ("Logit(1.5)", "1.5"),
        ("Logit([1, 2])", "2 targets for 1"),
        ("Logit({1: 2})", "{1: 2}"),
        ("Logit(b'tabby')", "tabby"),
        ("Logit(True)", "True"),
        ("Logit((1, 'x'))", "'x'"),
        ("Logit()()", "no objective"),
        ("Logit(1, 2)", "Logit takes target"),
        ("Logit(goal=1)", "Logit takes target"),
        ("Logit(**{'target': 1})", "Logit"),
        ("Logit(*[1])", "Logit"),
        ("Logit('tabby'", "no objective"),
        ("Logit(1) * Logit(2)", "no objective"),
        ("Logit(1) / 2", "no objective"),
        ("Logit(1) + 1", "no objective"),
        ("Logit(1); Logit(2)", "no objective"),
        ("Logit(1)\nLogit(2)", "no objective"),
        ("Logitt(1)", "did you mean 'Logit'"),
        ("__import__('os').mkdir('x')", "no objective"),
        ("open('x', 'w')", "no objective"),
        ("3", "no"),
        ("", "no objective"),
        ("1e999 * Logit(1)", "finite"),
        ("1" + "0" * 400 + " * Logit(1)", ""),
        ("-" * 3000 + "Logit(1)", ""),
        ("Logit(1)" + " + Logit(1)" * 3000, ""),
        ("(" * 3000, "no objective"),
    ],
    ids=lambda text: text[:30].replace("\n", " ") or "empty",
)
def test_a_malformed_objective_is_one_line(fails, text, words):
    assert words in fails(*SALIENCY, "sample:cat", f"--objective={text}")


def test_a_target_and_an_objective_exclude_each_other(fails):
    message = fails(*SALIENCY, "sample:cat", "--target", "tabby", "--objective", "Logit(1)")
    assert "target or objective" in message


@pytest.mark.parametrize("command", ["classify", "show saliency", "tour", "layers"])
def test_weights_of_another_architecture_say_which_keys_differ(fails, command, random_squeezenet):
    for model in ("efficientnet_lite0", "resnet18"):
        args = (model,) if command == "layers" else ("sample:cat", "--model", model)
        message = fails(*command.split(), *args, "--weights", random_squeezenet)
        assert f"does not fit {model}" in message
        assert "lacks" in message
        assert "has besides" in message


@pytest.mark.parametrize("name", ["none.safetensors", "two\nlines.pth", "x" * 300 + ".pth", "."])
def test_weights_that_are_no_file_are_one_line(fails, name):
    fails("classify", "sample:cat", "--weights", name)


@pytest.mark.parametrize("command", [("classify",), ("classify", "--json"), SALIENCY], ids=" ".join)
def test_weights_that_give_no_numbers_are_one_line(fails, here, command, random_squeezenet):
    state = {k: torch.full_like(v, float("nan")) for k, v in load_file(random_squeezenet).items()}
    save_file(state, here / "nan.safetensors")
    options = ("--model", "squeezenet1_1", "--weights", "nan.safetensors")
    assert "not finite" in fails(*command, "sample:cat", *options)


@pytest.mark.parametrize("device", ["nonsense", "cuda:77", "mps", "meta", ""])
@pytest.mark.parametrize("command", ["classify", "show saliency", "tour"])
def test_a_device_that_cannot_be_used_is_one_line(fails, command, device):
    if device == "mps" and torch.backends.mps.is_available():
        pytest.skip("there is one")
    assert device in fails(*command.split(), "sample:cat", "--device", device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_where_there_is_none_is_one_line(fails):
    assert "cuda cannot be used" in fails(*SALIENCY, "sample:cat", "--device", "cuda")


@pytest.mark.parametrize("size", [1, 10_000_000])
def test_layers_of_a_size_that_the_network_or_the_memory_does_not_take(fails, random_squeezenet, size):
    fails("layers", "squeezenet1_1", "--weights", random_squeezenet, "--size", size)


# ---------------------------------------------------------------------- outputs that cannot be written


def full_disk(monkeypatch, after: int = 0) -> None:
    """Every write fails, once `after` files have been written."""
    ordinary, left = os.fdopen, [after]

    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fdopen(handle, *args, **kwargs):
        left[0] -= 1
        if left[0] >= 0:
            return ordinary(handle, *args, **kwargs)
        os.close(handle)
        return Full()

    monkeypatch.setattr(os, "fdopen", fdopen)


@pytest.mark.parametrize("command", [(*SALIENCY, "sample:cat"), ("redo", "good.png")], ids=" ".join)
@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("a.xyz", ".png"),
        ("a", "no ending"),
        ("a.pdf", ".png"),
        ("", "no ending"),
        ("none/a.png", "no such folder"),
        ("folder.png", "is a folder"),
        ("good.png/a.png", "not a directory"),
        ("x" * 300 + ".png", "too long"),
        ("two\nlines.xyz", ".png"),
        ("[/].xyz", "[/].xyz"),
    ],
)
def test_an_output_that_cannot_be_is_one_line(fails, here, command, out, words):
    with_recipe("good.png", json.dumps(GOOD))
    Path("folder.png").mkdir()
    assert words in fails(*command, "-o", out)


@pytest.mark.parametrize("old", [True, False])
def test_a_full_disk_is_one_line_and_leaves_the_old_file(fails, here, monkeypatch, old):
    if old:
        Path("cat-saliency.png").write_bytes(b"old")
    full_disk(monkeypatch)
    assert "no space left" in fails(*SALIENCY, "sample:cat")


def test_a_disk_that_is_full_after_the_picture_leaves_no_picture_without_its_floats(fails, here, monkeypatch):
    full_disk(monkeypatch, after=1)
    assert "no space left" in fails(*SALIENCY, "sample:cat", "--raw")


def test_floats_that_cannot_be_written_are_found_out_before_the_picture_is(fails, here):
    Path("a.safetensors").mkdir()
    assert "a.safetensors is a folder" in fails(*SALIENCY, "sample:cat", "--raw", "-o", "a.png")


def test_floats_never_take_the_place_of_the_weights(run, here, random_squeezenet):
    shutil.copy(random_squeezenet, "w.safetensors")
    run(*SALIENCY, "sample:cat", "-m", "squeezenet1_1", "--weights", "w.safetensors", "--raw", "-o", "w.png")
    assert Path("w.safetensors").read_bytes() == random_squeezenet.read_bytes()


@pytest.mark.parametrize("command", [SALIENCY, ("tour",)], ids=" ".join)
def test_no_permission_is_one_line(fails, here, monkeypatch, command):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    monkeypatch.setattr(Path, "mkdir", refuse)
    assert "permission denied" in fails(*command, "sample:cat")


def test_tour_into_a_file_is_one_line(fails, cat):
    assert "cat.png cannot be made" in fails("tour", "sample:cat", "-o", "cat.png")
    assert "cat.png/x cannot be made" in fails("tour", "sample:cat", "-o", "cat.png/x")


@pytest.mark.parametrize("after", [0, 1, 2])
def test_tour_on_a_full_disk_is_one_line_and_leaves_no_half_page(fails, here, monkeypatch, after):
    full_disk(monkeypatch, after)
    assert "no space left" in fails("tour", "sample:cat")


# ---------------------------------------------------------------------- usage, warnings, interruption


@pytest.mark.parametrize(
    "args",
    [
        ("classfy", "sample:cat"),
        ("classify",),
        ("classify", "sample:cat", "--top", "0"),
        ("classify", "sample:cat", "--top", "x"),
        ("classify", "sample:cat", "--nonsense"),
        ("show", "salience", "sample:cat"),
        SALIENCY,
        (*SALIENCY, "sample:cat", "--target"),
        ("layers", "--size", "0"),
        ("redo",),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2(run, here, args):
    code, out, err = run(*args)
    assert code == 2
    assert out == ""
    assert "Traceback" not in err
    assert err.strip()
    assert os.listdir(here) == []


@pytest.mark.parametrize(
    "args", [(), ("--help",), ("show", "--help"), (*SALIENCY, "--help"), ("redo", "--help")]
)
def test_help_is_printed(run, args):
    code, out, err = run(*args)
    assert code == (0 if args else 2)
    assert "Usage:" in out + err


def test_help_of_a_technique_names_its_settings(done):
    out = done(*SALIENCY, "--help")
    for option in ("--target", "--objective", "--model", "--weights", "--raw", "--json", "--out"):
        assert option in out


def softmax(*_: object) -> pg.Classifier:
    """A network that ends in a softmax, of which the library warns."""
    module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Softmax(1))
    return pg.Classifier(module, size=16, name="soft")


def warned(message: str) -> Callable[..., pg.Classifier]:
    def load(*_: object) -> pg.Classifier:
        warnings.warn(message, stacklevel=2)
        return pg.Classifier(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), size=16)

    return load


@pytest.mark.parametrize(
    ("load", "words"),
    [
        (softmax, "look like probabilities"),
        (warned("two\nlines"), "lines"),
        (warned("a [bold]b[/bold] c"), "a [bold]b[/bold] c"),
        (warned("a [/] b"), "a [/] b"),
        (warned("long " * 60), "long long"),
    ],
    ids=["library", "lines", "markup", "closing", "long"],
)
def test_a_warning_is_one_line_beside_the_output(run, monkeypatch, load, words):
    monkeypatch.setattr("pixelgrad.cli.look.load", load)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        code, out, err = run("classify", "sample:cat", "--json")
    assert code == 0
    assert json.loads(out)[0]["image"] == "sample:cat"
    assert err.startswith("warning: ")
    assert words in err
    assert err.count("\n") == 1


def test_an_interruption_is_exit_code_130_without_a_traceback(run, here, monkeypatch):
    def load(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pixelgrad.cli.look.load", load)
    code, out, err = run("classify", "sample:cat")
    assert code == 130
    assert out == ""
    assert "Traceback" not in err


# ---------------------------------------------------------------------- as a program


def program(here: Path, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from pixelgrad.cli import main; main()", *args]
    return subprocess.run(
        command,
        cwd=here,
        env=os.environ | environment,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
    )


def test_as_a_program_an_error_is_one_line_and_exit_code_1(here):
    ended = program(here, "show", "saliency", "none.png")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "error: no such file: none.png\n"
    assert os.listdir(here) == []


def test_as_a_program_it_writes_to_a_terminal_that_knows_only_ascii(here):
    ended = program(here, "classify", "sample:cat", "--top", "2", PYTHONIOENCODING="ascii")
    assert ended.stderr == ""
    assert ended.returncode == 0
    assert "tiger cat" in ended.stdout


@pytest.mark.parametrize(
    "command", [("classify",), ("classify", "--json"), SALIENCY, ("tour",)], ids=" ".join
)
def test_a_name_that_is_no_unicode_works_or_is_one_line(run, cat, here, command):
    name = os.fsdecode(b"caf\xe9.png")
    try:
        cat.rename(here / name)
    except OSError:
        pytest.skip("the file system takes only unicode names")
    code, _, err = run(*command, name)
    assert "Traceback" not in err
    assert (code, err) == (0, "") or (code == 1 and err.startswith("error: ") and err.count("\n") == 1)
