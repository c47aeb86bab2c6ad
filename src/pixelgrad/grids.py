"""Where a layer's output lies on the picture, whatever its form.

(n, c, h, w)    channels first: convolutions
(n, h, w, c)    channels last (Swin): told apart by which two sides have the picture's proportions
(n, p + h·w, c) tokens: p of them, such as the class token, stand before those of the grid (ViT)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from .errors import SettingError

BEFORE = 16  # more tokens than that do not stand before a grid


def spatial(values: Tensor, size: tuple[int, int], layer: str = "") -> Tensor:
    """The activations (n, ...) of pictures of `size` (height, width) as (n, c, h, w).

    Raises SettingError, with the name of the layer, where the output has no such form.
    """
    shape = tuple(values.shape[1:])
    box = grid(shape, size)
    if box is None:
        which = f"layer {layer!r}" if layer else "this layer"
        raise SettingError(
            f"{which} gives {shape} per image; choose one with an image-shaped output: "
            "`pixelgrad layers` lists them"
        )
    if len(shape) == 2:
        tokens = values[:, shape[0] - math.prod(box) :]
        return tokens.transpose(1, 2).reshape(len(values), shape[1], *box)
    return values.permute(0, 3, 1, 2) if channels_last(shape, size) else values


def maps(values: Tensor, size: tuple[int, int], layer: str = "") -> Tensor:
    """The same where an output (n, c) without places has one for all, (n, c, 1, 1)."""
    return values[:, :, None, None] if values.dim() == 2 else spatial(values, size, layer)


def grid(shape: Sequence[int], size: tuple[int, int]) -> tuple[int, int] | None:
    """Height and width of a layer's output, from its shape without the batch; None: it is not image-shaped."""
    if len(shape) == 3:
        box = (shape[0], shape[1]) if channels_last(shape, size) else (shape[1], shape[2])
        return box if _off(box, size) < math.inf else None
    return _tokens(shape[0], size) if len(shape) == 2 else None


def channels_last(shape: Sequence[int], size: tuple[int, int]) -> bool:
    """Whether an output of three sides, for pictures of this size, is (h, w, c) rather than (c, h, w)."""
    return _off((shape[0], shape[1]), size) < _off((shape[1], shape[2]), size)


def _off(box: tuple[int, int], size: tuple[int, int]) -> float:
    """How far the proportions are from the picture's; infinite: too far for any rounding and missing borders."""
    if not all(box):
        return math.inf
    ratio = abs(math.log(box[0] * size[1] / (box[1] * size[0])))
    # unpadded convolutions take as much from both sides, which matters where one of them is short
    share = max(box[0] / size[0], box[1] / size[1])
    missing = max(share * size[0] - box[0], share * size[1] - box[1])
    return ratio if ratio < math.log(2.5) or missing <= 8 else math.inf  # strides may differ


def _tokens(count: int, size: tuple[int, int]) -> tuple[int, int] | None:
    """The grid with the fewest tokens before it: exactly of the picture's proportions, else but for rounding down."""
    common = math.gcd(*size)
    exact = (size[0] // common, size[1] // common)
    for before in range(min(BEFORE + 1, count)):
        times = math.isqrt((count - before) // math.prod(exact))
        if times and times**2 * math.prod(exact) == count - before:
            return exact[0] * times, exact[1] * times
    cells = [(size[0] // side, size[1] // side) for side in range(1, min(size) + 1)]
    for before in range(min(BEFORE + 1, count)):
        for box in cells:
            if math.prod(box) == count - before:
                return box
    return None
