"""Activations (Zeiler & Fergus 2014, §3; Yosinski 2015, §2): what the channels of a layer answer to a picture.

    Φ_l(x)        shape (n, channels, h, w), as the layer gives it; a transformer's tokens lie on their grid

The score of a picture is its highest activation. The forward pass stops at the layer.
"""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image
from torch import Tensor

from .. import images, pictures
from ..classifier import Classifier
from ..errors import ModelError
from ..gradient import Step, Work, cuts
from ..grids import spatial
from ..registry import setting, technique
from ..result import Result
from ..stages import stages
from ..technique import Technique, need_pixels

SIDE = 96  # about that of a map in the picture


@technique
class Activations(Technique):
    """What each channel of a layer answers to a picture: bright (or red) where it finds what it looks for."""

    layer: str | None = setting(
        None, help="layer, as `pixelgrad layers` lists them; default: the first stage"
    )
    channels: int = setting(
        64, lo=1, help="how many are shown: those with the highest activation", role="count"
    )

    def apply(self, model: Classifier, pixels: Tensor | None, work: Work) -> Result:
        """Maps (n, channels, h, w) of all channels from one forward pass."""
        pixels = need_pixels(self, pixels)
        layer = stages(model)[0] if self.layer is None else model.layer(self.layer)
        maps = _maps(model, layer, pixels, work)
        facts = [_facts(x) for x in maps]
        shape = "×".join(map(str, maps.shape[1:]))
        return Result(
            technique=self,
            model=model.name,
            pixels=maps,
            score=maps.amax((1, 2, 3)),
            inputs=pixels,
            titles=tuple(f"{layer} {shape}: {_words(fact, maps.shape[1], self.channels)}" for fact in facts),
            report={"gradients": 0, "layer": layer, "shape": list(maps.shape[1:]), "images": facts},
            draw=self.draw,
        )

    def draw(self, result: Result) -> Image.Image:
        """For each picture a block: the picture with the scale under it, beside it the maps of its channels."""
        blocks = []
        inputs = need_pixels(self, result.inputs)
        for x, maps, title in zip(inputs, result.pixels, result.titles, strict=True):
            shown = strongest(maps, self.channels)
            lo, hi = pictures.scale(maps[shown])
            name = pictures.SIGNED if lo < 0 else pictures.MAP
            drawn = [pictures.enlarged(pictures.colour(maps[c], lo, hi, name), SIDE) for c in shown]
            photo = pictures.enlarged(images.to_image(x))
            legend = pictures.stack([photo, pictures.colour_bar(photo.width, hi, name)], 4)
            blocks.append(pictures.sheet([[legend, pictures.tiles(drawn, shown)]], [title]))
        return pictures.stack(blocks)


def _maps(model: Classifier, layer: str, pixels: Tensor, work: Work) -> Tensor:
    """The layer's output for each picture."""
    parts: list[Tensor] = []

    @torch.no_grad()
    def read(rows: slice) -> None:
        values = model.activations(pixels[rows], (layer,))[layer]
        parts.append(spatial(values, (pixels.shape[2], pixels.shape[3]), layer))

    for rows in cuts(pixels, None, read):
        if work.progress is not None:
            work.progress(Step(rows.stop, len(pixels)))
    if not parts:
        raise ModelError("no images: pixels are (0, 3, height, width)")
    return torch.cat(parts)


def _facts(maps: Tensor) -> dict[str, Any]:
    """Of the maps (c, h, w) of one picture: how many channels are active anywhere, and the strongest."""
    active = int((maps != 0).flatten(1).any(1).sum())
    return {
        "active": active,
        "strongest": int(maps.amax((1, 2)).argmax()) if active else None,
        "highest": float(maps.max()),
    }


def _words(fact: dict[str, Any], channels: int, shown: int) -> str:
    """What the title says of a picture."""
    if not fact["active"]:
        return "no channel is active on this picture"
    which = f"the {shown} strongest of {channels}; " if shown < channels else ""
    highest = f"highest {fact['highest']:.3g} in channel {fact['strongest']}"
    return f"{which}{fact['active']} channels active, {highest}"


def strongest(maps: Tensor, channels: int) -> list[int]:
    """The channels of maps (c, h, w) with the highest maximum, that first; all in their order if there are no more."""
    if len(maps) <= channels:
        return list(range(len(maps)))
    order: list[int] = maps.amax((1, 2)).sort(descending=True, stable=True).indices.tolist()
    return order[:channels]
