"""Curves as a picture, drawn by matplotlib without a screen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 100
COLOURS = ("#b8352a", "#8c8c94", "#3b6ea5")


class Curve(NamedTuple):
    """A line with its name; a value of None is left out."""

    label: str
    x: Sequence[float]
    y: Sequence[float | None]


def draw(
    curves: Sequence[Curve],
    title: str,
    x_label: str,
    size: tuple[int, int],
    y_range: tuple[float, float],
    ticks: Sequence[str] = (),
) -> Image.Image:
    """The curves in one frame of (width, height) pixels, with a legend. ticks: names of the places 0, 1, … on x."""
    figure = empty(size)
    axes = figure.add_subplot()
    marker = "o" if ticks else ""
    for curve, colour in zip(curves, COLOURS, strict=False):
        y = [math.nan if v is None else v for v in curve.y]
        axes.plot(curve.x, y, label=curve.label, color=colour, marker=marker, ms=4)
    ends = [x for curve in curves for x in curve.x]
    axes.set_xlim(min(ends) - 0.04 * (max(ends) - min(ends)), max(ends) + 0.04 * (max(ends) - min(ends)))
    axes.set_title(title, fontsize=9)
    axes.set_xlabel(x_label, fontsize=8)
    axes.set_ylim(*y_range)
    axes.tick_params(labelsize=7)
    if ticks:
        axes.set_xticks(range(len(ticks)), ticks, rotation=30, ha="right")
    axes.grid(color="#e4e4e8")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=7, frameon=False)
    return rendered(figure)


def empty(size: tuple[int, int]) -> Figure:
    """A figure of (width, height) pixels."""
    from matplotlib.figure import Figure  # slow, so only when something is drawn

    return Figure(figsize=(size[0] / DPI, size[1] / DPI), dpi=DPI, layout="constrained")


def rendered(figure: Figure) -> Image.Image:
    """A figure as a picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    drawn = bytes(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    return Image.frombytes("RGBA", canvas.get_width_height(), drawn).convert("RGB")
