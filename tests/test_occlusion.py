"""Occlusion against a slow double loop."""

from __future__ import annotations

import sys
from itertools import pairwise

import pytest
import timm
import torch

import pixelgrad as pg
from pixelgrad.errors import ModelError, NotFound, SettingError
from pixelgrad.show.occlusion import Occlusion, nearest, starts


def by_hand(model, x, size, stride, grey, value):
    """Map (h, w) and predicted classes of one picture, a square after the other, a pixel after the other."""
    _, h, w = x.shape
    tops = sorted({*range(0, h - size + 1, stride), h - size})
    lefts = sorted({*range(0, w - size + 1, stride), w - size})
    values, classes = {}, []
    for top in tops:
        classes.append([])
        for left in lefts:
            hidden = x.clone()
            for i in range(top, top + size):
                for j in range(left, left + size):
                    hidden[:, i, j] = grey
            logits = model(hidden[None])[0].detach()
            values[top, left] = float(value(logits))
            classes[-1].append(model.label_of(int(logits.argmax())))
    found = torch.zeros(h, w).double()
    for i in range(h):
        for j in range(w):
            over = [v for (t, s), v in values.items() if t <= i < t + size and s <= j < s + size]
            found[i, j] = sum(over) / len(over)
    return found, classes


@pytest.mark.parametrize(("size", "stride", "grey"), [(3, 2, 0.5), (5, 4, 0.2), (7, 1, 1.0), (16, 3, 0.0)])
def test_equals_a_slow_loop(small, pixels, size, stride, grey):
    found = Occlusion(target="cat", size=size, stride=stride, grey=grey).run(small, pixels[:2])
    for x, values, fact in zip(pixels, found.pixels, found.report["images"], strict=False):
        expected, classes = by_hand(small, x, size, stride, grey, lambda logits: logits.softmax(0)[2])
        torch.testing.assert_close(values, expected, rtol=1e-10, atol=1e-14)
        assert [[fact["classes"][k] for k in row] for row in fact["map"]] == classes
    assert found.report["gradients"] == 0


def test_an_oblong_picture(small):
    x = torch.rand(1, 3, 16, 24).double()
    found = Occlusion(target=1, size=4, stride=3).run(small, x)
    expected, _ = by_hand(small, x[0], 4, 3, 0.5, lambda logits: logits.softmax(0)[1])
    torch.testing.assert_close(found.pixels[0], expected, rtol=1e-10, atol=1e-14)
    assert found.picture().size[0] > 3 * 200


def test_another_score_is_taken_as_it_is(small, pixels):
    found = Occlusion(objective="Logit('cat') - Logit('dog')", size=5, stride=4).run(small, pixels[:1])
    expected, _ = by_hand(small, pixels[0], 5, 4, 0.5, lambda logits: logits[2] - logits[3])
    torch.testing.assert_close(found.pixels[0], expected, rtol=1e-10, atol=1e-14)
    logit = Occlusion(objective="Logit('cat')", size=5, stride=4).run(small, pixels[:1])
    expected, _ = by_hand(small, pixels[0], 5, 4, 0.5, lambda logits: logits[2])
    torch.testing.assert_close(logit.pixels[0], expected, rtol=1e-10, atol=1e-14)


def test_the_class_is_that_of_the_whole_picture(small, pixels):
    found = Occlusion(size=8).run(small, pixels)
    predicted = tuple(small(pixels).argmax(1).tolist())
    assert torch.equal(found.pixels, Occlusion(size=8, target=predicted).run(small, pixels).pixels)
    torch.testing.assert_close(found.score, small(pixels).amax(1).detach())


@pytest.mark.parametrize(
    ("side", "square", "stride"), [(224, 45, 15), (16, 3, 2), (10, 10, 4), (10, 3, 7), (9, 4, 9)]
)
def test_squares_end_at_the_border(side, square, stride):
    found = starts(side, square, stride)
    assert found[0] == 0
    assert found[-1] == side - square
    assert found == sorted(set(found))
    assert all(b - a <= stride for a, b in pairwise(found))


def test_nearest_square():
    centres = [1.0, 3.0, 6.0]  # of squares of 3 at 0, 2 and 5
    expected = [min(range(3), key=lambda k: (abs(i - centres[k]), k)) for i in range(8)]
    assert nearest([0, 2, 5], 3, 8).tolist() == expected


@pytest.mark.parametrize("box", [(224, 224), (224, 160), (64, 64), (480, 640)])
def test_the_default_is_a_fifth_in_at_most_200_places(box):
    class Any(torch.nn.Module):
        def forward(self, x):
            return x.mean((2, 3))

    found = Occlusion().run(pg.Classifier(Any()), torch.rand(1, 3, *box))
    assert found.report["size"] == round(min(box) / 5)
    assert found.report["forwards"] <= 200


def test_progress_is_by_square(small, pixels, monkeypatch):
    monkeypatch.setitem(sys.modules["pixelgrad.gradient"].TOGETHER, "cpu", 1e-9)
    seen = []
    Occlusion(size=8, stride=8).run(small, pixels, seen.append)
    assert [(s.done, s.total) for s in seen] == [(k, 4) for k in range(1, 5)]


def test_vision_transformer():
    vit = timm.create_model("vit_tiny_patch16_224", pretrained=False, img_size=64, num_classes=5, depth=2)
    model = pg.Classifier(vit.double(), mean=0.5, std=0.5, size=64)
    x = torch.rand(1, 3, 64, 64).double()
    found = Occlusion(target=1, size=32, stride=16).run(model, x)
    expected, _ = by_hand(model, x[0], 32, 16, 0.5, lambda logits: logits.softmax(0)[1])
    torch.testing.assert_close(found.pixels[0], expected, rtol=1e-9, atol=1e-14)


def test_bad_input(small, pixels):
    with pytest.raises(SettingError, match="size is at least 1 px; got 0"):
        Occlusion(size=0)
    with pytest.raises(SettingError, match="stride is at least 1 px; got 0"):
        Occlusion(stride=0)
    with pytest.raises(SettingError, match=r"stride is at most the size, 3 px.*; got 4"):
        pg.make("show/occlusion", size=3, stride=4).run(small, pixels)
    assert pg.make("show/occlusion", size=1).run(small, pixels).pixels.isfinite().all()
    with pytest.raises(SettingError, match="size is at most that of the picture, 16 px; got 17"):
        Occlusion(size=17).run(small, pixels)
    with pytest.raises(NotFound, match=r"no class .9"):
        Occlusion(target=9).run(small, pixels)
    with pytest.raises(ModelError, match="no images"):
        Occlusion().run(small, pixels[:0])


def test_the_map_is_low_on_the_object(squeezenet):
    coffee = pg.open_image("sample:coffee", squeezenet)
    found = Occlusion().run(squeezenet, coffee)
    values = found.pixels[0]
    assert float(values[60:90, 75:135].mean()) < 0.3 < 0.7 < float(values[:, 200:].mean())
    assert found.report["images"][0]["classes"][0] == "espresso"
