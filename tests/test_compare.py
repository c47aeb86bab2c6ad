"""`pixelgrad compare`: its sheet, its choice of techniques, and what it says to bad input."""

from __future__ import annotations

import os

import pytest
import torch
from PIL import Image

import pixelgrad as pg
from pixelgrad import heatmaps, pictures
from pixelgrad.comparison import column
from pixelgrad.heatmaps import OWN
from pixelgrad.methods import comparable

FAST = ("--methods", "saliency,grad-cam")


def test_writes_one_sheet_and_one_line(done, here):
    assert done("compare", "sample:cat", "sample:coffee", *FAST) == "wrote compare.png\n"
    assert os.listdir(here) == ["compare.png"]
    with Image.open("compare.png") as sheet:
        gap = pictures.GAP
        assert sheet.width == 3 * 224 + 4 * gap
        assert sheet.height == gap + 22 + 2 * (224 + 30 + gap)


def test_the_maps_are_those_of_the_techniques(done, lite0):
    done("compare", "sample:cat", *FAST, "--target", "tabby", "-o", "a.png")
    cat = pg.open_image("sample:cat", lite0)
    with Image.open("a.png") as sheet:
        for k, name in enumerate(("saliency", "grad-cam"), 1):
            found = pg.make(f"show/{name}", target="tabby").run(lite0, cat)
            expected = heatmaps.heat(found.pixels[0])
            left = pictures.GAP + k * (224 + pictures.GAP)
            assert sheet.crop((left, 32, left + 224, 32 + expected.height)).tobytes() == expected.tobytes()


def test_by_default_everything_that_is_of_a_class():
    names = comparable()
    assert {"saliency", "smoothgrad", "integrated-gradients", "grad-cam", "occlusion"} <= set(names)
    assert not {"activations", "filters"} & set(names)


@pytest.mark.parametrize("name", comparable())
def test_each_gives_a_picture_of_its_own(name, small, pixels):
    """Also in a batch, each map of its picture alone."""
    found = pg.make(f"show/{name}").run(small, pixels[:2])
    single = pg.make(f"show/{name}").run(small, pixels[1:2])
    own = column(found, OWN)[1]
    assert own.size == (224, 254)
    assert own.tobytes() == column(single, OWN)[0].tobytes()


def test_a_technique_without_a_class_may_be_asked_for(done):
    done("compare", "sample:cat", "--methods", "deconvnet,show/saliency", "--model", "tinynet")


def test_what_does_not_suit_the_network_is_left_out(run, tmp_path, monkeypatch):
    from pixelgrad.cli import compare
    from pixelgrad.errors import ModelError

    def no(*_, **__):
        raise ModelError("no rectifier")

    monkeypatch.setattr("pixelgrad.show.saliency.Saliency.apply", no)
    monkeypatch.setattr(compare, "comparable", lambda: ["saliency", "grad-cam"])
    code, out, err = run("compare", "sample:cat", "--model", "tinynet")
    assert (code, out) == (0, "wrote compare.png\n")
    assert err == "warning: saliency is left out: no rectifier\n"
    monkeypatch.setattr(compare, "comparable", lambda: ["saliency"])
    assert run("compare", "sample:cat", "--model", "tinynet").code == 1


def test_targets_by_picture(done):
    done("compare", "sample:cat", "sample:coffee", *FAST, "--target", "tabby", "--target", "espresso")


@pytest.mark.parametrize(("args", "message"), [
    (("--methods", "salency"), "no method 'salency'; did you mean 'saliency'?"),
    (("--methods", ","), "methods are names with commas between"),
    (("--methods", "filters"), "no method 'filters'"),
    (("--methods", "activations"), "show/activations gives no map of the picture"),
    ((*FAST, "--target", "catt"), "no class 'catt'"),
    ((*FAST, "-o", "a.xyz"), "a.xyz has the ending .xyz; .apng"),
    ((*FAST, "-o", "none/a.png"), "none/a.png"),
])  # fmt: skip
def test_bad_input(fails, args, message):
    assert message in fails("compare", "sample:cat", *args)


def test_never_over_the_photograph(fails, cat):
    assert "is the photograph itself" in fails("compare", "cat.png", *FAST, "-o", "cat.png")


def test_sums_several_maps_of_one_picture(small, pixels):
    found = pg.make("show/deconvnet").run(small, pixels[:1])
    assert found.pixels.dim() == 5
    grey = pictures.enlarged(pictures.around_grey(torch.sum(found.pixels[0], 0)))
    assert column(found, OWN)[0].crop((0, 0, 224, 224)).tobytes() == grey.tobytes()


def test_pictures_over_the_photographs_in_a_scale_of_each_technique(done, lite0):
    done(
        "compare",
        "sample:cat",
        "sample:coffee",
        *FAST,
        "--overlay",
        "0.5",
        "--scale",
        "common",
        "-o",
        "a.png",
    )
    photos = pg.open_images(["sample:cat", "sample:coffee"], lite0)
    with Image.open("a.png") as sheet:
        for k, name in enumerate(("saliency", "grad-cam"), 1):
            found = pg.make(f"show/{name}").run(lite0, photos)
            expected = heatmaps.heats(found.pixels, photos, heatmaps.View(0.5, "common"))
            for i, drawn in enumerate(expected):
                left, top = pictures.GAP + k * (224 + pictures.GAP), 32 + i * (254 + pictures.GAP)
                assert sheet.crop((left, top, left + 224, top + 254)).tobytes() == drawn.tobytes()
