"""Numbers counted and added so that no order matters: in fixed bins, and as whole multiples of 2⁻²⁴.

    bins    four in each power of two from 2⁻¹⁰ to 2¹⁴, as many below zero, one in the middle
    sums    Σ round(2²⁴ · v) as whole numbers

Sums of floats would depend on their order. Bins do not depend on the data, so those of two parts are added. What is
outside goes into the outermost bins; |v| counts as at most 2¹⁵, so that 2²⁴ pictures that all have it can be added up,
and 2³⁰ that have 500.
"""

from __future__ import annotations

import torch
from torch import Tensor

LOWEST, HIGHEST, IN_EACH = -10, 14, 4
SIDE = (HIGHEST - LOWEST) * IN_EACH  # bins on each side of the one in the middle
BINS = 2 * SIDE + 1
UNIT, LARGEST = 2.0**24, 2.0**15


def bins(values: Tensor) -> Tensor:
    """The bin of each value, 0 to BINS − 1; the bin in the middle, SIDE, holds what is less than 2⁻¹⁰ off zero."""
    mantissa, exponent = torch.frexp(
        values.double().abs()
    )  # value = mantissa · 2^exponent, mantissa in [½, 1)
    place = (exponent.long() - 1 - LOWEST) * IN_EACH + ((mantissa * 2 - 1) * IN_EACH).long() + 1
    return SIDE + values.sign().long() * place.clamp(0, SIDE)


def edges() -> Tensor:
    """Where the bins end, from the lowest to the highest (BINS + 1); the middle one ends at ± 2⁻¹⁰."""
    octaves = 2.0 ** torch.arange(LOWEST, HIGHEST, dtype=torch.double)
    inner = octaves[:, None] * (1 + torch.arange(IN_EACH, dtype=torch.double) / IN_EACH)
    upper = torch.cat([inner.flatten(), octaves.new_tensor([2.0**HIGHEST])])
    return torch.cat([-upper.flip(0), upper])


def fixed(values: Tensor) -> Tensor:
    """Values as whole multiples of 2⁻²⁴."""
    return (values.double().clamp(-LARGEST, LARGEST) * UNIT).round().long()


def mean(sums: Tensor, count: Tensor | int) -> Tensor:
    """The mean of values that were added up as `fixed` has them; 0 of none."""
    return sums.double() / UNIT / torch.as_tensor(count).clamp(min=1)
