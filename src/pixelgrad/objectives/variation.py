"""Variation: total variation of the pixels, TV^β (Mahendran & Vedaldi 2015, §2).

    TV^β(x) = Σ ((x[i, j+1] − x[i, j])² + (x[i+1, j] − x[i, j])²)^(β/2)

summed over colours and over the positions that have both neighbours; x in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..classifier import PIXELS
from ..registry import objective, setting
from .base import Objective

LEAST = 1e-12  # at 0 the slope of a root is infinite; a flat area has none


@objective
class Variation(Objective):
    """How much neighbouring pixels differ: low for smooth pictures."""

    beta: float = setting(2.0, lo=1, hi=4, help="exponent: 1 keeps edges, 2 smooths them")

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({PIXELS})

    def __call__(self, activations: Mapping[str, Tensor]) -> Tensor:
        score: Tensor = _Variation.apply(activations[PIXELS], self.beta)
        return score


class _Variation(torch.autograd.Function):
    """With its gradient in closed form, which takes a third of the time of what autograd keeps of each step."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, beta: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.beta = beta
        squares = _squares(*_differences(x), beta)
        return (squares if beta == 2 else squares.pow(beta / 2)).flatten(1).sum(1)

    @staticmethod
    def backward(ctx: Any, r: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        across, down = _differences(x)
        slope: Tensor = ctx.beta * r[:, None, None, None]
        if ctx.beta != 2:
            squares = _squares(across, down, ctx.beta)
            slope = slope * squares.pow(ctx.beta / 2 - 1)
            if ctx.beta < 2:
                slope = slope * (squares > LEAST)
        across, down = across * slope, down * slope
        g = torch.zeros_like(x)
        g[:, :, :-1, 1:] += across
        g[:, :, 1:, :-1] += down
        g[:, :, :-1, :-1] -= across + down
        return g, None


def _differences(x: Tensor) -> tuple[Tensor, Tensor]:
    """Of neighbours in a row, and in a column; (n, 3, h − 1, w − 1)."""
    corner = x[:, :, :-1, :-1]
    return x[:, :, :-1, 1:] - corner, x[:, :, 1:, :-1] - corner


def _squares(across: Tensor, down: Tensor, beta: float) -> Tensor:
    squares = across.square() + down.square()
    return squares.clamp(min=LEAST) if beta < 2 else squares
