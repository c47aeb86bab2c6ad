"""A picture as it will be saved: what the network is shown of it is bit for bit what it will be shown of the file,
while gradients pass. The value is the real one, the gradient that of a differentiable likeness.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from . import images, jpeg
from .canvases import Canvas
from .classifier import Classifier
from .transforms import exactly

ROBUST = 75  # the JPEG quality that a robust picture survives


@dataclass(frozen=True, eq=False)
class EightBits:
    """Another canvas, seen rounded to 8 bits, while what moves is not."""

    canvas: Canvas

    def start(self) -> Tensor:
        return self.canvas.start()

    def pixels(self, z: Tensor, rows: Tensor) -> Tensor:
        x = self.canvas.pixels(z, rows)
        return exactly(eight_bits(x), x)


@dataclass(frozen=True)
class View:
    """What the network is shown of a picture: through the real files, with the gradient of their likeness."""

    model: Classifier
    own_size: bool
    robust: bool

    def prepared(self, pixels: Tensor) -> Tensor:
        """As the model's users prepare a photograph; a picture of the model's own size goes in as it is."""
        if not self.own_size:
            return pixels
        prepare = self.model.preprocessing
        return torch.cat([prepare(images.to_image(x)) for x in pixels]).to(pixels)

    def seen(self, pixels: Tensor) -> Tensor:
        """The same with a gradient, and through a JPEG file where that is to be survived."""
        if self.robust:
            real = jpeg.saved(pixels.detach(), ROBUST)
            pixels = exactly(real, jpeg.approximate(pixels, ROBUST))
        if self.own_size:
            prepare = self.model.preprocessing
            pixels = exactly(self.prepared(pixels.detach()), prepare.differentiable(pixels))
        return pixels


def eight_bits(pixels: Tensor) -> Tensor:
    """Rounded to what a picture file holds."""
    return pixels.detach().clamp(0, 1).mul_(255).round_().div_(255)
