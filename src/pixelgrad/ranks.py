"""How alike two maps are: Spearman's rank correlation, with ties, and SSIM of what is seen of them."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from . import pictures
from .distortion import facts


def ranks(values: Tensor) -> Tensor:
    """The rank of each value among all, from 1; equal ones share the mean of theirs."""
    array = values.detach().cpu().double().flatten().numpy()
    _, place, count = np.unique(array, return_inverse=True, return_counts=True)
    return torch.from_numpy((count.cumsum() - (count - 1) / 2)[place])


def spearman(a: Tensor, b: Tensor) -> float | None:
    """The correlation of the ranks of two maps (Spearman 1904), −1 to 1; None where one of them is constant."""
    x, y = (r - r.mean() for r in (ranks(a), ranks(b)))
    size = (x.square().sum() * y.square().sum()).sqrt()
    return max(-1.0, min(1.0, float((x * y).sum() / size))) if size > 0 else None


def seen_alike(a: Tensor, b: Tensor) -> float | None:
    """SSIM (Wang 2004) of two maps (h, w) that are never negative, each in the scale that it is drawn in; None where a
    side is shorter than the window of 11 pixels."""
    unit = []
    for values in (a, b):
        hi = pictures.scale(values)[1]
        unit.append((values.double() / (hi or 1.0)).clamp(max=1)[None])
    similarity: float | None = facts(unit[0], unit[1])["ssim"]
    return similarity


def order(values: Tensor) -> Tensor:
    """Of each map (n, h, w) the place of every pixel, from 0, the highest value first, of equal ones the first."""
    flat = values.flatten(1)
    return flat.sort(dim=1, descending=True, stable=True).indices.argsort(dim=1).reshape(values.shape)


def edges(pixels: Tensor) -> Tensor:
    """The size of the gradient of the brightness of pictures (n, 3, h, w) by Sobel's operator; (n, h, w)."""
    grey = F.pad(pixels.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    kernel = pixels.new_tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
    both = F.conv2d(grey, torch.stack([kernel, kernel.T])[:, None])
    return both.square().sum(1).sqrt()
