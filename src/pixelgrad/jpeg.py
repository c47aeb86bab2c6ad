"""JPEG as a function of the pixels: the real one, and one that gradients pass.

The differentiable one (Shin & Song 2017) is the standard's chain: YCbCr, colours halved in size, blocks of 8×8,
cosine transform, division by the quality's table, rounding, and back. Rounding has no gradient; in its place is
round(x) + (x − round(x))³, which has nearly its values.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from . import images

# ITU-T T.81, Annex K: tables for luminance and chrominance at quality 50
LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
)
# JFIF: YCbCr of RGB, in units of full range; both colour differences are around 0
TO_YCC = (
    (0.299, 0.587, 0.114),
    (-0.168736, -0.331264, 0.5),
    (0.5, -0.418688, -0.081312),
)


def saved(pixels: Tensor, quality: int) -> Tensor:
    """Pixels (n, 3, h, w) after a real JPEG file of that quality."""
    files = [images.to_pixels(images.to_image(x), "JPEG", quality=quality) for x in pixels]
    return torch.cat(files).to(pixels)


def approximate(pixels: Tensor, quality: int) -> Tensor:
    """The same, differentiable and approximate."""
    height, width = pixels.shape[-2:]
    x = F.pad(pixels, (0, -width % 16, 0, -height % 16), mode="replicate") * 255
    matrix = x.new_tensor(TO_YCC)
    ycc = torch.einsum("ij,njhw->nihw", matrix, x)
    luma = _blocks(ycc[:, :1] - 128, x.new_tensor(LUMINANCE), quality) + 128
    halved = F.avg_pool2d(ycc[:, 1:], 2)
    chroma = F.interpolate(_blocks(halved, x.new_tensor(CHROMINANCE), quality), scale_factor=2.0)
    back = torch.einsum("ij,njhw->nihw", torch.linalg.inv(matrix), torch.cat([luma, chroma], 1))
    return (back / 255).clamp(0, 1)[..., :height, :width]


def _blocks(x: Tensor, table: Tensor, quality: int) -> Tensor:
    """Each block of 8×8 through cosine transform, quantisation and back."""
    scale = 5000 / quality if quality < 50 else 200 - 2 * quality
    table = ((table * scale + 50) / 100).floor().clamp(1, 255)
    n, c, h, w = x.shape
    cosine = _cosine().to(x)
    blocks = x.reshape(n, c, h // 8, 8, w // 8, 8).transpose(3, 4)
    spectrum = cosine @ blocks @ cosine.T / table
    nearest = spectrum.detach().round()
    spectrum = (nearest + (spectrum - nearest) ** 3) * table
    blocks = cosine.T @ spectrum @ cosine
    return blocks.transpose(3, 4).reshape(n, c, h, w)


def _cosine() -> Tensor:
    """The orthonormal cosine transform of 8 values, (8, 8)."""
    k = torch.arange(8, dtype=torch.float64)
    matrix = torch.cos((2 * k[None] + 1) * k[:, None] * math.pi / 16) / 2
    matrix[0] /= math.sqrt(2)
    return matrix
