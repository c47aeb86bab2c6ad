"""Bad input to the command line is one line, exit code 1, and nothing written."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from pixelgrad import images
from tests.commands import GOOD, SALIENCY, short, with_recipe  # noqa: F401 - short is a fixture

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
            patch.setattr("tests.commands.listing", lambda folder: sorted(os.listdir(folder)))
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


def test_a_result_never_takes_the_place_of_the_photograph(fails, cat):
    assert "cat.png is the photograph itself" in fails(*SALIENCY, "cat.png", "-o", "./cat.png")


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


@pytest.mark.parametrize("command", [SALIENCY, ("tour", "-m", "tinynet")], ids=" ".join)
def test_no_permission_is_one_line(fails, here, monkeypatch, command):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    monkeypatch.setattr(Path, "mkdir", refuse)
    assert "permission denied" in fails(*command, "sample:cat")


def test_tour_into_a_file_is_one_line(fails, cat):
    assert "cat.png cannot be made" in fails("tour", "sample:cat", "-m", "tinynet", "-o", "cat.png")
    assert "cat.png/x cannot be made" in fails("tour", "sample:cat", "-m", "tinynet", "-o", "cat.png/x")


@pytest.mark.parametrize("after", [0, 1, 2])
def test_tour_on_a_full_disk_is_one_line_and_leaves_no_half_page(fails, here, monkeypatch, after):
    full_disk(monkeypatch, after)
    assert "no space left" in fails("tour", "sample:cat", "-m", "tinynet")
