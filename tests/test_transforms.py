"""Transforms: what they do to a picture, the same for every image of a batch, and that a gradient goes through."""

from __future__ import annotations

import pytest
import scipy.ndimage
import torch

from pixelgrad.transforms import Chain, Crop, Draw, Noise, Pad, Roll, Turn, Views, Zoom, blur

ALL = [
    Roll(5), Pad(3), Crop(4), Turn(0.3, 20, (12, 15)), Turn(0, 0, (20, 9)), Zoom((8, 10)), Noise(0.1),
    Chain((Pad(2), Crop(4), Turn(0.1, 10, (12, 15)), Noise(0.05))), Views(3, Roll(5)),
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


def test_pad_is_grey_and_crop_is_a_piece(x):
    padded = Pad(2)(x, draw())
    assert padded.shape == (2, 3, 16, 19)
    assert torch.equal(padded[:, :, 2:-2, 2:-2], x)
    assert bool((padded[:, :, :2] == 0.5).all() & (padded[..., -2:] == 0.5).all())
    pieces = {i for seed in range(100) for i in range(5) if torch.equal(
        Crop(4)(x, draw(seed))[0, 0, 0], x[0, 0, i, i : i + 11])}  # fmt: skip
    assert pieces <= set(range(5))
    assert Crop(4)(x, draw()).shape == (2, 3, 8, 11)
    assert torch.equal(Crop(0)(x, draw()), x)


def test_turn_by_nothing_is_the_picture_and_a_quarter_is_rot90(x, monkeypatch):
    torch.testing.assert_close(Turn(0, 0, (12, 15))(x, draw()), x, rtol=0, atol=1e-12)
    monkeypatch.setattr(torch, "rand", lambda *_, **__: torch.tensor([0.5, 1.0]))
    turned = Turn(0, 90, (15, 12))(x, draw())
    assert min(float((turned - x.rot90(k, (2, 3))).abs().max()) for k in (1, 3)) < 1e-12


def test_turn_scales_about_the_centre(monkeypatch):
    x = torch.rand(1, 3, 16, 16, dtype=torch.float64)
    monkeypatch.setattr(torch, "rand", lambda *_, **__: torch.tensor([0.0, 0.5]))
    half = Turn(0.5, 0, (16, 16))(x, draw())  # each pixel is the mean of four, with grey around
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
