"""Small random changes of a picture before the network sees it, and the blur of one between steps.

A transform takes pixels (n, 3, h, w) and the draw of a step, and gives pixels, differentiable: one picture for each,
or several views of all, one view after the other. All images of a batch get the same draw, so that none depends on
its batch mates. What comes in from outside the picture is grey.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

GREY = 0.5


class Draw(NamedTuple):
    """What a transform draws from, and how far the run is, from 0 to 1."""

    random: Generator
    way: float = 0.0


Transform = Callable[[Tensor, Draw], Tensor]


@dataclass(frozen=True)
class Chain:
    """One transform after the other."""

    parts: tuple[Transform, ...]

    def __call__(self, pixels: Tensor, draw: Draw) -> Tensor:
        for part in self.parts:
            pixels = part(pixels, draw)
        return pixels


@dataclass(frozen=True)
class Views:
    """Several draws of one transform."""

    count: int
    part: Transform

    def __call__(self, pixels: Tensor, draw: Draw) -> Tensor:
        return torch.cat([self.part(pixels, draw) for _ in range(self.count)])


@dataclass(frozen=True)
class Roll:
    """The course's jitter: rolled down and right by `least` to `most` pixels each; what leaves comes in opposite."""

    most: int
    least: int = 0

    def __call__(self, pixels: Tensor, draw: Draw) -> Tensor:
        down, right = torch.randint(self.least, self.most + 1, (2,), generator=draw.random).tolist()
        return pixels.roll((down, right), (2, 3))


@dataclass(frozen=True)
class Turn:
    """Lucid's changes, all at once: the picture, with grey around it, is moved by up to ±before/2 pixels, scaled about
    its centre by a factor from 1 − scale to 1 + scale, rotated by up to ±`degrees`, and moved by up to ±after/2."""

    scale: float = 0.0
    degrees: float = 0.0
    before: int = 0
    after: int = 0

    def __call__(self, pixels: Tensor, draw: Draw) -> Tensor:
        down, right = self._moved(self.before, draw)
        a, b = (2 * torch.rand(2, generator=draw.random) - 1).tolist()
        lower, further = self._moved(self.after, draw)
        factor, angle = 1 + self.scale * a, math.radians(self.degrees * b)
        cos, sin = math.cos(angle) / factor, math.sin(angle) / factor
        height, width = pixels.shape[-2:]
        x, y = cos * further - sin * lower + right, sin * further + cos * lower + down
        matrix = [[cos, -sin * height / width, 2 * x / width], [sin * width / height, cos, 2 * y / height]]
        return _sampled(pixels, matrix, (height, width))

    @staticmethod
    def _moved(most: int, draw: Draw) -> list[float]:
        """Down and right, in pixels."""
        return [k - most / 2 for k in torch.randint(0, most + 1, (2,), generator=draw.random).tolist()]


@dataclass(frozen=True)
class Zoom:
    """MACO's crops, brought to `size`: a side of `first` of the picture's at the start of the run and `last` at
    its end, the centre from N(½, 0.15²)."""

    size: tuple[int, int]
    first: float = 0.5
    last: float = 0.05

    def __call__(self, pixels: Tensor, draw: Draw) -> Tensor:
        share = self.first + (self.last - self.first) * draw.way
        centre = 2 * 0.15 * torch.randn(2, generator=draw.random)  # in halves of the picture, from its centre
        right, down = centre.clamp(share - 1, 1 - share).tolist()
        return _sampled(pixels, [[share, 0, right], [0, share, down]], self.size)


@dataclass(frozen=True)
class Noise:
    """Normal noise, the same on every image; the sum is cut to [0, 1], the gradient is not."""

    deviation: float

    def __call__(self, pixels: Tensor, draw: Draw) -> Tensor:
        if not self.deviation:
            return pixels
        added = self.deviation * torch.randn(pixels.shape[1:], generator=draw.random).to(pixels)
        return exactly((pixels.detach() + added).clamp_(0, 1), pixels)


