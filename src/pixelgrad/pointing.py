"""The pointing game (Zhang 2016, §4.1): does the highest pixel of a map lie on the object? And how boxes overlap.

A box is (x0, y0, x1, y1) in pixels, both corners inside, as in TinyImageNet.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

Box = tuple[int, int, int, int]


def highest(maps: Tensor) -> list[tuple[int, int]]:
    """The place (x, y) of the highest pixel of each map (n, h, w); of equal ones the first, row by row."""
    width = maps.shape[2]
    places = maps.flatten(1).sort(dim=1, descending=True, stable=True).indices[:, 0].tolist()
    return [(place % width, place // width) for place in places]


def centres(maps: Tensor) -> list[tuple[int, int]]:
    """The place (x, y) in the middle of each map (n, h, w): what a map has to beat."""
    return [(maps.shape[2] // 2, maps.shape[1] // 2)] * len(maps)


def hits(places: Sequence[tuple[int, int]], boxes: Sequence[Box]) -> list[bool]:
    """Whether each place (x, y) lies in its box."""
    return [x0 <= x <= x1 and y0 <= y <= y1 for (x, y), (x0, y0, x1, y1) in zip(places, boxes, strict=True)]


def scaled(box: Box, factor: float) -> Box:
    """The box in a picture enlarged by that factor: the pixels that lie inside it with their centres."""
    x0, y0, x1, y1 = box
    return (
        round(x0 * factor),
        round(y0 * factor),
        round((x1 + 1) * factor) - 1,
        round((y1 + 1) * factor) - 1,
    )


def area(box: Box) -> int:
    """The pixels of a box; none where a corner is past the other."""
    x0, y0, x1, y1 = box
    return max(0, x1 - x0 + 1) * max(0, y1 - y0 + 1)


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, 0 to 1 (Everingham 2010); 0 where both are empty."""
    both = area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))
    either = area(a) + area(b) - both
    return both / either if either else 0.0
