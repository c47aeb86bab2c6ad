"""AlphaNorm: ‖x − ½‖_α^α = Σ |x − ½|^α, summed over the pixels (Mahendran & Vedaldi 2015, §2): keeps colours from the
ends of their range, the more so the larger α."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ..classifier import PIXELS
from ..registry import objective, setting
from .base import Objective


@objective
class AlphaNorm(Objective):
    """How far the pixels are from grey, to the power of α."""

    alpha: float = setting(
        6.0, lo=1, hi=20, help="exponent: a high one lets all but the ends of the range be"
    )

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({PIXELS})

    def __call__(self, activations: Mapping[str, Tensor]) -> Tensor:
        return ((activations[PIXELS] - 0.5).abs() ** self.alpha).flatten(1).sum(1)
