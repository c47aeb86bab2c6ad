"""How far a method's map of a picture can be trusted: what is measured, beside what says nothing, and in words.

    deletion, insertion    areas (deletion.py), beside those of Sobel's edges and of a random order
    rank correlation       with the map of the same network with random weights in all its layers (forgetting.py): 1 for
                           edges, which do not depend on the weights, 0 for a random order
    SSIM                   with the same map, both as they are drawn: 1 for edges
    max-sensitivity        S under noise that nobody sees (noise.py), beside that of edges; 0 for what does not change

The sentence compares gaps, insertion − deletion; the gap of a random order is zero exactly. A gap counts as larger when
it is so by a twentieth of what blurring the whole picture takes from p_y; where that is less than 0.1, the curves say
little. A map shows the picture more than the network where the rank correlation is 0.5 or more, half of what edges
have. It hardly moves up to S = 0.3, and moves by as much as it is long from S = 1. These bounds are conventions; the
figures stand beside the words.
"""

from __future__ import annotations

import html
import math
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from .classifier import Classifier
from .figures import figures
from .forgetting import forgotten
from .gradient import Progress
from .methods import aimed, of_class, target_of
from .result import Result
from .technique import Technique, need_pixels

MARGIN = 0.05  # of what blurring takes: a larger gap
LITTLE = 0.1  # of probability: too little to be taken away
ALIKE = 0.5  # rank correlation of what is the picture more than the network
STEADY, UNSTEADY = 0.3, 1.0  # max-sensitivity


@dataclass(frozen=True)
class Row:
    """A figure of a map, of edges and of a random order, None where undefined; and what is good."""

    name: str
    map: float | None
    edges: float | None
    random: float | None
    good: str


@dataclass(frozen=True)
class Card:
    """What is measured of one map, and a sentence about it."""

    title: str
    rows: tuple[Row, ...]
    sentence: str

    def text(self) -> str:
        """The card for a terminal."""
        wide = max(25, len(self.title))
        head = f"{self.title:{wide}} {'map':>8} {'edges':>8} {'random':>8}"
        lines = [
            f"  {row.name:{wide - 2}} "
            + " ".join(f"{_figure(v):>8}" for v in (row.map, row.edges, row.random))
            + f"  {row.good}"
            for row in self.rows
        ]
        return "\n".join([head, *lines, self.sentence])

    def to_html(self) -> str:
        """The card as a piece of HTML."""
        head = "".join(f"<th>{html.escape(word)}</th>" for word in (self.title, "map", "edges", "random", ""))
        rows = "".join(
            f"<tr><th>{html.escape(row.name)}</th>"
            + "".join(f"<td>{_figure(v)}</td>" for v in (row.map, row.edges, row.random))
            + f"<td>{html.escape(row.good)}</td></tr>"
            for row in self.rows
        )
        return f'<table class="trust"><tr>{head}</tr>{rows}</table><p>{html.escape(self.sentence)}</p>'

    _repr_html_ = to_html

    def facts(self) -> dict[str, Any]:
        """The card as JSON has it."""
        return asdict(self)


def trust(
    made: Result | Technique,
    model: Classifier,
    pixels: Tensor | None = None,
    progress: Progress | None = None,
) -> tuple[Card, ...]:
    """A card for the map of each picture, by a method of `show` with its settings, or by the one that made a result.
    Raises SettingError where it does not show why a network says a class."""
    if isinstance(made, Result):
        pixels = made.inputs if pixels is None else pixels
        technique = of_class(made.technique)
    else:
        technique = of_class(made)
    pixels = need_pixels(technique, pixels)
    target, _ = aimed(model, pixels, target_of(technique))
    blank = forgotten(model, (pixels.shape[2], pixels.shape[3]), 0)
    found = figures([technique], model, blank, pixels, target, progress=progress)
    cards = []
    for i, y in enumerate(target):
        (own_out, edges_out, any_out), (own_in, edges_in, any_in) = found.areas[i].tolist()
        rank, ssim = (_known(v) for v in found.likeness[i, 0].tolist())
        moved, by_edges = (_known(v) for v in found.sensitivity[i].tolist())
        rows = (
            Row("deletion", own_out, edges_out, any_out, "lower is better"),
            Row("insertion", own_in, edges_in, any_in, "higher is better"),
            Row("rank correlation", rank, 1.0, 0.0, "with the map of random weights: 0 is of the network"),
            Row("SSIM", ssim, 1.0, None, "with the map of random weights: 0 is of the network"),
            Row("max-sensitivity", moved, by_edges, 0.0, "under noise that nobody sees: 0 stays"),
        )
        fall = float(found.ends[i, 0] - found.ends[i, 1])
        words = (
            faithful(own_in - own_out, edges_in - edges_out, fall),
            dependent(rank),
            steady(moved),
        )
        cards.append(Card(f"{technique.name}, {model.label_of(y)}", rows, f"This map {'; it '.join(words)}."))
    return tuple(cards)


def faithful(gap: float, edges: float, fall: float) -> str:
    """Whether the map finds what the class depends on, from insertion − deletion, of it and of edges, and what blurring
    the whole picture takes from the class."""
    if fall < LITTLE:
        return (
            "cannot be judged by what it finds, since blurring the whole picture takes little from the class"
        )
    margin = MARGIN * fall
    finds = "finds what the class depends on"
    if gap > max(edges, 0) + margin:
        return f"{finds} better than edges and a random order do"
    if gap > margin:
        return f"{finds} better than a random order does, but no better than edges do"
    return f"{finds} {'worse' if gap < -margin else 'no better'} than a random order does"


def dependent(correlation: float | None) -> str:
    """Whether the map depends on what the network has learned, from the rank correlation without."""
    if correlation is None:
        return "is constant, or becomes so, when the network forgets"
    if correlation >= ALIKE:
        return "stays much the same when the network forgets, so it shows the picture more than the network"
    return "changes when the network forgets"


def steady(sensitivity: float | None) -> str:
    """Whether the map moves under noise that nobody sees."""
    if sensitivity is None:
        return "is zero everywhere"
    if sensitivity <= STEADY:
        return "hardly moves under noise that nobody sees"
    share = f"{sensitivity:.0%} of its length under noise that nobody sees"
    return f"moves by {share}" + (", so its details say little" if sensitivity >= UNSTEADY else "")


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