def exactly(value: Tensor, likeness: Tensor) -> Tensor:
    """`value`, bit by bit, with the gradient of `likeness`."""
    shown: Tensor = _Exactly.apply(value.detach(), likeness)
    return shown


class _Exactly(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, value: Tensor, likeness: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(_: Any, *g: Tensor) -> tuple[None, Tensor]:
        return None, g[0]


def enlarged(pixels: Tensor, factor: float) -> Tensor:
    """The middle of the pictures, so many times larger, in their size."""
    height, width = pixels.shape[-2:]
    return _sampled(pixels, [[1 / factor, 0, 0], [0, 1 / factor, 0]], (height, width))


def blur(pixels: Tensor, sigma: float) -> Tensor:
    """Gaussian blur, cut at 4 σ and mirrored at the border, as scipy.ndimage.gaussian_filter does it."""
    reach = int(4 * sigma + 0.5)
    offsets = torch.arange(-reach, reach + 1, dtype=pixels.dtype, device=pixels.device)
    weights = (-(offsets**2) / (2 * sigma**2)).exp()
    weights = weights / weights.sum()
    for dim in (2, 3):
        side = pixels.shape[dim]
        index = torch.arange(-reach, side + reach, device=pixels.device) % (2 * side)
        index = torch.where(index < side, index, 2 * side - 1 - index)  # … b a | a b c | c b …
        padded = pixels.index_select(dim, index)
        shifted = torch.stack([padded.narrow(dim, k, side) for k in range(2 * reach + 1)])
        pixels = torch.tensordot(weights, shifted, dims=1)
    return pixels


def _sampled(pixels: Tensor, matrix: list[list[float]], size: tuple[int, int]) -> Tensor:
    """Pixels of `size`; the matrix says where in the picture, in halves of it from its centre, each of them lies."""
    (a, b, c), (d, e, f) = matrix
    x, y = (torch.arange(1 - n, n, 2).to(pixels) / n for n in (size[1], size[0]))  # the pixels' centres
    grid = torch.stack([(a * x + c) + b * y[:, None], (d * x + f) + e * y[:, None]], 2)
    shown: Tensor = _Sampled.apply(pixels, grid)
    return shown


class _Sampled(torch.autograd.Function):
    """Pixels at the places of a grid (h, w, 2), the same for all pictures.

    torch works out the places of a grid for every picture, however many colours it has, and gives a thread whole
    pictures: so all planes are put into as many pictures as there are threads. Its way back also takes the gradient at
    the grid, for which it looks up every pixel again; nobody wants that, so it looks at one number instead.
    """

    @staticmethod
    def forward(ctx: Any, pixels: Tensor, grid: Tensor) -> Tensor:
        ctx.shape, (n, colours, height, width) = pixels.shape, pixels.shape
        ctx.groups = _pictures(n * colours)
        ctx.save_for_backward(grid)
        # outside is filled with zeros: shifted by the grey, they are grey
        planes = (pixels - GREY).reshape(ctx.groups, -1, height, width)
        shown = F.grid_sample(planes, grid.expand(ctx.groups, -1, -1, -1), align_corners=False)
        return shown.add_(GREY).reshape(n, colours, *grid.shape[:2])

    @staticmethod
    def backward(ctx: Any, r: Tensor) -> Any:
        (grid,) = ctx.saved_tensors
        planes, grid = r.reshape(ctx.groups, -1, *r.shape[2:]), grid.expand(ctx.groups, -1, -1, -1)
        any_pixels = r.new_zeros(()).expand(*planes.shape[:2], *ctx.shape[2:])
        back = torch.ops.aten.grid_sampler_2d_backward
        found = back(planes, any_pixels, grid, 0, 0, False, (True, False))[0]
        return found.reshape(ctx.shape), None


def _pictures(planes: int) -> int:
    """Into how many pictures of the same number of planes so many are put."""
    threads = range(torch.get_num_threads(), planes)
    return next((k for k in threads if planes % k == 0), planes)
