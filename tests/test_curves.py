"""Curves as a picture."""

from __future__ import annotations

import numpy as np

from pixelgrad.curves import COLOURS, Curve, draw


def drawn(y, **about):
    picture = draw([Curve("a", [0, 1, 2], y)], "title", "x", (340, 240), (0, 1), **about)
    assert picture.size == (340, 240)
    red = [int(COLOURS[0][i : i + 2], 16) for i in (1, 3, 5)]
    return (np.abs(np.asarray(picture).astype(int) - red).sum(2) < 9).sum(0)


def test_a_higher_value_is_drawn_further_up():
    low, high = (draw([Curve("a", [0, 1], [y, y])], "t", "x", (300, 200), (0, 1)) for y in (0.2, 0.6))
    rows = [np.asarray(p).astype(int) for p in (low, high)]
    places = [np.argmax((np.abs(r - [0xB8, 0x35, 0x2A]).sum(2) < 9).sum(1)) for r in rows]
    assert places[1] < places[0]


def test_what_is_undefined_is_left_out():
    whole, part, none = (
        drawn([0.5, 0.5, 0.5]),
        drawn([None, 0.5, 0.5]),
        drawn([None] * 3, ticks=("a", "b", "c")),
    )
    assert (whole > 0).sum() > (part > 0).sum() > (none > 0).sum()
