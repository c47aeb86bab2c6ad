"""Running the command line in tests: in this process, in an empty folder; with what bad input must leave behind."""

from __future__ import annotations

import hashlib
import shutil
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from PIL import Image, PngImagePlugin
from safetensors.torch import save_file
from torchvision import models as tv

from pixelgrad import cli, images
from pixelgrad.ascent import ascend
from pixelgrad.follow import deepdream, inversion
from pixelgrad.presets import PRESETS

SALIENCY = ("show", "saliency")


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """A tour follows gradients too: in two steps here, in place of hundreds."""
    for name, preset in PRESETS.items():
        monkeypatch.setitem(PRESETS, name, replace(preset, steps=2))
    for technique in (inversion, deepdream):
        monkeypatch.setattr(technique, "ascend", few_steps)


def few_steps(model, objective, canvas, rule, steps, **more):
    return ascend(model, objective, canvas, rule, min(steps, 2), **more)


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


# a recipe that is complete
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


def with_recipe(file: str, text: str) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_itxt(images.RECIPE, text)
    Image.new("RGB", (8, 8)).save(file, pnginfo=info)
