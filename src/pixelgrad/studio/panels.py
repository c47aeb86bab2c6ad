"""A result as pictures without labels, one beside the other, and the values behind them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import Image
from torch import Tensor

from .. import images, pictures
from ..registry import techniques
from ..result import Result
from .describe import SHOWN


@dataclass(frozen=True)
class Panel:
    """name: what it is to the result. values (h, w): those behind it, which the colours of a map stand for, from lo to
    hi. channel: of which it is."""

    name: str
    title: str
    kind: str  # image; map: values from 0 on; signed: values around 0
    image: Image.Image
    values: Tensor | None = None
    lo: float = 0.0
    hi: float = 1.0
    channel: int | None = None


def panels(result: Result, names: Sequence[str]) -> list[Panel]:
    """Of each picture: the original, what was made of it, and what more is shown. names: of the pictures."""
    found, many = [], len(result.pixels) > 1
    looks = result.technique.name.startswith("show/")
    for i in range(len(result.titles) or len(result.pixels)):
        before = f"{names[i]}: " if many and i < len(names) else ""
        title = result.titles[i] if i < len(result.titles) else ""
        if result.inputs is not None and i < len(result.inputs):
            found.append(_picture("original", names[i] if i < len(names) else "", result.inputs[i]))
        if result.technique.name.startswith("measure/"):
            continue
        if looks and result.inputs is None:  # of the network itself; the sheet has it
            continue
        values = result.pixels[i]
        if values.dim() == 2:
            found.append(map_of(values, f"{before}{title}"))
        elif values.dim() == 3 and looks and len(values) == 3:
            found.append(map_of(values.sum(0), f"{before}{title}"))
        elif values.dim() == 3 and looks:
            found += [map_of(values[c], f"{before}channel {c}", c) for c in _highest(values, _count(result))]
        elif values.dim() == 3:
            found.append(_picture("result", f"{before}{title}", values))
        else:
            found += _several(result, i, before, looks)
        for more in result.shown:
            found.append(_picture("difference", f"{before}{title}", more[i]))
    if result.draw is not None:
        found.append(Panel("sheet", " · ".join(result.titles), "image", result.picture()))
    return found


def map_of(values: Tensor, title: str, channel: int | None = None) -> Panel:
    """A map (h, w) in the colours of its values, as the library's own pictures have them."""
    lo, hi = pictures.scale(values)
    kind, colours = ("signed", pictures.SIGNED) if lo < 0 else ("map", pictures.MAP)
    return Panel("map", title, kind, pictures.colour(values, lo, hi, colours), values, lo, hi, channel)


def _picture(name: str, title: str, pixels: Tensor) -> Panel:
    return Panel(name, title, "image", images.to_image(pixels))


def _several(result: Result, i: int, before: str, looks: bool) -> Iterator[Panel]:
    """Several images (k, 3, h, w) of one picture: of units, signed, or as layers remember it."""
    values = result.pixels[i]
    rows = [row for row in result.table if row.get("image") == i]
    facts = result.report.get("images", [])
    facts = facts[i] if i < len(facts) and isinstance(facts[i], list) else []
    for k, one in enumerate(values[:SHOWN]):
        title, channel = f"{k + 1}", None
        if k < len(rows) and "layer" in rows[k]:
            title = str(rows[k]["layer"])
        elif k < len(facts) and "channel" in facts[k]:
            channel = int(facts[k]["channel"])
            title = f"channel {channel}"
        if looks:  # in colours around grey, as published; the values are those of the colours together
            lo, hi = pictures.scale(total := one.sum(0))
            yield Panel("map", before + title, "image", pictures.around_grey(one), total, lo, hi, channel)
        else:
            yield _picture("result", before + title, one)


def _count(result: Result) -> int:
    """How many channels were asked for."""
    settings = techniques()[result.technique.name].settings()
    counts: list[int] = [
        result.technique.values().get(s.name, s.default) for s in settings if s.role == "count"
    ]
    return min([SHOWN, *counts])


def _highest(maps: Tensor, most: int) -> list[int]:
    """The channels of maps (c, h, w) that are shown, the one with the highest value first."""
    order: list[int] = maps.amax((1, 2)).sort(descending=True, stable=True).indices.tolist()
    return order[:most]
