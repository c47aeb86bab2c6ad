"""What is measured of the maps of methods, of several at once, with what says nothing beside them.

areas          under the curves of deletion and insertion (deletion.py); of edges and of a random order too
likeness       rank correlation and SSIM with the map of a network that has forgotten all (forgetting.py)
sensitivity    the largest change under noise that nobody sees (noise.py); of edges too
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .classifier import Classifier
from .deletion import measured
from .gradient import Progress, Step
from .methods import attribute
from .noise import change, furthest
from .ranks import edges, seen_alike, spearman
from .technique import Technique

POINTS, SAMPLES = 32, 10  # as the measures have them


class Figures(NamedTuple):
    """What is measured of the maps of some methods, NaN where it is undefined.

    areas (n, 2, methods + 2): deletion and insertion; of the methods, of edges, of a random order. likeness
    (n, methods, 2): rank correlation and SSIM with the map of a network without knowledge. sensitivity
    (n, methods + 1): of the methods, of edges. ends (n, 2): p_y of the picture, and of it blurred.
    """

    areas: Tensor
    likeness: Tensor
    sensitivity: Tensor
    ends: Tensor


def figures(
    methods: Sequence[Technique],
    model: Classifier,
    blank: Classifier,
    pixels: Tensor,
    target: tuple[int, ...],
    points: int = POINTS,
    samples: int = SAMPLES,
    seed: int = 0,
    progress: Progress | None = None,
) -> Figures:
    """Measure methods on pictures (n, 3, h, w) for a class of each. blank: the same network `forgotten`."""
    stages = len(methods) + 1

    def part(k: int) -> Progress | None:
        return None if progress is None else lambda s: progress(Step(k * s.total + s.done, stages * s.total))

    maps = [attribute(method, model, pixels, target).maps for method in methods]
    found = measured(model, pixels, target, maps, points, seed, part(0))
    likeness, sensitivity = [], []
    for k, (method, own) in enumerate(zip(methods, maps, strict=True), 1):
        others = attribute(method, blank, pixels, target).maps
        likeness.append([_alike(a, b) for a, b in zip(own, others, strict=True)])
        with model.any_range():
            worst = furthest(
                lambda x, method=method: attribute(method, model, x, target).maps,  # type: ignore[misc]
                pixels,
                own,
                samples,
                seed,
                part(k),
            )
        sensitivity.append(change(own, worst))
    own = edges(pixels)
    sensitivity.append(change(own, furthest(edges, pixels, own, samples, seed)))
    order = [0, *range(3, 2 + len(methods)), 2, 1]
    return Figures(
        found.areas[..., order].cpu(),
        torch.tensor(likeness, dtype=torch.float64).transpose(0, 1),
        torch.stack(sensitivity, 1).double().cpu(),
        found.curves[:, 0, 0][:, [0, -1]].double().cpu(),
    )


def _alike(a: Tensor, b: Tensor) -> list[float]:
    return [math.nan if v is None else v for v in (spearman(a, b), seen_alike(a, b))]
