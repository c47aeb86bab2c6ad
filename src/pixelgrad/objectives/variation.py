"""Variation: total variation of the pixels, TV^β (Mahendran & Vedaldi 2015, §2).

    TV^β(x) = Σ ((x[i, j+1] − x[i, j])² + (x[i+1, j] − x[i, j])²)^(β/2)

summed over colours and over the positions that have both neighbours; x in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ..classifier import PIXELS
from ..registry import objective, setting
from .base import Objective


@objective
class Variation(Objective):
    """How much neighbouring pixels differ: low for smooth pictures."""

    beta: float = setting(2.0, lo=1, hi=4, help="exponent: 1 keeps edges, 2 smooths them")

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({PIXELS})

    def __call__(self, activations: Mapping[str, Tensor]) -> Tensor:
        x = activations[PIXELS]
        corner = x[:, :, :-1, :-1]
        squares = (x[:, :, :-1, 1:] - corner).square() + (x[:, :, 1:, :-1] - corner).square()
        if self.beta == 2:
            return squares.flatten(1).sum(1)
        if self.beta < 2:  # at 0 the slope of the root is infinite; a flat area has none
            squares = squares.clamp(min=1e-12)
        return (squares ** (self.beta / 2)).flatten(1).sum(1)
