"""How far maps move where the picture hardly does: max-sensitivity (Yeh 2019, §3).

    S = max over δ of ‖M(x + δ) − M(x)‖₂ / ‖M(x)‖₂         δ uniform in [−0.02, 0.02] for each pixel and colour

The maximum is over a few random δ, the same for all pictures, so S is a lower bound.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .distortion import l2
from .gradient import Progress, Step

RADIUS = 0.02


def furthest(
    attribute: Callable[[Tensor], Tensor],
    pixels: Tensor,
    own: Tensor,
    samples: int,
    seed: int,
    progress: Progress | None = None,
) -> Tensor:
    """Of the maps (n, h, w) of pictures with noise those that are furthest from the pictures' own."""
    worst, far = own.clone(), l2(own - own)
    random = torch.Generator().manual_seed(seed)
    for k in range(samples):
        noise = RADIUS * (2 * torch.rand(pixels.shape[1:], generator=random) - 1)
        other = attribute(pixels + noise.to(pixels))
        change = l2(other - own)
        more = change > far
        worst[more], far[more] = other[more], change[more]
        if progress is not None:
            progress(Step(k + 1, samples))
    return worst


def change(own: Tensor, other: Tensor) -> Tensor:
    """How much maps (n, h, w) have changed, as a share of their length, (n,); NaN where that is zero."""
    size = l2(own)
    return torch.where(size > 0, l2(other - own) / size, torch.nan)
