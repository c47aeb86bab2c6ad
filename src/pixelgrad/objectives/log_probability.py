"""LogProbability: log softmax(s)_y. Its gradient is minus that of the cross-entropy loss."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ..classifier import LOGITS
from ..registry import objective
from .of_class import OfClass, at_target


@objective
class LogProbability(OfClass):
    """The log of a class's probability: name or index, one per image, or none for the predicted one."""

    def __call__(self, activations: Mapping[str, Tensor]) -> Tensor:
        # the softmax keeps the order, so the predicted class is the same
        return at_target(activations[LOGITS].log_softmax(1), self.target)
