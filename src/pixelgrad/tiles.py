"""Score and gradient of a large picture tile by tile, so that memory does not grow with it.

    score = Σ over tiles of objective(tile)        gradient: of each tile, at its place

Tiles do not overlap and cover every pixel. All but the last of a row begin and end at multiples of UNIT, where the
strides of a network begin anew, and all are of nearly the same size. At the seams the network sees its own padding;
whoever follows the gradient shifts the picture at random from step to step, so that no seam stays.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from .classifier import Classifier
from .errors import ModelError
from .gradient import Evaluation, cuts, evaluate
from .objectives.base import Objective

SIDE = 512  # of a tile, at most; EfficientNet-Lite0 takes 0.3 GB for the gradient of one, and no longer per pixel
UNIT = 32


def tiled(pixels: Tensor) -> bool:
    """Whether pictures of this size are taken in tiles."""
    return max(pixels.shape[-2:]) > SIDE


def evaluate_tiles(model: Classifier, objective: Objective, pixels: Tensor) -> Evaluation:
    """Score (n,) and gradient (n, 3, h, w)."""
    if not tiled(pixels):
        return evaluate(model, objective, pixels)
    gradient = torch.empty_like(pixels)
    scores = []
    for place in _places(pixels):
        part = evaluate(model, objective, pixels[place])
        gradient[place] = part.gradient
        scores.append(part.score)
    return Evaluation(torch.stack(scores).sum(0), gradient, {})


@torch.no_grad()
def score_tiles(model: Classifier, objective: Objective, pixels: Tensor) -> Tensor:
    """Score (n,), without a gradient."""
    if not len(pixels):
        raise ModelError("no images: pixels are (0, 3, height, width)")
    objective = objective.resolve(model)
    scores = []
    with model.borrowed():  # once for all the tiles
        for place in _places(pixels):
            tile = pixels[place]
            parts: list[Tensor] = []

            def work(rows: slice, tile: Tensor = tile, parts: list[Tensor] = parts) -> None:
                parts.append(objective.select(rows)(model.activations(tile[rows], objective.needs)))

            for _ in cuts(tile, None, work):
                pass
            scores.append(torch.cat(parts))
    return torch.stack(scores).sum(0)


def pieces(side: int) -> list[slice]:
    """A side cut into as few pieces as SIDE allows, each of a whole number of UNITs, the last with what is left."""
    count = math.ceil(side / SIDE)
    units = side // UNIT
    ends = [UNIT * math.ceil(units * i / count) for i in range(count)]
    return [slice(a, b) for a, b in zip(ends, [*ends[1:], side], strict=True)]


def _places(pixels: Tensor) -> Iterator[tuple[slice, ...]]:
    height, width = pixels.shape[-2:]
    whole = slice(None)
    return ((whole, whole, rows, columns) for rows in pieces(height) for columns in pieces(width))
