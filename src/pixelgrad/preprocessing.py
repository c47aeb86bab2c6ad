"""What a network's users do to a photograph before the network sees it.

Resize, crop, to [0, 1]: with torchvision's own functions on Pillow images, so that the result is exactly
what the weights were evaluated with. The subtraction of the mean and the division by the standard deviation
are the classifier's business and happen inside it, once.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

from .errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

INTERPOLATIONS = ("nearest", "nearest-exact", "bilinear", "bicubic", "box", "hamming", "lanczos")


@dataclass(frozen=True)
class Preprocessing:
    """`resize` is the shorter side before the crop of `size` (height, width), or, when it is a pair, the
    exact (height, width) that the picture is squeezed into; without a `size` pictures stay as they are."""

    size: tuple[int, int] | None = None
    resize: int | tuple[int, int] | None = None
    interpolation: str = "bilinear"
    antialias: bool = True

    def __post_init__(self) -> None:
        if self.interpolation not in INTERPOLATIONS:
            known = ", ".join(INTERPOLATIONS)
            raise ModelError(f"interpolation is one of {known}; got {self.interpolation!r}")

    def __call__(self, image: Image.Image) -> Tensor:
        """Pixels (1, 3, height, width) in [0, 1] of an RGB image."""
        from torchvision.transforms import functional as F  # takes a second, so only when it is wanted

        if self.resize is not None:
            side = list(self.resize) if isinstance(self.resize, tuple) else [self.resize]
            mode = F.InterpolationMode(self.interpolation)
            image = F.resize(image, side, mode, antialias=self.antialias)
        if self.size is not None:
            image = F.center_crop(image, list(self.size))
        pixels: Tensor = F.pil_to_tensor(image)
        return pixels.float().div(255)[None]

    def differentiable(self, pixels: Tensor) -> Tensor:
        """Nearly the same for pixels (n, 3, h, w) of photographs, with a gradient: Pillow rounds between its passes,
        and this does not."""
        from torchvision.transforms import functional as F

        if self.resize is not None:
            side = list(self.resize) if isinstance(self.resize, tuple) else [self.resize]
            mode = F.InterpolationMode(self.interpolation)
            pixels = F.resize(pixels, side, mode, antialias=self.antialias)
        return pixels if self.size is None else F.center_crop(pixels, list(self.size))


def sides(name: str, value: Any) -> int | tuple[int, int]:
    """A side or a pair (height, width), checked. Raises ModelError."""
    try:
        if isinstance(value, (tuple, list)):
            height, width = (operator.index(side) for side in value)
            if min(height, width) > 0:
                return height, width
        elif operator.index(value) > 0:
            return operator.index(value)
    except (TypeError, ValueError):
        pass
    raise ModelError(f"{name} is a side, or (height, width), in pixels; got {value!r}")


def per_colour(name: str, value: Any) -> tuple[float, float, float]:
    """A number, or one for each of three colours, checked. Raises ModelError."""
    try:
        values: Sequence[Any] = value if hasattr(value, "__len__") and len(value) else (value,) * 3
    except TypeError:  # a tensor of no dimension has a length that it does not tell
        values = (value,) * 3
    try:
        red, green, blue = (float(v) for v in values)
    except (TypeError, ValueError):
        raise ModelError(f"{name} is a number, or one for each of 3 colours; got {value!r}") from None
    if not all(map(math.isfinite, (red, green, blue))):
        raise ModelError(f"{name} is finite; got {value!r}")
    return red, green, blue
