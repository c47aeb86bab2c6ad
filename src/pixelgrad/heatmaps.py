"""Maps of pictures, drawn: in colours or around grey, beside the photograph or over it, in their own scale or one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from PIL import Image
from torch import Tensor

from . import images, pictures
from .registry import setting, settings


@dataclass(frozen=True)
class View:
    """How the maps of pictures are drawn, whatever the technique: declared once, for command line and Python."""

    overlay: float | None = setting(
        None,
        lo=0,
        hi=1,
        help="opacity of each map, laid over its photograph in greys; default: beside it alone",
    )
    scale: Literal["own", "common"] = setting("own", help="of colours: one for each map, or one for all")

    def __post_init__(self) -> None:
        for s in settings(type(self)):
            s.check(getattr(self, s.name))

    def values(self) -> dict[str, Any]:
        """What is not the default, as JSON has it."""
        return {s.name: v for s in settings(type(self)) if (v := getattr(self, s.name)) != s.default}

    def over(self, photo: Image.Image, drawn: Image.Image) -> Image.Image:
        """A map as it is, or over its photograph."""
        return drawn if self.overlay is None else pictures.overlay(photo, drawn, self.overlay)

    def highest(self, values: Tensor, among: Tensor) -> float:
        """The value of the last colour, for a map among those of the other pictures."""
        return pictures.scale(among if self.scale == "common" else values)[1]


OWN = View()


def constant(values: Tensor) -> str:
    """What is to be said of a map that is the same everywhere."""
    lo, hi = (float(v) for v in values.aminmax())
    return "" if lo < hi else f"{lo:.3g} everywhere" if lo else "zero everywhere"


def heat(values: Tensor) -> Image.Image:
    """A map (h, w) in colours with its scale under it; with negative values, around zero."""
    return heats(values[None])[0]


def heats(maps: Tensor, photos: Tensor | None = None, view: View = OWN) -> list[Image.Image]:
    """Maps (n, h, w) in colours, each with its scale under it; with negative values, around zero."""
    drawn = []
    for i, values in enumerate(maps):
        hi = view.highest(values, maps)
        signed = bool((maps if view.scale == "common" else values).amin() < 0)
        name = pictures.SIGNED if signed else pictures.MAP
        whole = pictures.enlarged(pictures.colour(values, -hi if signed else 0.0, hi, name))
        if photos is not None:
            whole = view.over(pictures.enlarged(images.to_image(photos[i])), whole)
        drawn.append(_scaled(whole, values, hi, name))
    return drawn


def difference(values: Tensor, hi: float) -> Image.Image:
    """What a map (h, w) lost and gained, from −hi to hi."""
    whole = pictures.enlarged(pictures.colour(values, -hi, hi, pictures.SIGNED))
    return _scaled(whole, values, hi, pictures.SIGNED)


def greys(maps: Tensor, photos: Tensor, view: View = OWN) -> list[Image.Image]:
    """Signed maps (n, 3, h, w) of the colours around mid grey, each with its scale under it."""
    drawn = []
    for x, values in zip(photos, maps, strict=True):
        hi = view.highest(values, maps)
        whole = view.over(
            pictures.enlarged(images.to_image(x)), pictures.enlarged(pictures.around_grey(values, hi))
        )
        drawn.append(_scaled(whole, values, hi, pictures.GREY))
    return drawn


def beside(photos: Tensor | None, drawn: Sequence[Image.Image], titles: Sequence[str] = ()) -> Image.Image:
    """Photographs above, what was drawn of each below; one photograph: side by side."""
    above = [[pictures.enlarged(images.to_image(x)) for x in photos]] if photos is not None else []
    if len(drawn) == 1 and above:
        return pictures.sheet([[above[0][0], drawn[0]]], titles)
    return pictures.sheet([*above, drawn], titles)


def _scaled(drawn: Image.Image, values: Tensor, hi: float, name: str) -> Image.Image:
    """A map with its scale under it, or with words where it is the same everywhere."""
    return pictures.stack([drawn, pictures.colour_bar(drawn.width, hi, name, constant(values))], 4)
