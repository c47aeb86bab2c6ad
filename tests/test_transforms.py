"""Transforms: what they do to a picture, the same for every image of a batch, and that a gradient goes through."""

from __future__ import annotations

import math

import pytest
import scipy.ndimage
import torch
import torch.nn.functional as F

from pixelgrad.transforms import Chain, Draw, Noise, Roll, Turn, Views, Zoom, blur

ALL = [
    Roll(5), Turn(0.3, 20), Turn(0, 0, 4, 2), Turn(0.1, 10, 3, 2), Zoom((8, 10)), Noise(0.1),
    Chain((Turn(0.1, 10, 4), Noise(0.05))), Views(3, Roll(5)),
]  # fmt: skip


def draw(seed: int = 0, way: float = 0.0) -> Draw:
    return Draw(torch.Generator().manual_seed(seed), way)


@pytest.fixture
def x() -> torch.Tensor:
    return torch.rand(2, 3, 12, 15, dtype=torch.float64)


def blurred(x, _):
    return blur(x, 0.7)


@pytest.mark.parametrize("transform", ALL, ids=repr)
def test_the_same_for_every_image_and_again_from_the_same_draw(transform, x):
    whole, again = transform(x, draw()), transform(x, draw())
    assert torch.equal(whole, again)
    views = len(whole) // 2
    alone = transform(x[1:], draw())
    assert torch.equal(whole.reshape(views, 2, *whole.shape[1:])[:, 1], alone)


@pytest.mark.parametrize("transform", [*ALL, blurred], ids=[*map(repr, ALL), "blurred"])
def test_the_gradient_is_that_of_finite_differences(transform, x):
    x = x[:1, :, :7, :8].clone().requires_grad_()
    if isinstance(transform, Noise):  # where it cuts, its gradient is on purpose not that of the value
        x = (0.45 + 0.1 * x.detach()).requires_grad_()
    torch.autograd.gradcheck(lambda x: transform(x, draw()), x, fast_mode=True)


def test_roll_moves_by_zero_to_most_down_and_right(x):
    seen = set()
    for seed in range(200):
        rolled = Roll(2)(x, draw(seed))
        (found,) = [
            (i, j) for i in range(3) for j in range(3) if torch.equal(rolled, torch.roll(x, (i, j), (2, 3)))
        ]
        seen.add(found)
    assert len(seen) == 9


def step_by_step(x, d, turn):
    """As Lucid does it: a grey frame, a crop at random, scaled and turned about its centre, another crop."""
    pad = turn.before + turn.after
    height, width = x.shape[2:]
    x = F.pad(x, (pad,) * 4, value=0.5)
    x = cropped(x, turn.before, d)
    a, b = (2 * torch.rand(2, generator=d.random) - 1).tolist()
    factor, angle = 1 + turn.scale * a, math.radians(turn.degrees * b)
    cos, sin = math.cos(angle) / factor, math.sin(angle) / factor
    (h, w), size = x.shape[2:], (height + turn.after, width + turn.after)
    matrix = [[cos * size[1] / w, -sin * size[0] / w, 0], [sin * size[1] / h, cos * size[0] / h, 0]]
    grid = F.affine_grid(x.new_tensor(matrix)[None], [1, 3, *size], align_corners=False)
    x = F.grid_sample(x - 0.5, grid.expand(len(x), -1, -1, -1), align_corners=False) + 0.5
    return cropped(x, turn.after, d)


def cropped(x, less, d):
    top, left = torch.randint(0, less + 1, (2,), generator=d.random).tolist()
    height, width = (side - less for side in x.shape[2:])
    return x[:, :, top : top + height, left : left + width]


@pytest.mark.parametrize(
    "turn", [Turn(0.1, 10, 4, 2), Turn(0.45, 15, 6, 3), Turn(0, 0, 5, 0), Turn(0, 0, 0, 3)]
)
@pytest.mark.parametrize("seed", range(5))
def test_turn_is_lucids_steps_in_one(x, turn, seed):
    expected = step_by_step(x, draw(seed), turn)
    torch.testing.assert_close(turn(x, draw(seed)), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("threads", [1, 2, 3, 5, 40])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_however_many_threads_share_the_planes_nothing_changes(n, threads, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    x = torch.rand(n, 3, 12, 15, dtype=torch.float64, requires_grad=True)
    r = torch.rand(n, 3, 12, 15, dtype=torch.float64)
    turn = Turn(0.2, 20, 4, 2)
    for way in (turn, lambda x, d: step_by_step(x, d, turn)):
        shown = way(x, draw(3))
        (slope,) = torch.autograd.grad(shown, x, r)
        if way is turn:
            found = shown, slope
    torch.testing.assert_close(found, (shown, slope), rtol=0, atol=1e-12)


def test_turn_by_nothing_is_the_picture_and_a_quarter_is_rot90(x, monkeypatch):
    torch.testing.assert_close(Turn(0, 0)(x, draw()), x, rtol=0, atol=1e-12)
    monkeypatch.setattr(torch, "rand", lambda *_, **__: torch.tensor([0.5, 1.0]))
    x = x[..., :12]
    turned = Turn(0, 90)(x, draw())
    assert min(float((turned - x.rot90(k, (2, 3))).abs().max()) for k in (1, 3)) < 1e-12


def test_turn_scales_about_the_centre(monkeypatch):
    x = torch.rand(1, 3, 16, 16, dtype=torch.float64)
    monkeypatch.setattr(torch, "rand", lambda *_, **__: torch.tensor([0.0, 0.5]))
    half = Turn(0.5, 0)(x, draw())  # each pixel is the mean of four, with grey around
    expected = torch.nn.functional.avg_pool2d(x, 2)
    torch.testing.assert_close(half[:, :, 4:12, 4:12], expected, rtol=0, atol=1e-12)
    outside = half.clone()
    outside[:, :, 4:12, 4:12] = 0.5
    assert bool((outside == 0.5).all())


def test_zoom_shrinks_along_the_way_and_stays_inside(x):
    ramp = torch.linspace(0, 1, 101, dtype=torch.float64).expand(1, 3, 101, 101)
    for way, share in ((0, 0.5), (1, 0.05)):
        for seed in range(20):
            crop = Zoom((50, 50))(ramp, draw(seed, way))
            # the ramp's slope tells how much of it is seen
            inner = crop[0, 0, 25, 5:45]
            assert float(inner.diff().mean()) == pytest.approx(share * 1.01 / 50, rel=1e-6)
            assert 0 <= float(crop.min()) <= float(crop.max()) <= 1


def test_noise_has_its_deviation_and_stays_in_range():
    grey = torch.full((2, 3, 64, 64), 0.5)
    noisy = Noise(0.1)(grey, draw())
    assert float(noisy.std()) == pytest.approx(0.1, rel=0.05)
    white = Noise(0.1)(grey * 2, draw())
    assert float(white.max()) <= 1
    assert torch.equal(Noise(0.0)(grey, draw()), grey)


def test_noise_does_not_stop_the_gradient_where_it_is_cut():
    x = torch.ones(1, 3, 4, 4, requires_grad=True)
    Noise(0.5)(x, draw()).sum().backward()
    assert bool((x.grad == 1).all())


@pytest.mark.parametrize("sigma", [0.3, 0.5, 1.7, 6.0])
def test_blur_is_scipys(x, sigma):
    expected = scipy.ndimage.gaussian_filter(x.numpy(), (0, 0, sigma, sigma))
    torch.testing.assert_close(blur(x, sigma), torch.from_numpy(expected), rtol=1e-12, atol=1e-14)
