"""Training pictures varied on the fly, a whole batch with a few tensor operations."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's
AREA = (0.5, 1.0)  # of a crop, as a share of the picture's
ASPECT = 4 / 3  # of a crop at most, lying or standing
LIGHT = 0.2  # contrast and brightness are multiplied by 1 - LIGHT to 1 + LIGHT


def normalise(pixels: Tensor) -> Tensor:
    """[0, 255] to what the network sees."""
    mean, std = (torch.tensor(v, device=pixels.device).view(3, 1, 1) for v in (MEAN, STD))
    return (pixels / 255 - mean) / std


def augment(pixels: Tensor, rng: torch.Generator) -> Tensor:
    """Gives each picture its own crop (scaled to full size), flip, contrast and brightness."""

    def uniform(lo: float, hi: float) -> Tensor:
        return torch.rand(len(pixels), generator=rng) * (hi - lo) + lo

    area, stretch = uniform(*AREA), torch.exp(uniform(-1, 1) * math.log(ASPECT) / 2)
    width, height = ((area.sqrt() * s).clamp(max=1) for s in (stretch, 1 / stretch))
    flip = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    shift_x, shift_y = uniform(-1, 1) * (1 - width), uniform(-1, 1) * (1 - height)
    zero = torch.zeros(len(pixels))
    rows = [torch.stack(r, 1) for r in ((width * flip, zero, shift_x), (zero, height, shift_y))]
    grid = F.affine_grid(torch.stack(rows, 1), list(pixels.shape), align_corners=False)
    grid = grid.to(pixels.device)
    x = F.grid_sample(pixels.float(), grid, padding_mode="reflection", align_corners=False)
    contrast, light = (uniform(1 - LIGHT, 1 + LIGHT).view(-1, 1, 1, 1) for _ in range(2))
    mean = x.mean((1, 2, 3), keepdim=True)
    return (x - mean) * contrast.to(x.device) + mean * light.to(x.device)
