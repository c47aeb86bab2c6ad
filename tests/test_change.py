"""What an attack changed in a map: maps and figures against slow ones, the command, and making it again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

import pixelgrad as pg
from pixelgrad import heatmaps, images, pictures
from pixelgrad.errors import SettingError


@pytest.fixture
def changed(pixels):
    """The negatives of `pixels`."""
    return 1 - pixels


def test_maps_of_both_classes_on_both_pictures(small, pixels, changed):
    found = pg.change(pg.make("show/saliency"), small, pixels, changed)
    assert found.pixels.shape == (5, 2, 2, 16, 16)
    for i in range(5):
        pair = pixels[i : i + 1], changed[i : i + 1]
        for k, of in enumerate(pair):
            y = int(small(of).argmax())
            for p, x in enumerate(pair):
                own = pg.make("show/saliency", target=y).run(small, x).pixels[0]
                torch.testing.assert_close(found.pixels[i, k, p], own)
        fact = found.report["images"][i]
        y = int(small(pair[0]).argmax())
        before, after = (pg.make("show/saliency", target=y).run(small, x).pixels for x in pair)
        of = fact["classes"][0]
        assert of["class"] == fact["original"] == small.label_of(y)
        assert of["change"] == pytest.approx(float((after - before).norm() / before.norm()), rel=1e-6)
        assert of["probability_changed"] == pytest.approx(float(small(pair[1]).softmax(1)[0, y]), rel=1e-9)
        assert fact["l2"] == pytest.approx(float((pair[1] - pair[0]).norm()), rel=1e-6)
        assert f"changed by {of['change']:.0%}" in found.titles[i]


def test_settings_and_target_of_the_method(small, pixels, changed):
    technique = pg.make("show/smoothgrad", samples=2, seed=3, target="eel")
    found = pg.change(technique, small, pixels[:1], changed[:1])
    torch.testing.assert_close(found.pixels[0, 0, 1], technique.run(small, changed[:1]).pixels[0])
    assert found.report["images"][0]["classes"][0]["class"] == "eel"
    assert found.report["gradients"] == 8
    assert found.report["seconds"] > 0


def test_nothing_changed(small, pixels):
    found = pg.change(pg.make("show/saliency"), small, pixels[:1], pixels[:1])
    (of,) = found.report["images"][0]["classes"]
    assert of["change"] == 0
    assert of["rank_correlation"] == pytest.approx(1)
    one_row = found.picture()
    assert one_row.height < 700  # the photographs, and the maps of the one class


def test_the_pair_has_one_scale_and_the_difference_the_same(small, pixels, changed):
    found = pg.change(pg.make("show/saliency"), small, pixels[:1], changed[:1])
    whole = found.picture()
    pair = found.pixels[0, 0]
    drawn = heatmaps.heats(pair, view=heatmaps.View(scale="common"))
    drawn.append(heatmaps.difference(pair[1] - pair[0], pictures.scale(pair)[1]))
    rows = len(found.report["images"][0]["classes"])
    top = whole.height - rows * (254 + 18 + pictures.GAP)
    for k, picture in enumerate(drawn):
        left = pictures.GAP + k * (224 + pictures.GAP)
        assert whole.crop((left, top, left + 224, top + 254)).tobytes() == picture.tobytes()


def test_what_cannot_be_compared_is_said(small, pixels):
    with pytest.raises(SettingError, match="one of its size"):
        pg.change(pg.make("show/saliency"), small, pixels, pixels[:2])
    with pytest.raises(SettingError, match="does not show why"):
        pg.change(pg.make("show/deconvnet"), small, pixels, pixels)


@pytest.fixture
def fooled(done, here) -> Path:
    done("follow", "fooling", "sample:cat", "-m", "tinynet", "--target", "goldfish", "-o", "fooled.png")
    return here / "fooled.png"


ASKED = ("show", "saliency", "sample:cat", "-m", "tinynet")


def test_as_an_option_and_made_again(done, fooled):
    found = json.loads(done(*ASKED, "--change", "fooled.png", "-o", "a.png", "--raw", "--json"))
    fact = found["report"]["images"][0]
    assert "goldfish" in fact["changed"]  # the file as it is, not resized
    assert fact["changed"] != fact["original"]
    assert [of["class"] for of in fact["classes"]] == [fact["original"], fact["changed"]]
    model = pg.load("tinynet")
    cat = pg.open_image("sample:cat", model)
    expected = pg.change(pg.make("show/saliency"), model, cat, images.open_image("fooled.png"))
    from safetensors.torch import load_file

    assert torch.equal(load_file("a.safetensors")["pixels"], expected.pixels)
    done("redo", "a.png", "-o", "b.png")
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()


def test_one_for_each_over_the_photographs(done, fooled):
    shutil.copy("fooled.png", "other.png")
    changes = ("--change", "fooled.png", "--change", "other.png")
    done(*ASKED[:3], "sample:cat", *ASKED[3:], *changes, "--overlay", "0.5", "-o", "a.png")
    done("redo", "a.png", "-o", "b.png")
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()
    assert images.recipe("a.png")["view"] == {"overlay": 0.5}


def test_a_photograph_of_another_size_is_prepared(done, here):
    with Image.open(images.find("sample:cat")) as photo:
        photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save("flipped.png")
    found = json.loads(done(*ASKED, "--change", "flipped.png", "--json"))
    model = pg.load("tinynet")
    cat, flipped = (pg.open_image(path, model) for path in ("sample:cat", "flipped.png"))
    expected = pg.change(pg.make("show/saliency"), model, cat, flipped).report["images"][0]
    assert found["report"]["images"][0] == json.loads(json.dumps(expected))


def test_bad_files_are_said(done, fails, fooled):
    assert "2 changed pictures for 1" in fails(*ASKED, "--change", "fooled.png", "--change", "fooled.png")
    assert "no such file: gone.png" in fails(*ASKED, "--change", "gone.png")
    assert "is the photograph itself" in fails(*ASKED, "--change", "fooled.png", "-o", "fooled.png")
    done(*ASKED, "--change", "fooled.png", "-o", "a.png")
    Image.new("RGB", (64, 64)).save("fooled.png")
    assert "fooled.png has changed since a.png was made" in fails("redo", "a.png")
    fooled.unlink()
    assert "fooled.png, from which a.png was made, is not there" in fails("redo", "a.png")
