"""One unit's activation led back to the pixels (Zeiler & Fergus 2014, §2.1), and how it is shown: beside its patch.

½a² of a unit of a layer; its gradient by the deconvnet rule is what the deconvnet gives, starting from a
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from . import images, pictures
from .classifier import PIXELS, Classifier
from .gradient import Progress, evaluate
from .grids import maps
from .objectives.base import Objective, pick
from .receptive import Field
from .rules import BackwardRule

Unit = tuple[int, int, int]  # channel, row, column
Box = tuple[int, int, int, int]  # rows [top, bottom), columns [left, right), as (top, left, bottom, right)


@dataclass(frozen=True, repr=False)
class OneUnit(Objective):
    """½a² of one unit of a layer, (channel, row, column) for each image: the gradient that starts from a itself."""

    layer: str
    units: tuple[Unit, ...]

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({self.layer, PIXELS})

    def __call__(self, activations: Any) -> Tensor:
        size = activations[PIXELS].shape[2:]
        values = maps(activations[self.layer], (size[0], size[1]), self.layer)
        channels, rows, columns = torch.tensor(self.units, device=values.device).unbind(1)
        a = values[torch.arange(len(values), device=values.device), channels, rows, columns]
        return a * a / 2

    def select(self, rows: Any) -> OneUnit:
        return replace(self, units=pick(self.units, rows))


def project(
    model: Classifier,
    layer: str,
    units: Sequence[Unit],
    pixels: Tensor,
    rule: BackwardRule | None,
    progress: Progress | None = None,
) -> Tensor:
    """One unit for each of the pictures (n, 3, h, w), led back by the rule, or by the gradient."""
    return evaluate(model, OneUnit(layer, tuple(units)), pixels, progress=progress, rule=rule).gradient


def box_of(field: Field | None, unit: Unit, size: tuple[int, int]) -> Box:
    """What a unit sees of a picture of `size`; the whole picture where that is not known, or where it sees nothing but
    padding."""
    top, left, bottom, right = field.box(unit[1], unit[2], size) if field else (0, 0, 0, 0)
    return (top, left, bottom, right) if top < bottom and left < right else (0, 0, *size)


def scale_of(boxes: Sequence[Box], side: int) -> float:
    """How much boxes are enlarged so that the longest side of all is `side`."""
    return side / max(max(b[2] - b[0], b[3] - b[1]) for b in boxes)


def patch(x: Tensor, box: Box, side: int, scale: float) -> Image.Image:
    """What a unit sees of a picture, in a square of that side; what lies outside the picture is left white."""
    return _square(images.to_image(_cut(x, box)), box, side, scale)


def pattern(projection: Tensor, box: Box, side: int, scale: float) -> Image.Image:
    """A projection around mid grey, cut to the same."""
    return _square(pictures.around_grey(_cut(projection, box)), box, side, scale)


def beside(left: Image.Image, right: Image.Image, gap: int = 2) -> Image.Image:
    """Two pictures of one height."""
    whole = Image.new("RGB", (left.width + gap + right.width, left.height), pictures.PAPER)
    whole.paste(left, (0, 0))
    whole.paste(right, (left.width + gap, 0))
    return whole


def _cut(x: Tensor, box: Box) -> Tensor:
    top, left, bottom, right = box
    return x[:, top:bottom, left:right]


def _square(picture: Image.Image, box: Box, side: int, scale: float) -> Image.Image:
    width, height = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    fine = Image.Resampling.NEAREST if scale > 4 else Image.Resampling.BICUBIC
    whole = Image.new("RGB", (side, side), pictures.PAPER)
    # one that is shorter than others is cut off at the edge of the picture that it begins or ends at
    corner = (side - width if box[1] == 0 else 0, side - height if box[0] == 0 else 0)
    whole.paste(picture.resize((width, height), fine), corner)
    return whole
