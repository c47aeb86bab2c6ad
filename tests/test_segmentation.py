"""Segmentation on pictures whose object is known, from a network whose saliency is known."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from torch import nn

import pixelgrad as pg
from pixelgrad.errors import PixelgradError, SettingError
from pixelgrad.objectives.logit import Logit
from pixelgrad.show.segmentation import Segmentation, around, iou, largest, outlined, seeds

cv2 = pytest.importorskip("cv2", reason="segmentation needs the measure extra")

BOX = (20, 12, 44, 40)  # left, top, right, bottom
TEXT = "20,12,44,40"
SHAPES = {"rectangle": BOX, "disc": (18, 14, 43, 39)}


class Known(nn.Module):
    """Logits that are sums of the pixels with given weights (h, w): |∂s/∂x| are the weights."""

    def __init__(self, weights):
        super().__init__()
        self.weights = nn.Parameter(torch.stack([weights, -weights]))

    def forward(self, x):
        return torch.einsum("nchw,khw->nk", x, self.weights)


def known(weights):
    return pg.Classifier(Known(weights.double()), size=tuple(weights.shape), name="known")


def inside(shape="rectangle"):
    """Where the object is in a picture of 64 × 56."""
    rows, columns = torch.meshgrid(torch.arange(56), torch.arange(64), indexing="ij")
    if shape == "disc":
        return (rows - 26) ** 2 + (columns - 30) ** 2 <= 12**2
    left, top, right, bottom = BOX
    return (columns >= left) & (columns < right) & (rows >= top) & (rows < bottom)


def photo(mask):
    """A red object on a green ground, with some noise."""
    colours = torch.where(
        mask, torch.tensor([0.8, 0.2, 0.1])[:, None, None], torch.tensor([0.2, 0.6, 0.3])[:, None, None]
    )
    return (colours + 0.02 * torch.randn(3, *mask.shape)).clamp(0, 1)[None].double()


def speckled(mask):
    """Saliency that is higher on the object on the average only."""
    return torch.rand(mask.shape) * (0.3 + 1.7 * mask)


@pytest.mark.parametrize("shape", SHAPES)
def test_finds_the_object(shape):
    mask = inside(shape)
    text = ",".join(map(str, SHAPES[shape]))
    found = Segmentation(box=text).run(known(speckled(mask)), photo(mask))
    assert torch.equal(found.pixels[0], mask.double())
    fact = found.report["images"][0]
    assert fact["box"] == list(SHAPES[shape])
    assert fact["iou"] == 1
    assert fact["share"] == pytest.approx(float(mask.double().mean()))
    assert found.titles[0].endswith("of the picture, IoU 1.00")


def test_saliency_that_is_zero_off_the_object():
    """More than half of the values are equal; they are background."""
    mask = inside()
    found = Segmentation().run(known(mask * (1 + torch.rand(mask.shape))), photo(mask))
    assert torch.equal(found.pixels[0], mask.double())
    assert found.report["images"][0]["iou"] is None


def test_the_saliency_is_that_of_the_technique(small, pixels, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "pixelgrad.show.segmentation.seeds", lambda values, *q: seen.append((values, q)) or seeds(values, *q)
    )
    found = Segmentation(target="cat", foreground=0.9, background=0.2).run(small, pixels)
    assert torch.equal(
        torch.stack([s for s, _ in seen]), pg.make("show/saliency", target="cat").run(small, pixels).pixels
    )
    assert {q for _, q in seen} == {(0.9, 0.2)}
    assert torch.equal(found.score, pg.gradient(small, Logit("cat"), pixels)[0])


def test_quantiles_by_hand():
    """Of 0, 1, …, 100 the 95 % quantile is 95 and the 30 % quantile is 30."""
    values = torch.arange(101.0)[torch.randperm(101)][None]
    up, down = seeds(values, 0.95, 0.3)
    assert np.array_equal(up, values.numpy() >= 95)
    assert np.array_equal(down, values.numpy() <= 30)
    assert (up.sum(), down.sum()) == (6, 31)


@pytest.mark.parametrize(("values", "up", "down"), [
    ([0.0] * 98 + [1, 2], 2, 98),  # both quantiles are zero
    ([3.0] * 100, 0, 100),
    ([1.0] * 40 + [2] * 60, 60, 40),
])  # fmt: skip
def test_equal_values(values, up, down):
    found = seeds(torch.tensor(values)[None], 0.95, 0.3)
    assert [int(some.sum()) for some in found] == [up, down]


def test_a_map_without_contrast_has_no_object():
    """Said of that picture, as a fact: the others of its batch are as they were."""
    found = Segmentation(box=TEXT).run(known(torch.ones(56, 64)), photo(inside()))
    assert not found.pixels.any()
    fact = found.report["images"][0]
    assert (fact["box"], fact["share"], fact["iou"]) == (None, 0, 0)
    assert found.titles[0].endswith(": no object, IoU 0.00")
    found.picture()


def test_a_picture_of_one_colour():
    plain = torch.full((1, 3, 56, 64), 0.5).double()
    found = Segmentation().run(known(speckled(inside())), plain)
    assert found.pixels.isfinite().all()
    found.picture()


def test_one_pixel_of_saliency():
    """Too little for a colour model that grows."""
    weights = torch.zeros(56, 64)
    weights[20, 30] = 1
    found = Segmentation().run(known(weights), photo(inside()))
    assert not found.pixels.any()


def test_the_largest_of_two_objects():
    mask, other = inside(), torch.zeros(56, 64, dtype=torch.bool)
    other[44:52, 50:60] = True
    both = mask | other
    found = Segmentation().run(known(speckled(both)), photo(both))
    assert torch.equal(found.pixels[0], mask.double())


def test_the_largest_part_by_hand():
    mask = np.zeros((6, 8), np.uint8)
    mask[0, 0] = mask[1, 1] = mask[2, 0] = 1  # by their corners
    mask[4, 4:6] = 1
    expected = mask.copy()
    expected[4] = 0
    assert np.array_equal(largest(cv2, mask), expected)
    assert around(expected) == (0, 0, 2, 3)
    assert around(np.zeros((2, 2))) is None


@pytest.mark.parametrize(("one", "other", "expected"), [
    ((0, 0, 4, 4), (0, 0, 4, 4), 1),
    ((0, 0, 4, 4), (2, 2, 6, 6), 4 / 28),
    ((0, 0, 4, 4), (1, 1, 3, 3), 4 / 16),
    ((0, 0, 4, 4), (4, 0, 8, 4), 0),
    ((0, 0, 2, 2), (5, 5, 6, 6), 0),
    (None, (0, 0, 4, 4), 0),
])  # fmt: skip
def test_iou_by_hand(one, other, expected):
    assert iou(one, other) == pytest.approx(expected)


def test_a_box_for_each_picture():
    model, photos = known(speckled(inside())), photo(inside()).repeat(2, 1, 1, 1)
    found = Segmentation(box=("20,12,44,40", "20, 12, 32, 40")).run(model, photos)
    assert [fact["iou"] for fact in found.report["images"]] == [1, 0.5]
    with pytest.raises(SettingError, match="3 boxes for 2 images"):
        Segmentation(box=("0,0,9,9",) * 3).run(model, photos)


@pytest.mark.parametrize(("box", "message"), [
    ("1,2,3", "box is LEFT,TOP,RIGHT,BOTTOM, like 10,20,200,180; got '1,2,3'"),
    ("a,b,c,d", "box is LEFT,TOP"),
    ("-1,0,4,4", "box is LEFT,TOP"),
    ("", "box is LEFT,TOP"),
    (3, "box is LEFT,TOP"),
    ("4,0,4,4", "box lies in 0,0,64,56 and is not empty; got '4,0,4,4'"),
    ("0,0,65,5", "box lies in 0,0,64,56"),
    ("0,0,5,57", "box lies in 0,0,64,56"),
])  # fmt: skip
def test_bad_boxes(box, message):
    with pytest.raises(SettingError) as caught:
        Segmentation(box=box).run(known(torch.rand(56, 64)), photo(inside()))
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_quantiles_in_the_wrong_order():
    with pytest.raises(SettingError, match=r"background is below foreground; got 0\.5 and 0\.5"):
        Segmentation(foreground=0.5, background=0.5)


def test_without_the_extra(small, pixels, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)  # importing it fails
    with pytest.raises(PixelgradError) as caught:
        Segmentation().run(small, pixels)
    assert str(caught.value) == "segmentation needs the measure extra: pip install 'pixelgrad[measure]'"


def test_whatever_opencv_did_before(small, pixels):
    found = []
    for seed in (1, 2):
        cv2.setRNGSeed(seed)
        found.append(Segmentation().run(small, pixels).pixels)
    assert torch.equal(*found)


def test_the_outline_and_the_boxes():
    from pixelgrad import images
    from pixelgrad.show import segmentation

    mask = inside("disc")
    whole = images.to_image(photo(mask)[0])
    plain = np.asarray(outlined(whole, mask.double(), []))
    line = (plain == segmentation.OUTLINE).all(2)
    assert line.any()
    assert not (line & ~mask.numpy()).any()
    assert np.array_equal(plain[0, 0], np.asarray(whole)[0, 0] // 2)
    assert np.array_equal(plain[26, 30], np.asarray(whole)[26, 30])
    framed = np.asarray(
        outlined(whole, mask.double(), [((5, 6, 60, 50), segmentation.TRUE), (None, segmentation.FOUND)])
    )
    assert tuple(framed[7, 6]) == segmentation.TRUE
    assert tuple(framed[6, 5]) == tuple(framed[49, 59]) == segmentation.EDGE


@pytest.mark.parametrize("n", [1, 3])
def test_the_picture(small, pixels, n):
    found = Segmentation(box="2,2,9,9").run(small, pixels[:n])
    wide, high = found.image().size
    assert wide > 220 * max(n, 3)
    assert high > 220 * (1 if n == 1 else 3)


def test_the_object_of_a_photograph(lite0):
    """The espresso's cup: its rim, and what is in it."""
    found = Segmentation(box="25,0,185,150").run(lite0, pg.open_image("sample:coffee", lite0))
    assert found.report["images"][0]["iou"] > 0.5
