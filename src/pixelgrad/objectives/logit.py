"""Logit: s_y, the score of class y before the softmax (Simonyan 2014, §2)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ..classifier import LOGITS
from ..registry import objective
from .of_class import OfClass, at_target


@objective
class Logit(OfClass):
    """The logit of a class: name or index, one per image as a tuple, or none for the predicted one."""

    def __call__(self, activations: Mapping[str, Tensor]) -> Tensor:
        return at_target(activations[LOGITS], self.target)
