"""Octaves (Google 2015): a photograph at several sizes, from small to large; each goes on with what the one before has
added.

    x_k = base_k + up(x_{k−1} − base_{k−1})        base_k: the photograph at size k

Only what was added is enlarged. Enlarging x itself would lose the photograph's own fine detail.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .steps import Memory, Rule
from .transforms import enlarged

SMALLEST = 32  # px, of the shorter side: the stride of most networks; what is smaller shows them nothing
ZOOM = 1.05  # from one picture of a flight to the next

Size = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Octaves:
    """A canvas of pixels that grows: so many steps at each size, and then for each picture of a flight into it.

    mask (1, 1, h, w): outside of it, where it is 0, every size is the photograph.
    """

    photo: Tensor  # (n, 3, h, w)
    sizes: tuple[Size, ...]  # the last is the photograph's
    steps: int
    mask: Tensor | None = None

    def start(self) -> Tensor:
        """The photograph at the smallest size."""
        return resized(self.photo, self.sizes[0])

    def pixels(self, z: Tensor, rows: Tensor) -> Tensor:
        """The parameter itself."""
        return z

    def enter(self, z: Tensor, rows: Tensor, step: int) -> Tensor:
        """z at the size of a step's octave, or one picture further on the flight."""
        level, since = divmod(step, self.steps)
        if since or not level:
            return z
        return self.grown(z, self.sizes[level]) if level < len(self.sizes) else enlarged(z, ZOOM)

    def grown(self, z: Tensor, size: Size) -> Tensor:
        """What z adds to the photograph at its own size, added to it at another."""
        if z.shape[-2:] == size:
            return z
        base = resized(self.photo, size)
        detail = resized(z - resized(self.photo, z.shape[-2:]), size)
        if self.mask is not None:
            detail = torch.where(resized(self.mask, size) > 0, detail, 0)
        return (base + detail).clamp(0, 1)


@dataclass(frozen=True, eq=False)
class Masked:
    """Another rule's steps, times a mask (1, 1, h, w) from 0 to 1, brought to the size of z."""

    rule: Rule
    mask: Tensor

    def step(self, z: Tensor, g: Tensor, memory: Memory, step: int) -> tuple[Tensor, Memory]:
        new, memory = self.rule.step(z, g, memory, step)
        return z + resized(self.mask, z.shape[-2:]) * (new - z), memory


def sizes(largest: tuple[int, ...], count: int, ratio: float) -> tuple[Size, ...]:
    """`count` sizes (height, width) that grow by `ratio`, but for those that are too small."""
    height, width = largest
    found = [(round(height / ratio**k), round(width / ratio**k)) for k in reversed(range(1, count))]
    return (*(size for size in found if min(size) >= SMALLEST), (height, width))


def resized(pixels: Tensor, size: tuple[int, ...]) -> Tensor:
    """Pixels at another size, smoothed where that is smaller; bit for bit the same at their own."""
    if pixels.shape[-2:] == size:
        return pixels
    return F.interpolate(pixels, tuple(size), mode="bilinear", align_corners=False, antialias=True)
