"""Canvases: their formulas written out, gradients by finite differences, and what stays fixed."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from pixelgrad.canvases import (
    COLOURS,
    FourierCanvas,
    MacoCanvas,
    PixelCanvas,
    coloured,
    decorrelated,
    frequencies,
    magnitudes,
)

SIZES = [(8, 8), (7, 9), (6, 5), (5, 8)]


def like(n: int, h: int, w: int) -> torch.Tensor:
    return torch.zeros(n, 3, h, w, dtype=torch.float64)


def maco(n: int, h: int, w: int) -> MacoCanvas:
    photographs = torch.rand(4, 3, h, w, dtype=torch.float64)
    return MacoCanvas(like(n, h, w), magnitudes(photographs), seed=3)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "make", [lambda n, h, w: FourierCanvas(like(n, h, w), 3), maco], ids=["fourier", "maco"]
)
def test_gradient_by_finite_differences(make, size):
    canvas = make(1, *size)
    z = canvas.start().requires_grad_()
    rows = torch.arange(1)
    torch.autograd.gradcheck(lambda z: canvas.pixels(z, rows), z, fast_mode=True)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "make", [lambda n, h, w: FourierCanvas(like(n, h, w), 3), maco], ids=["fourier", "maco"]
)
def test_every_image_starts_the_same_and_alone_as_in_a_batch(make, size):
    torch.manual_seed(0)
    three = make(3, *size)
    torch.manual_seed(0)
    one = make(1, *size)
    z, alone = three.start(), one.start()
    assert torch.equal(z, alone.expand_as(z))
    pixels = three.pixels(z, torch.arange(3))
    assert pixels.shape == (3, 3, *size)
    assert bool(((pixels > 0) & (pixels < 1)).all())
    torch.testing.assert_close(pixels[:1], one.pixels(alone, torch.arange(1)), rtol=1e-12, atol=0)
    other = replace(three, seed=4)
    assert not torch.equal(pixels, other.pixels(other.start(), torch.arange(3)))


@pytest.mark.parametrize("size", SIZES)
def test_fourier_is_lucids_formula(size):
    h, w = size
    canvas = FourierCanvas(like(1, h, w), 3)
    z = canvas.start()
    spectrum = z[0, ..., 0].numpy() + 1j * z[0, ..., 1].numpy()
    for i in range(h):
        for j in range(w // 2 + 1):
            f = math.hypot(min(i, h - i) / h, j / w)
            spectrum[:, i, j] *= math.sqrt(h * w) / max(f, 1 / max(h, w))
    v = np.fft.irfft2(spectrum, s=(h, w)) / 4
    matrix = np.array([[0.26, 0.09, 0.02], [0.27, 0.0, -0.05], [0.27, -0.09, 0.03]])
    matrix /= np.sqrt((matrix**2).sum(0)).max()
    expected = 1 / (1 + np.exp(-np.einsum("ij,jhw->ihw", matrix, v)))
    found = canvas.pixels(z, torch.arange(1))[0].numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5)  # the matrix is kept in float32


def test_fourier_starts_from_small_noise():
    z = FourierCanvas(like(1, 64, 64), 0).start()
    assert float(z.std()) == pytest.approx(0.01, rel=0.05)
    assert float(z.mean().abs()) < 1e-3


@pytest.mark.parametrize("size", SIZES)
def test_colours_and_back(size):
    pixels = 0.02 + 0.96 * torch.rand(2, 3, *size, dtype=torch.float64)
    torch.testing.assert_close(coloured(decorrelated(pixels)), pixels, rtol=0, atol=1e-6)
    assert float(torch.linalg.vector_norm(COLOURS, dim=0).max()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_maco_keeps_the_magnitudes_whatever_the_phases(size):
    canvas = maco(1, *size)
    h, w = size
    # the zero and the highest frequencies of a real picture are real: only there a phase changes the size
    free = torch.ones(h, w // 2 + 1, dtype=torch.bool)
    free[:, 0] = False
    if w % 2 == 0:
        free[:, -1] = False
    sizes = []
    for seed in (0, 1):
        z = torch.randn(1, 3, h, w // 2 + 1, generator=torch.Generator().manual_seed(seed)).double()
        v = decorrelated(canvas.pixels(z, torch.arange(1)))
        found = torch.fft.rfft2(v).abs()[0][:, free]
        ratio = found / canvas.magnitude[:, free]
        sizes.append(ratio)
        torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio), rtol=1e-6, atol=0)
    assert not torch.equal(sizes[0], sizes[1])


def test_magnitudes_are_the_mean_of_those_of_the_photographs():
    photographs = torch.rand(3, 3, 6, 7, dtype=torch.float64)
    each = [np.abs(np.fft.rfft2(decorrelated(p[None])[0].numpy())) for p in photographs]
    np.testing.assert_allclose(magnitudes(photographs).numpy(), np.mean(each, 0), rtol=1e-12)


@pytest.mark.parametrize("size", SIZES)
def test_frequencies_are_those_of_the_spectrum(size):
    h, w = size
    found = frequencies(h, w)
    assert found.shape == torch.fft.rfft2(torch.zeros(h, w)).shape
    assert found[0, 0] == 0
    assert float(found[1, 1]) == pytest.approx(math.hypot(1 / h, 1 / w))
    assert float(found[-1, 1]) == pytest.approx(math.hypot(1 / h, 1 / w))


def test_pixel_canvas_is_in_the_networks_units():
    first = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
    canvas = PixelCanvas(first, mean, std)
    z = canvas.start()
    for c in range(3):
        torch.testing.assert_close(z[:, c], (first[:, c] - mean[c]) / std[c], rtol=1e-14, atol=0)
    torch.testing.assert_close(canvas.pixels(z, torch.arange(2)), first, rtol=1e-14, atol=0)
    far = canvas.pixels(canvas.clip(10 * z), torch.arange(2))
    assert float(far.min()) >= -1e-15
    assert float(far.max()) <= 1 + 1e-15
    torch.testing.assert_close(canvas.clip(z), z, rtol=0, atol=0)
