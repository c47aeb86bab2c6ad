"""LogProbability: log softmax(s)_y. Its gradient is minus that of the cross-entropy loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from ..classifier import LOGITS, Classifier
from ..registry import objective, setting
from .base import Objective, pick
from .logit import Target, at_target, indices


@objective
class LogProbability(Objective):
    """The log of a class's probability: name or index, one per image, or none for the predicted one."""

    target: Target = setting(None, help="class, by name or index; none: the predicted one")

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({LOGITS})

    def __call__(self, activations: Mapping[str, Tensor]) -> Tensor:
        # the softmax keeps the order, so the predicted class is the same
        return at_target(activations[LOGITS].log_softmax(1), self.target)

    def resolve(self, model: Classifier) -> LogProbability:
        return LogProbability(indices(self.target, model))

    def select(self, rows: slice | Sequence[int]) -> LogProbability:
        return LogProbability(pick(self.target, rows))
