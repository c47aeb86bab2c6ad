"""The differentiable JPEG against the real one, and distances against their formulas."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image

import pixelgrad as pg
from pixelgrad import distortion, images, jpeg


@pytest.fixture(scope="module")
def photograph() -> torch.Tensor:
    return pg.open_image("sample:cat")[..., :100, :150]


@pytest.mark.parametrize("quality", [95, 75, 30])
def test_approximation_is_near_the_real_file(photograph, quality):
    real = jpeg.saved(photograph, quality)
    near = jpeg.approximate(photograph, quality)
    assert near.shape == photograph.shape
    lost = float((real - photograph).pow(2).mean().sqrt())
    apart = float((near - real).pow(2).mean().sqrt())
    assert apart < 0.6 * lost, "it should be nearer to the file than the photograph is"
    assert apart < 0.02


def test_real_file(photograph):
    data = io.BytesIO()
    images.to_image(photograph[0]).save(data, "JPEG", quality=60)
    expected = np.asarray(Image.open(data)) / 255
    found = jpeg.saved(photograph, 60)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-7)


def test_cosine_transform_is_orthonormal():
    c = jpeg._cosine()
    torch.testing.assert_close(c @ c.T, torch.eye(8, dtype=torch.float64), rtol=0, atol=1e-12)


def test_at_quality_100_a_grey_ramp_is_kept():
    ramp = torch.linspace(0.2, 0.8, 32, dtype=torch.float64).expand(1, 3, 32, 32)
    assert float((jpeg.approximate(ramp, 100) - ramp).abs().max()) < 0.01


def test_gradient_by_finite_differences():
    x = torch.rand(1, 3, 16, 16, dtype=torch.float64) * 0.8 + 0.1
    direction, weight = torch.randn_like(x), torch.randn_like(x)
    leaf = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad((jpeg.approximate(leaf, 75) * weight).sum(), leaf)
    h = 1e-7
    ahead, behind = (jpeg.approximate(x + s * h * direction, 75) for s in (1, -1))
    expected = float(((ahead - behind) * weight).sum() / (2 * h))
    assert float((grad * direction).sum()) == pytest.approx(expected, rel=1e-4)


def test_distances():
    a, b = torch.rand(2, 3, 20, 30, dtype=torch.float64), torch.rand(2, 3, 20, 30, dtype=torch.float64)
    found = distortion.facts(a[0], b[0])
    d = [float(x) for x in (a[0] - b[0]).flatten()]
    assert found["l2"] == pytest.approx(math.sqrt(sum(x * x for x in d)))
    assert found["linf"] == pytest.approx(max(abs(x) for x in d))
    assert found["psnr"] == pytest.approx(10 * math.log10(len(d) / sum(x * x for x in d)))
    assert distortion.l2(a - b).tolist() == pytest.approx(
        [float((x - y).norm()) for x, y in zip(a, b, strict=True)]
    )


def test_the_same_picture():
    a = torch.rand(3, 12, 12)
    assert distortion.facts(a, a) == {"l2": 0, "linf": 0, "psnr": None, "ssim": pytest.approx(1)}
    assert distortion.facts(a[:, :8], a[:, :8])["ssim"] is None


def test_ssim_falls_with_noise(photograph):
    x = photograph[0]
    little, much = ((x + s * torch.randn_like(x)).clamp(0, 1) for s in (0.02, 0.1))
    assert 1 > distortion.facts(little, x)["ssim"] > distortion.facts(much, x)["ssim"] > 0
