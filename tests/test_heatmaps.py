"""How maps are drawn: in one scale or each in its own, over the photograph; and what a map without contrast says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import pixelgrad as pg
from pixelgrad import heatmaps, images, pictures
from pixelgrad.errors import NotFound, SettingError
from pixelgrad.heatmaps import View
from pixelgrad.methods import comparable


@pytest.fixture
def two():
    """Two maps, the second ten times as high."""
    values = torch.rand(1, 16, 16).double()
    return torch.cat([values, 10 * values])


def test_each_in_its_own_scale_or_all_in_one(two):
    own, common = (heatmaps.heats(two, view=View(scale=scale)) for scale in ("own", "common"))
    top = (0, 0, 224, 224)
    assert own[0].crop(top).tobytes() == own[1].crop(top).tobytes()
    hi = pictures.scale(two)[1]
    for values, drawn in zip(two, common, strict=True):
        expected = pictures.enlarged(pictures.colour(values, 0, hi))
        assert drawn.crop(top).tobytes() == expected.tobytes()
    assert common[0].crop((0, 228, 224, 254)).tobytes() == common[1].crop((0, 228, 224, 254)).tobytes()


def test_signed_maps_in_one_scale_have_zero_in_the_middle(two):
    two[1] *= -1
    for drawn in heatmaps.heats(torch.cat([two, torch.zeros(1, 16, 16)]), view=View(scale="common"))[2:]:
        middle = pictures.colour(torch.zeros(1, 1), -1, 1, pictures.SIGNED).getpixel((0, 0))
        assert drawn.getpixel((100, 100)) == middle


@pytest.mark.parametrize("opacity", [0.0, 0.25, 1.0])
def test_over_the_photograph(two, opacity):
    photos = torch.rand(2, 3, 16, 16)
    drawn = heatmaps.heats(two, photos, View(opacity))
    for x, values, picture in zip(photos, two, drawn, strict=True):
        grey = np.asarray(pictures.enlarged(images.to_image(x)).convert("L"), float)[..., None]
        colours = np.asarray(heatmaps.heats(values[None])[0].crop((0, 0, 224, 224)), float)
        expected = (1 - opacity) * grey + opacity * colours
        found = np.asarray(picture.crop((0, 0, 224, 224)), float)
        assert np.abs(found - expected).max() <= 1


@pytest.mark.parametrize(("values", "words"), [
    (torch.zeros(4, 4), "zero everywhere"), (torch.full((4, 4), 0.25), "0.25 everywhere"),
    (torch.full((4, 4), -2.0), "-2 everywhere"), (torch.eye(4), ""),
])  # fmt: skip
def test_what_has_no_contrast_says_so(values, words):
    assert heatmaps.constant(values) == words


def test_the_words_are_in_the_picture(two):
    flat = torch.zeros_like(two)
    for view in (View(), View(0.5), View(0.5, "common")):
        zero, other = heatmaps.heats(torch.cat([flat[:1], two[:1]]), torch.rand(2, 3, 16, 16), view)
        text = pictures.colour_bar(224, 0.0)
        assert zero.crop((0, 228, 224, 254)).tobytes() == text.tobytes()
        assert other.crop((0, 228, 224, 254)).tobytes() != text.tobytes()


@pytest.mark.parametrize("name", comparable())
def test_every_method_says_that_its_map_is_zero(name, monkeypatch):
    """Of a network that answers the same to every picture."""
    if name == "segmentation":
        pytest.importorskip("cv2", reason="segmentation needs cv2, an extra")
    module = nn.Sequential(
        nn.Conv2d(3, 2, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)
    )
    nn.init.zeros_(module[4].weight)
    said = []
    bar = pictures.colour_bar
    monkeypatch.setattr(pictures, "colour_bar", lambda *a: said.append(a[-1]) or bar(*a))
    result = pg.make(f"show/{name}", target=0).run(pg.Classifier(module, size=16), torch.rand(1, 3, 16, 16))
    for view in ({}, {"overlay": 0.5, "scale": "common"}):
        said.clear()
        assert result.picture(**view).width > 400
        assert len(said) == 1
        assert said[0].endswith(" everywhere")


@pytest.mark.parametrize("name", comparable())
def test_every_method_takes_the_view(name, small, pixels):
    if name == "segmentation":
        pytest.importorskip("cv2", reason="segmentation needs cv2, an extra")
    found = pg.make(f"show/{name}", target=1).run(small, pixels[:2])
    plain = found.picture().tobytes()
    assert found.picture(overlay=0.5).tobytes() != plain
    assert found.picture(scale="common").tobytes() != plain
    assert found.picture(scale="own").tobytes() == plain


def test_a_saved_picture_carries_it(small, pixels, tmp_path):
    found = pg.make("show/saliency").run(small, pixels[:2])
    found.save(tmp_path / "a.png", overlay=0.4, scale="common")
    assert images.recipe(tmp_path / "a.png")["view"] == {"overlay": 0.4, "scale": "common"}
    found.save(tmp_path / "b.png")
    assert "view" not in images.recipe(tmp_path / "b.png")


@pytest.mark.parametrize(("settings", "error", "message"), [
    ({"overlay": 1.1}, SettingError, "overlay is from 0 to 1; got 1.1"),
    ({"overlay": "much"}, SettingError, "overlay is a number"),
    ({"scale": "log"}, SettingError, "scale is one of own, common; got 'log'"),
    ({"overlai": 1}, NotFound, "no setting of a picture 'overlai'; did you mean 'overlay'?"),
])  # fmt: skip
def test_bad_settings_are_said(small, pixels, tmp_path, settings, error, message):
    found = pg.make("show/saliency").run(small, pixels[:1])
    with pytest.raises(error, match=message):
        found.picture(**settings)
    with pytest.raises(error, match=message):
        found.save(tmp_path / "a.png", **settings)
    assert not list(tmp_path.iterdir())


def test_what_has_no_map_of_a_class_takes_none(small, pixels):
    for name in ("follow/fooling", "show/deconvnet", "measure/sensitivity"):
        quick = {"steps": 2} if name == "follow/fooling" else {}
        with pytest.raises(SettingError, match=f"{name} has no map of a class: overlay would not show"):
            pg.make(name, **quick).run(small, pixels[:1]).picture(overlay=0.5)


def test_as_options_and_made_again(done, run, here):
    asked = ("show", "saliency", "sample:cat", "sample:coffee", "-m", "tinynet")
    done(*asked, "--overlay", 0.6, "--scale", "common", "-o", "a.png")
    model = pg.load("tinynet")
    found = pg.make("show/saliency").run(model, pg.open_images(asked[2:4], model))
    found.save("b.png", overlay=0.6, scale="common")
    assert pictures_of("a.png") == pictures_of("b.png")
    done("redo", "a.png", "-o", "c.png")
    assert Path("a.png").read_bytes() == Path("c.png").read_bytes()
    assert run(*asked, "--overlay", 2).code == 2
    assert run("show", "filters", "--overlay", 1).code == 2


def pictures_of(path):
    return images.read(path).tobytes()
