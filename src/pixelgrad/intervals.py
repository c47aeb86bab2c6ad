"""Means over pictures with their confidence intervals, as numbers and as a picture.

    mean ± 1.96 · s/√n         s: standard deviation of a sample; 95 % by the normal law

Values that are not a number are left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from PIL import Image
from torch import Tensor

from .curves import COLOURS, empty, rendered

NORMAL = 1.959964  # quantile 0.975


class Interval(NamedTuple):
    """How many values there were, their mean and median, and where the mean lies with 95 % confidence; None where
    there are too few."""

    n: int
    mean: float | None
    median: float | None
    low: float | None
    high: float | None

    def __str__(self) -> str:
        if self.mean is None:
            return "undefined"
        return f"{self.mean:.3g}" + ("" if self.low is None else f" ({self.low:.3g} to {self.high:.3g})")


def interval(values: Tensor) -> Interval:
    """Of values (n,)."""
    known = values.detach().cpu().double()
    known = known[~known.isnan()]
    n = len(known)
    if n == 0:
        return Interval(0, None, None, None, None)
    mean, median = float(known.mean()), float(known.quantile(0.5))
    if n == 1:
        return Interval(1, mean, median, None, None)
    half = NORMAL * float(known.std()) / math.sqrt(n)
    return Interval(n, mean, median, mean - half, mean + half)


def draw(
    panels: Mapping[str, Mapping[str, Interval]], title: str, faint: tuple[str, ...] = ()
) -> Image.Image:
    """Panels side by side, in each a row for each name: the mean as a dot, the interval as a line; grey for the names
    in `faint`."""
    names = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    figure = empty((150 + 190 * len(panels), 110 + 26 * len(names)))
    figure.suptitle(title, fontsize=9)
    every = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (about, panel) in zip(every, panels.items(), strict=True):
        for y, name in enumerate(names):
            found = panel.get(name)
            if found is None or found.mean is None:
                continue
            colour = COLOURS[1] if name in faint else COLOURS[0]
            axes.plot([found.mean], [y], "o", color=colour, ms=5)
            if found.low is not None:
                axes.plot([found.low, found.high], [y, y], color=colour, lw=1.5)
        axes.set_title(about, fontsize=8)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.margins(x=0.12)
        axes.tick_params(labelsize=7, left=False)
        axes.grid(color="#e4e4e8")
        axes.spines[["top", "right", "left"]].set_visible(False)
    return rendered(figure)
