"""What is optimised: pixels, a spectrum, or only its phases. Each turns a parameter z into pixels in [0, 1].

    PixelCanvas     x = μ + σ·z                               Simonyan 2014, the course
    FourierCanvas   x = sigmoid(M · irfft2(s·z) / 4)          Olah 2017 (Lucid)
    MacoCanvas      x = sigmoid(M · std(irfft2(r·e^{iφ})))    Fel 2023; φ = std(z), std: mean 0, deviation 1

M takes decorrelated colours to logits of red, green, blue; s falls with the frequency f as 1/f, so that a step
moves every size of detail alike; r are the magnitudes of natural pictures, and stay. Every picture of a batch
starts from the same noise, so that none depends on how many others there are.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

# square root of the covariance of ImageNet's colours, by its largest column's norm (Lucid)
COLOURS = torch.tensor([[0.26, 0.09, 0.02], [0.27, 0.0, -0.05], [0.27, -0.09, 0.03]]) / 0.461952


class Canvas(Protocol):
    """What is optimised. `rows` are the images of the batch that are still at work."""

    def start(self) -> Tensor:
        """The first parameter, (n, …)."""

    def pixels(self, z: Tensor, rows: Tensor) -> Tensor:
        """Pixels (m, 3, h, w) of the parameter (m, …), differentiable."""


def noise(seed: int, *shape: int) -> Tensor:
    """Normal noise (1, …) of a seed, the same on every device."""
    return torch.randn(1, *shape, generator=torch.Generator().manual_seed(seed))


def frequencies(height: int, width: int) -> Tensor:
    """f = √(fy² + fx²) in cycles per pixel, (height, width // 2 + 1), as irfft2 has them."""
    return torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None])


def coloured(v: Tensor) -> Tensor:
    """Pixels in [0, 1] of decorrelated colours (n, 3, h, w)."""
    return _mixed(COLOURS.to(v), v).sigmoid()


def decorrelated(pixels: Tensor) -> Tensor:
    """The inverse of `coloured`; black and white, which it never reaches, are taken a little inside."""
    return _mixed(COLOURS.inverse().to(pixels), pixels.clamp(0.01, 0.99).logit())


def _mixed(matrix: Tensor, v: Tensor) -> Tensor:
    """M·v of every pixel."""
    return torch.bmm(matrix.expand(len(v), 3, 3), v.flatten(2)).reshape(v.shape)


@dataclass(frozen=True, eq=False)
class PixelCanvas:
    """The pixels themselves, in the units of a network's normalisation: z = (x − μ) / σ."""

    first: Tensor
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def start(self) -> Tensor:
        """z (n, 3, h, w) of the first pixels."""
        return (self.first - self._colour(self.mean)) / self._colour(self.std)

    def pixels(self, z: Tensor, rows: Tensor) -> Tensor:
        """Pixels (m, 3, h, w)."""
        return torch.addcmul(self._colour(self.mean), self._colour(self.std), z)

    def clip(self, z: Tensor) -> Tensor:
        """z whose pixels are within [0, 1]."""
        low, high = ((edge - self._colour(self.mean)) / self._colour(self.std) for edge in (0, 1))
        return torch.clamp(z, low, high)

    def _colour(self, values: tuple[float, float, float]) -> Tensor:
        return self.first.new_tensor(values)[:, None, None]


@dataclass(frozen=True, eq=False)
class FourierCanvas:
    """A spectrum with decorrelated colours: z (n, 3, h, w // 2 + 1, 2), real and imaginary parts, from N(0, 0.01²)."""

    like: Tensor  # (n, 3, h, w): size, precision and device of the pixels
    seed: int

    def start(self) -> Tensor:
        n, _, h, w = self.like.shape
        return (0.01 * noise(self.seed, 3, h, w // 2 + 1, 2)).to(self.like).repeat(n, 1, 1, 1, 1)

    def pixels(self, z: Tensor, rows: Tensor) -> Tensor:
        waves: Tensor = _Waves.apply(z, self._scale, self.like.shape[-2:])
        return coloured(waves)

    @functools.cached_property
    def _scale(self) -> Tensor:
        """s / 4, (h, w // 2 + 1)."""
        h, w = self.like.shape[-2:]
        scale: Tensor = (h * w) ** 0.5 / 4 / frequencies(h, w).clamp(min=1 / max(h, w))
        return scale.to(self.like)


class _Waves(torch.autograd.Function):
    """irfft2(s·z), (n, 3, h, w). On the way back a frequency counts twice where its mirror image is left out, and s and
    that are one factor."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, scale: Tensor, size: tuple[int, int]) -> Tensor:
        ctx.width = size[1]
        ctx.save_for_backward(scale)
        waves: Tensor = torch.fft.irfft2(torch.view_as_complex(z) * scale, s=size)
        return waves

    @staticmethod
    def backward(ctx: Any, r: Tensor) -> Any:
        (scale,) = ctx.saved_tensors
        factor = 2 * scale
        factor[:, 0] /= 2
        if ctx.width % 2 == 0:
            factor[:, -1] /= 2
        return torch.view_as_real(torch.fft.rfft2(r, norm="forward").mul_(factor)), None, None


@dataclass(frozen=True, eq=False)
class MacoCanvas:
    """The phases of a spectrum whose magnitudes are fixed: z (n, 3, h, w // 2 + 1), from N(0, 1)."""

    like: Tensor  # (n, 3, h, w), as above
    magnitude: Tensor  # (3, h, w // 2 + 1)
    seed: int

    def start(self) -> Tensor:
        n, _, h, w = self.like.shape
        return noise(self.seed, 3, h, w // 2 + 1).to(self.like).repeat(n, 1, 1, 1)

    def pixels(self, z: Tensor, rows: Tensor) -> Tensor:
        spectrum = torch.polar(self.magnitude.to(z).expand_as(z), _standard(z))
        return coloured(_standard(torch.fft.irfft2(spectrum, s=self.like.shape[-2:])))


def magnitudes(pictures: Tensor) -> Tensor:
    """r, (3, h, w // 2 + 1): the mean of |F| over pictures (n, 3, h, w), in decorrelated colours."""
    mean: Tensor = torch.fft.rfft2(decorrelated(pictures)).abs().mean(0)
    return mean


def _standard(x: Tensor) -> Tensor:
    """Mean 0 and deviation 1 over each image."""
    dims = tuple(range(1, x.dim()))
    standard: Tensor = (x - x.mean(dims, keepdim=True)) / x.std(dims, keepdim=True)
    return standard
