"""What a unit looks like: the patches of a data set that activate it most, each with what in it counts (Zeiler & Fergus
2014, figure 2), and pictures made from noise that raise or lower it (Olah 2017)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from . import images, pictures
from .ascent import ascend
from .blocks import pictures as read
from .classifier import PIXELS, Classifier
from .data import Data
from .errors import ModelError
from .gradient import Work
from .grids import maps
from .objectives.base import Objective, pick
from .presets import PRESETS
from .projection import Box, Unit, patch, pattern, project, scale_of
from .rules import BackwardRule
from .unrectified import measured

SIDE = 64  # of a patch


class Example(NamedTuple):
    """A picture that activates a unit: the picture (3, h, w), the unit, and what it sees of the picture."""

    pixels: Tensor
    unit: Unit
    box: Box


def examples(model: Classifier, data: Data, unit: Mapping[str, Any]) -> list[Example]:
    """The pictures that activate a unit most, read again; the unit as its table has it (unit_table.py)."""
    best = unit["best"]
    pixels = read(model, data, [b["id"] for b in best])
    places = [(unit["channel"], b["row"], b["column"]) for b in best]
    return [Example(x, at, tuple(b["box"])) for x, at, b in zip(pixels, places, best, strict=True)]


class Way(NamedTuple):
    """How a layer's units are led back to the pixels: the rule for rectifiers (None: the gradient), in words."""

    rule: Literal["deconvnet", "guided"] | None
    words: str


def way_down(model: Classifier, layer: str, example: Example) -> Way:
    """The deconvnet where it says something of the picture: without max-pooling on the way it would give the same
    pattern for each, and guided backpropagation takes its place (Springenberg 2015, §3.4)."""
    rule = BackwardRule("deconvnet")
    try:
        project(model, layer, [example.unit], example.pixels[None], rule)
    except ModelError:
        project(model, layer, [example.unit], example.pixels[None], None)  # says what else is wrong
        return Way(None, "gradient, as no rectifier is on the way")
    if rule.max_pools:
        return Way("deconvnet", "deconvnet")
    return Way("guided", "guided backpropagation, as no max-pooling is on the way")


def mosaics(
    model: Classifier, layer: str, shown: Sequence[Example], way: Way, side: int = SIDE
) -> tuple[Image.Image, Image.Image]:
    """The patches of a unit, and in the same places what in them counts."""
    pixels, chosen = torch.stack([e.pixels for e in shown]), [e.unit for e in shown]
    projections = project(model, layer, chosen, pixels, BackwardRule(way.rule) if way.rule else None)
    boxes = [e.box for e in shown]
    scale = scale_of(boxes, side)
    return (
        _mosaic([patch(e.pixels, e.box, side, scale) for e in shown]),
        _mosaic([pattern(p, box, side, scale) for p, box in zip(projections, boxes, strict=True)]),
    )


def _mosaic(cells: Sequence[Image.Image], gap: int = 2) -> Image.Image:
    columns, step = math.ceil(len(cells) ** 0.5), cells[0].width + gap
    rows = math.ceil(len(cells) / columns)
    whole = Image.new("RGB", (columns * step - gap, rows * step - gap), pictures.PAPER)
    for i, cell in enumerate(cells):
        whole.paste(cell, (i % columns * step, i // columns * step))
    return whole


@dataclass(frozen=True, repr=False)
class Raised(Objective):
    """± the mean over places of a channel, another one for each image."""

    layer: str
    channels: tuple[int, ...]
    signs: tuple[int, ...]

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({self.layer, PIXELS})

    def __call__(self, activations: Mapping[str, Tensor]) -> Tensor:
        size = activations[PIXELS].shape[2:]
        values = maps(activations[self.layer], (size[0], size[1]), self.layer)
        n = torch.arange(len(values), device=values.device)
        chosen = values[n, torch.tensor(self.channels, device=values.device)]
        return chosen.mean((1, 2)) * torch.tensor(self.signs, device=values.device)

    def select(self, rows: Any) -> Raised:
        return replace(self, channels=pick(self.channels, rows), signs=pick(self.signs, rows))


def from_noise(
    model: Classifier, layer: str, channels: Sequence[int], signs: Sequence[int]
) -> list[Image.Image]:
    """For each of some channels a picture that raises it (sign 1) or lowers it (−1); preset quick.

    What counts is the channel before its rectifier, if it has one (unrectified.py). Raises ModelError where a channel
    has no gradient at all.
    """
    size = PRESETS["quick"].size(model)
    preset = PRESETS["quick"].at(min(size))
    canvas, _ = preset.start(model, len(channels), size, 0, ())
    outcome = ascend(
        model,
        Raised(layer, tuple(channels), tuple(signs)),
        canvas,
        preset.follow(),
        preset.steps,
        transform=preset.transform(size),
        measure=measured,
        work=Work(),
    )
    return [images.to_image(x) for x in outcome.pixels]
