"""How fast a class goes when what counts is taken away: deletion and insertion (Petsiuk 2018, RISE, §4.3).

    deletion     p_y of the picture, its pixels blurred from the most to the least important (of equal ones the first)
    insertion    p_y of the blurred picture, its pixels brought back in the same order
    area         ∫ p_y over the share of pixels, by the trapezoid rule: low for deletion, high for insertion is good

Blurred is the picture under a Gaussian of a twentieth of its shorter side, for both (RISE deletes to grey): the curves
have the same ends, and no map is rewarded for edges that grey squares would make. Beside the maps stand two orders that
know nothing of the network: a random one (its insertion is its deletion backwards), and Sobel's edges. A map that does
no better than edges says no more than they do.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from .classifier import LOGITS, Classifier
from .gradient import Progress, Step, activations_of, several_of
from .objectives.of_class import at_target
from .ranks import edges, order
from .transforms import blur

BLUR = 0.05  # standard deviation, of the picture's shorter side
WAYS = ("deletion", "insertion")
ORDERS = ("random", "edges")  # after the first map


class Curves(NamedTuple):
    """p_y (n, 2, 2 + maps, steps): deletion and insertion; by the first map, at random, by edges, by further maps. The
    areas (n, 2, 2 + maps) under them, and how many pixels are changed at each step."""

    curves: Tensor
    areas: Tensor
    counts: list[int]


def measured(
    model: Classifier,
    pixels: Tensor,
    target: tuple[int, ...],
    maps: Sequence[Tensor],
    points: int,
    seed: int,
    progress: Progress | None = None,
) -> Curves:
    """The curves by maps (n, h, w), and by the orders that know nothing of the network."""
    random = torch.rand(pixels.shape[2:], generator=torch.Generator().manual_seed(seed))
    blind = [order(random[None]).to(pixels.device).expand(maps[0].shape), order(edges(pixels))]
    first, *others = (order(values) for values in maps)
    counts = shares(maps[0][0].numel(), points)
    found = trace(model, pixels, target, [first, *blind, *others], counts, progress)
    areas = torch.trapezoid(found.double(), torch.tensor(counts).to(found) / counts[-1])
    return Curves(found, areas, counts)


def shares(whole: int, points: int) -> list[int]:
    """How many of the pixels are changed at each step: none at first, all at last."""
    return [round(k * whole / points) for k in range(points + 1)]


def trace(
    model: Classifier,
    pixels: Tensor,
    target: tuple[int, ...],
    ways: list[Tensor],
    counts: list[int],
    progress: Progress | None = None,
) -> Tensor:
    """p_y (n, 2, orders, steps), by the places of the pixels (n, h, w) in each order. The second order is random: what
    is left of the picture is then as good as what was taken, and insertion is deletion backwards."""
    n, base = len(pixels), blur(pixels, BLUR * min(pixels.shape[2:]))
    inner = range(1, len(counts) - 1)
    tasks = [(w, o, k) for o in range(len(ways)) for w in range(2) for k in inner if (w, o) != (1, 1)]
    ends = torch.cat([pixels, base])
    whole, none = _probabilities(model, ends, target * 2).chunk(2)
    found = whole.new_zeros(n, 2, len(ways), len(counts))
    found[:, 0, :, 0] = found[:, 1, :, -1] = whole[:, None]
    found[:, 0, :, -1] = found[:, 1, :, 0] = none[:, None]
    left, several, done = iter(tasks), several_of(pixels), 0
    with model.borrowed():
        while block := list(islice(left, several)):
            variants = []
            for w, o, k in block:
                taken = (ways[o] < counts[k])[:, None]
                variants.append(torch.where(taken, *((pixels, base) if w else (base, pixels))))
            values = _probabilities(model, torch.cat(variants), target * len(block))
            for (w, o, k), value in zip(block, values.chunk(len(block)), strict=True):
                found[:, w, o, k] = value
            done += len(block)
            if progress is not None:
                progress(Step(done, len(tasks)))
    found[:, 1, 1] = found[:, 0, 1].flip(-1)
    return found


def _probabilities(model: Classifier, pixels: Tensor, target: tuple[int, ...]) -> Tensor:
    return at_target(activations_of(model, pixels, [LOGITS])[LOGITS].softmax(1), target)
