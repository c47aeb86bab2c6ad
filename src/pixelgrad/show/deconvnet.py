"""Deconvnet (Zeiler & Fergus 2014, §2.1, figure 2): what in a picture makes a unit of a layer answer.

    R_l = a at one unit of Φ_l(x), 0 elsewhere;  R_0 by going back down        shape (n, k, 3, h, w), signed

a is the unit's activation. On the way down a rectifier gives max(R, 0), a convolution its transposed filters without
bias, max-pooling the value back to where it came from (overlapping windows add), batch norm the factor γ/√(σ²+ε), a
branch is added, local response normalisation is the identity. All that is the gradient of ½a² under another rule for
rectifiers (rules.py). R_0 is per full range of a pixel; it is zero outside the unit's receptive field. Of the picture
only the places of max-pooling and a go in: without max-pooling R_0 is the unit's own pattern (Springenberg 2015, §3.4).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from .. import images, pictures
from ..classifier import Classifier
from ..errors import ModelError, NotFound, SettingError
from ..gradient import Step, Work, activations_of
from ..grids import spatial
from ..projection import Unit, beside, box_of, patch, pattern, project, scale_of
from ..receptive import Field, field_of
from ..registry import setting, technique
from ..result import Result
from ..rules import BackwardRule
from ..stages import stages
from ..technique import Technique, need_pixels

PHOTO = 448  # about the side of the photograph in the picture
FRAME, EDGE = (255, 214, 0), (30, 30, 34)


@technique
class Deconvnet(Technique):
    """What in the picture makes a channel of a layer answer: its strongest answer, led back to the pixels."""

    layer: str | None = setting(None, help="layer, as `pixelgrad layers` names it; default: a middle stage")
    channel: int | None = setting(None, lo=0, help="index of the channel; default: the strongest ones")
    position: str | None = setting(None, help="ROW,COLUMN of the unit in its channel; default: the highest")
    top: int = setting(
        9, lo=1, help="how many channels are shown, where none is given: the strongest", role="count"
    )

    def apply(self, model: Classifier, pixels: Tensor | None, work: Work) -> Result:
        """Projections (n, k, 3, h, w), one gradient for each."""
        pixels = need_pixels(self, pixels)
        model.activations(pixels, ())  # says what is wrong with them
        if not len(pixels):
            raise ModelError("no images: pixels are (0, 3, height, width)")
        found = stages(model) if self.layer is None else (model.layer(self.layer),)
        layer = found[len(found) // 2]
        size = (pixels.shape[2], pixels.shape[3])
        maps = spatial(activations_of(model, pixels, [layer])[layer], size, layer)
        units, values = self._units(maps, layer)
        n, k = values.shape
        rule = BackwardRule("deconvnet")
        each = [unit for row in units for unit in row]
        projections = project(model, layer, each, pixels.repeat_interleave(k, 0), rule, work.progress)
        field = field_of(model, layer, _still(work, n * k))
        facts = [
            [_fact(u, float(v), field, size) for u, v in zip(row, some, strict=True)]
            for row, some in zip(units, values, strict=True)
        ]
        met = {"layer": layer, **rule.report(), "max_pools": rule.max_pools}
        return Result(
            technique=self,
            model=model.name,
            pixels=projections.reshape(n, k, *pixels.shape[1:]),
            score=values[:, 0].clone(),
            inputs=pixels,
            titles=tuple(_words(layer, maps, some, field, rule) for some in facts),
            report={"gradients": k, **met, "images": facts},
            draw=self.draw,
        )

    def _units(self, maps: Tensor, layer: str) -> tuple[list[list[Unit]], Tensor]:
        """Of each picture's maps (c, h, w) the units to be shown as (channel, row, column), the strongest first, and
        their activations (n, k)."""
        channels, width = maps.shape[1], maps.shape[3]
        if self.channel is not None and self.channel >= channels:
            raise NotFound("channel", self.channel, (), f"{layer} has channels 0 to {channels - 1}")
        flat = maps.flatten(2)
        if self.position is None:
            where = flat.argmax(2)
        else:
            i, j = _at(self.position, (maps.shape[2], width), layer)
            where = torch.full_like(flat[..., 0], i * width + j, dtype=torch.long)
        values = flat.gather(2, where[..., None])[..., 0]
        if self.channel is None:
            chosen = values.sort(dim=1, descending=True, stable=True).indices[:, : self.top]
        else:
            chosen = torch.full_like(where[:, :1], self.channel)
        places = where.gather(1, chosen)
        both = zip(chosen.tolist(), places.tolist(), strict=True)
        units = [[(c, at // width, at % width) for c, at in zip(*row, strict=True)] for row in both]
        return units, values.gather(1, chosen)

    def draw(self, result: Result) -> Image.Image:
        """For each picture a block: the picture, with frames around what the units see; beside it the projections."""
        rows = math.ceil(result.pixels.shape[1] ** 0.5)  # which fill the height of the photograph
        blocks, side = [], min(PHOTO // 2, max(96, PHOTO // rows - pictures.TILE_HEAD - pictures.TILE_GAP))
        inputs = need_pixels(self, result.inputs)
        for x, some, facts, title in zip(
            inputs, result.pixels, result.report["images"], result.titles, strict=True
        ):
            boxes = [fact["box"] for fact in facts]
            scale = scale_of(boxes, side)
            pairs = [
                beside(pattern(p, box, side, scale), patch(x, box, side, scale))
                for p, box in zip(some, boxes, strict=True)
            ]
            labels = [f"{i}: {_name(fact)}" for i, fact in enumerate(facts, 1)]
            blocks.append(pictures.sheet([[_framed(x, boxes), pictures.tiles(pairs, labels)]], [title]))
        return pictures.stack(blocks)


def _still(work: Work, count: int) -> Callable[[int, int], None]:
    """Tells who watches, while the receptive field is measured, that the projections are done."""
    return lambda *_: None if work.progress is None else work.progress(Step(count, count))


def _fact(unit: Unit, value: float, field: Field | None, size: tuple[int, int]) -> dict[str, Any]:
    """What is said of a unit."""
    channel, *position = unit
    return {"channel": channel, "value": value, "position": position, "box": list(box_of(field, unit, size))}


def _name(fact: dict[str, Any]) -> str:
    return "channel {channel}, {value:.4g} at {position[0]},{position[1]}".format(**fact)


def _words(layer: str, maps: Tensor, facts: list[Any], field: Field | None, rule: BackwardRule) -> str:
    """The title of a picture."""
    which = f"the {len(facts)} strongest of {maps.shape[1]} channels" if len(facts) > 1 else _name(facts[0])
    sees = f"{field.height}×{field.width} pixels" if field else "the whole picture"
    words = f"{layer} {'×'.join(map(str, maps.shape[1:]))}: {which}; a unit sees {sees}"
    own = "; no max-pooling on the way, so each pattern is the unit's own, whatever the picture"
    return words if rule.max_pools or rule.others else words + own


def _at(text: str, box: tuple[int, int], layer: str) -> tuple[int, int]:
    """Row and column as they are typed."""
    if not (match := re.fullmatch(r"\s*(\d{1,9})\s*,\s*(\d{1,9})\s*", text)):
        raise SettingError(f"position is ROW,COLUMN, like 3,5; got {text!r:.40}")
    i, j = int(match[1]), int(match[2])
    if i >= box[0] or j >= box[1]:
        rows, columns = box[0] - 1, box[1] - 1
        raise SettingError(f"position in {layer} is from 0,0 to {rows},{columns} here; got {i},{j}")
    return i, j


def _framed(x: Tensor, boxes: list[list[int]]) -> Image.Image:
    """The picture with a numbered frame around each box, but for those that hold more than half of it."""
    photo = pictures.enlarged(images.to_image(x), PHOTO)
    factor, pen = photo.width // x.shape[2], ImageDraw.Draw(photo)
    for number, (top, left, bottom, right) in enumerate(boxes, 1):
        if 2 * (bottom - top) * (right - left) > x[0].numel():
            continue
        corners = factor * left, factor * top, factor * right - 1, factor * bottom - 1
        pen.rectangle(corners, outline=EDGE, width=3)
        pen.rectangle([c + d for c, d in zip(corners, (1, 1, -1, -1), strict=True)], outline=FRAME)
        place, font = (corners[0] + 5, corners[1] + 3), pictures.font(12)
        pen.text(place, str(number), FRAME, font, stroke_width=2, stroke_fill=EDGE)
    return photo
