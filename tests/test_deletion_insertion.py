"""Deletion and insertion on a network whose probability is a sum over the pixels: areas in closed form."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import pixelgrad as pg
from pixelgrad.deletion import BLUR, measured, shares, trace
from pixelgrad.errors import NotFound, SettingError
from pixelgrad.measure.deletion_insertion import DeletionInsertion
from pixelgrad.ranks import edges, order
from pixelgrad.transforms import blur

SIDE = 8


class Linear(nn.Module):
    """Two classes; the probability of the first is Σ w·x over pixels and colours."""

    def __init__(self):
        super().__init__()
        random = torch.Generator().manual_seed(3)
        self.w = nn.Parameter(torch.rand(3, SIDE, SIDE, generator=random).double() / (3 * SIDE**2))

    def forward(self, x):
        p = (x * self.w).sum((1, 2, 3))
        return torch.stack([p, 1 - p], 1).log()


@pytest.fixture
def linear():
    return pg.Classifier(Linear(), size=SIDE, name="linear")


@pytest.fixture
def picture():
    return torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(4)).double()


def worth(model, x):
    """What each pixel adds to the probability against the blurred picture, (n, h, w)."""
    base = blur(x, BLUR * SIDE)
    return ((x - base) * model.module.w.detach()).sum(1)


def areas(model, x, maps, points=SIDE**2):
    counts = shares(SIDE**2, points)
    places = [order(maps), order(torch.rand(1, SIDE, SIDE)), order(maps)]
    curves = trace(model, x, (0,) * len(x), places, counts)
    return curves, torch.trapezoid(curves, torch.tensor(counts).double() / SIDE**2)


def closed_form(start, steps):
    """The area under start + the cumulative sums of the steps, one pixel each."""
    n = len(steps)
    return start + sum(step * (n - k - 0.5) for k, step in enumerate(steps.tolist())) / n


@pytest.mark.parametrize("worst", [False, True])
def test_areas_of_the_perfect_and_of_the_worst_map(linear, picture, worst):
    value = worth(linear, picture)
    _, found = areas(linear, picture, -value if worst else value)
    p = float((picture * linear.module.w.detach()).sum())
    p_blurred = float((blur(picture, BLUR * SIDE) * linear.module.w.detach()).sum())
    steps = value.flatten().sort(descending=not worst).values
    assert float(found[0, 0, 0]) == pytest.approx(closed_form(p, -steps), rel=1e-10)
    assert float(found[0, 1, 0]) == pytest.approx(closed_form(p_blurred, steps), rel=1e-10)


def test_no_order_beats_the_perfect_one_or_loses_to_the_worst(linear, picture):
    value = worth(linear, picture)
    _, best = areas(linear, picture, value)
    _, worst = areas(linear, picture, -value)
    for _ in range(10):
        _, other = areas(linear, picture, torch.rand(1, SIDE, SIDE))
        assert best[0, 0, 0] < other[0, 0, 0] < worst[0, 0, 0]
        assert best[0, 1, 0] > other[0, 1, 0] > worst[0, 1, 0]


def test_equals_a_slow_loop(small, pixels):
    maps = pg.make("show/saliency").run(small, pixels[:2]).pixels
    found = DeletionInsertion(points=5).run(small, pixels[:2])
    assert found.pixels.shape == (2, 2, 3, 6)
    for x, m, curves, fact in zip(pixels, maps, found.pixels, found.report["images"], strict=False):
        y, base = int(small(x[None]).argmax()), blur(x[None], BLUR * 16)[0]
        ranked = sorted(range(256), key=lambda i: (-float(m.flatten()[i]), i))
        for k in range(6):
            deleted, inserted = x.clone().flatten(1), base.clone().flatten(1)
            for i in ranked[: round(k * 256 / 5)]:
                deleted[:, i], inserted[:, i] = base.flatten(1)[:, i], x.flatten(1)[:, i]
            for w, picture in enumerate((deleted, inserted)):
                p = float(small(picture.reshape(1, 3, 16, 16)).softmax(1)[0, y])
                assert float(curves[w, 0, k]) == pytest.approx(p, rel=1e-9)
        assert fact["deletion"]["saliency"] == pytest.approx(
            float((curves[0, 0, :-1] + curves[0, 0, 1:]).sum()) / 10, abs=2e-3
        )
        assert fact["blurred_probability"] == float(curves[1, 0, 0])


def test_the_random_order_is_its_own_reverse_and_has_a_seed(small, pixels):
    first, second = (DeletionInsertion(points=4, seed=seed).run(small, pixels[:1]) for seed in (0, 1))
    assert torch.equal(first.pixels[:, 1, 1], first.pixels[:, 0, 1].flip(-1))
    assert not torch.equal(first.pixels[:, 0, 1], second.pixels[:, 0, 1])
    assert torch.equal(first.pixels[:, :, 0], second.pixels[:, :, 0])


def test_several_maps_share_what_they_have_to_beat(linear, picture):
    value = worth(linear, picture)
    both = measured(linear, picture, (0,), [value, -value], 8, 0)
    for k, maps in ((0, value), (3, -value)):
        alone = measured(linear, picture, (0,), [maps], 8, 0)
        torch.testing.assert_close(both.areas[:, :, [k, 1, 2]], alone.areas)
    assert both.areas.shape == (1, 2, 4)


def test_more_points_than_pixels(linear, picture):
    found = DeletionInsertion(points=100).run(linear, picture)
    assert found.report["pixels"][-1] == SIDE**2
    assert found.picture().width > 600


def test_edges_are_those_of_sobel():
    from scipy import ndimage

    x = torch.rand(2, 3, 9, 7).double()
    for picture, found in zip(x, edges(x), strict=True):
        grey = picture.mean(0).numpy()
        both = [ndimage.sobel(grey, axis, mode="nearest") / 8 for axis in (0, 1)]
        expected = torch.from_numpy((both[0] ** 2 + both[1] ** 2) ** 0.5)
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", ["deletion-insertion", "randomization", "sensitivity"])
def test_bad_methods_are_said(name, small, pixels):
    with pytest.raises(NotFound, match="no method 'salency'; did you mean 'saliency'") as caught:
        pg.make(f"measure/{name}", method="salency").run(small, pixels)
    assert "grad-cam" in str(caught.value)
    with pytest.raises(NotFound, match="no method 'filters'"):
        pg.make(f"measure/{name}", method="filters").run(small, pixels)
    with pytest.raises(SettingError, match="2 targets for 5 images"):
        pg.make(f"measure/{name}", target=(0, 1)).run(small, pixels)
    with pytest.raises(NotFound, match="no class"):
        pg.make(f"measure/{name}", target="zebu").run(small, pixels)


def test_a_constant_map_is_ranked_in_reading_order():
    assert torch.equal(order(torch.zeros(1, 2, 3)).flatten(), torch.arange(6))
