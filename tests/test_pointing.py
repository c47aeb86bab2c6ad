"""The pointing game and overlaps of boxes, by hand."""

from __future__ import annotations

import pytest
import torch

from pixelgrad.pointing import area, centres, highest, hits, iou, scaled


def test_a_hit_is_a_highest_pixel_in_the_box():
    maps = torch.zeros(3, 4, 5)
    maps[0, 1, 3] = maps[1, 3, 0] = maps[2, 2, 4] = 2
    places = highest(maps)
    assert places == [(3, 1), (0, 3), (4, 2)]
    assert hits(places, [(3, 1, 3, 1), (1, 0, 4, 3), (0, 0, 4, 2)]) == [True, False, True]


def test_of_equal_pixels_the_first_counts():
    maps = torch.zeros(2, 3, 3)
    maps[1, 1, 2] = maps[1, 2, 0] = 1
    assert highest(maps) == [(0, 0), (2, 1)]


def test_the_centre_is_the_middle_pixel():
    assert centres(torch.zeros(2, 5, 8)) == [(4, 2), (4, 2)]


def test_boxes_grow_with_the_picture():
    assert scaled((0, 0, 63, 63), 3.5) == (0, 0, 223, 223)
    assert scaled((2, 4, 2, 5), 2) == (4, 8, 5, 11)
    assert area(scaled((2, 4, 2, 5), 2)) == 4 * area((2, 4, 2, 5))


@pytest.mark.parametrize(("a", "b", "expected"), [
    ((0, 0, 1, 1), (0, 0, 1, 1), 1),
    ((0, 0, 1, 1), (1, 1, 2, 2), 1 / 7),
    ((0, 0, 1, 1), (2, 2, 3, 3), 0),
    ((0, 0, 3, 3), (1, 1, 2, 2), 4 / 16),
    ((5, 5, 4, 4), (9, 9, 8, 8), 0),
])  # fmt: skip
def test_overlap_of_boxes(a, b, expected):
    assert iou(a, b) == iou(b, a) == pytest.approx(expected)
