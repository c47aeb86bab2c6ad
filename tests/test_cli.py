"""The command line: what it prints and writes, how it is used, and what comes out as a program."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from html.parser import HTMLParser
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

import pixelgrad as pg
from pixelgrad import images
from pixelgrad.registry import techniques
from tests.commands import GOOD, SALIENCY, listing, short, with_recipe  # noqa: F401 - short is a fixture

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
    assert re.search(r"0 +conv_stem +Conv2dSame +32×112×112 +3 +2 *$", rows[1 + names.index("conv_stem")])
    assert re.search(r"classifier +Linear +1000 +whole *$", rows[1 + names.index("classifier")])
    assert [f["number"] for f in found] == list(range(len(found)))
    assert found[0]["field"] == {"top": 0, "left": 0, "height": 3, "width": 3, "stride_y": 2, "stride_x": 2}
    assert found[-1]["field"] is None


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
    assert "wrote pixelgrad-tour/index.html" in done("tour", "-m", "tinynet")
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
    done("tour", "sample:cat", "-m", "tinynet", "-o", "deep/er")
    page = Page(Path("deep/er/index.html").read_text(encoding="utf-8"))
    commands = re.findall(r"^pixelgrad .*$", page.words, re.M)
    assert len(commands) == len(techniques())
    assert "tabby" in page.words
    for name in ("saliency", "grad-cam"):  # maps of a single gradient, with how far they can be trusted
        assert f"show/{name}, " in page.words
    assert page.words.count("This map ") == 2
    first = next(c for c in commands if " show saliency " in c)
    done(*shlex.split(first)[1:], "-o", "again.png")
    assert Path("again.png").read_bytes() == Path("deep/er/show-saliency.png").read_bytes()


def test_tour_of_an_odd_file_name_a_second_time_with_weights(done, cat, here):
    cat.rename(here / "<b>&'x' .png")
    shutil.copy(Path(pg.__file__).parent / "models" / "tinynet.safetensors", "own.safetensors")
    options = ("-m", "tinynet", "--weights", "own.safetensors", "-o", "t")
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
    "command", [("classify",), ("classify", "--json"), SALIENCY, ("tour", "-m", "tinynet")], ids=" ".join
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


# ---------------------------------------------------------------------- follow fooling


def test_fooling_writes_the_picture_and_the_comparison_and_says_what_it_measured(done, here, lite0):
    text = done("follow", "fooling", "sample:cat", "--target", "goldfish")
    assert "sample:cat: goldfish" in text
    for row in ("success            yes", "before             tiger cat", "gradients", "l2", "ssim", "jpeg"):
        assert row in text
    assert set(os.listdir()) == {"cat-fooling.png", "cat-fooling-compared.png"}
    assert lite0.top(pg.open_image("cat-fooling.png"), 1)[0][0].label == "goldfish"


def test_several_photographs_at_their_own_size_become_files_of_their_own(done, here, lite0):
    for i, left in enumerate((0, 120)):
        images.save(images.read("sample:cat").crop((left, 0, left + 300, 280 + i)), f"{i}.png")
    os.mkdir("out")
    done("follow", "fooling", "0.png", "1.png", "--target", "282", "--resolution", "original", "-o", "out")
    for i in range(2):
        assert images.read(f"out/{i}-fooling.png").size == (300, 280 + i)
        assert lite0.top(pg.open_image(f"out/{i}-fooling.png", lite0), 1)[0][0].index == 282


def test_several_photographs_need_a_folder(fails):
    message = fails("follow", "fooling", "sample:cat", "sample:coffee", "-o", "a.png")
    assert "a.png is no folder; each of 2 pictures is a file of its own" in message


def test_a_fooling_picture_is_made_again_bit_by_bit(done, here):
    done("follow", "fooling", "sample:cat", "--target", "tabby", "--method", "minimal", "--steps", "4")
    done("redo", "cat-fooling.png")
    assert np.array_equal(content("cat-fooling.png"), content("cat-fooling-redo.png"))
