"""What a network's users do to a photograph before the network sees it.

Resize, crop, to [0, 1]: with torchvision's own functions on Pillow images, so that the result is exactly
what the weights were evaluated with. The subtraction of the mean and the division by the standard deviation
are the classifier's business and happen inside it, once.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F


@dataclass(frozen=True)
class Preprocessing:
    """`resize` is the shorter side before the crop of `size` (height, width), or, when it is a pair, the
    exact (height, width) that the picture is squeezed into; without a `size` pictures stay as they are."""

    size: tuple[int, int] | None = None
    resize: int | tuple[int, int] | None = None
    interpolation: str = "bilinear"
    antialias: bool = True

    def __call__(self, image: Image.Image) -> Tensor:
        """Pixels (1, 3, height, width) in [0, 1] of an RGB image."""
        if self.resize is not None:
            side = list(self.resize) if isinstance(self.resize, tuple) else [self.resize]
            mode = InterpolationMode(self.interpolation)
            image = F.resize(image, side, mode, antialias=self.antialias)
        if self.size is not None:
            image = F.center_crop(image, list(self.size))
        pixels: Tensor = F.pil_to_tensor(image)
        return pixels.to(torch.float32).div(255)[None]
