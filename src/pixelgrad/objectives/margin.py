"""Margin: s_y − max over the other classes of s_j, positive where the network says y (Carlini & Wagner 2017)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..classifier import LOGITS, Classifier
from ..registry import objective, setting
from .base import Objective, pick
from .logit import Target, classes, indices


@objective
class Margin(Objective):
    """How far a class's logit leads all others: name or index, one per image, or none for the predicted one."""

    target: Target = setting(None, help="class, by name or index; none: the predicted one")

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({LOGITS})

    def __call__(self, activations: Mapping[str, Tensor]) -> Tensor:
        logits = activations[LOGITS]
        return margin(logits, classes(logits, self.target))

    def resolve(self, model: Classifier) -> Margin:
        return Margin(indices(self.target, model))

    def select(self, rows: slice | Sequence[int]) -> Margin:
        return Margin(pick(self.target, rows))


def margin(logits: Tensor, chosen: Tensor) -> Tensor:
    """The lead of class chosen[i] in image i, (n,)."""
    own = logits.gather(1, chosen[:, None])[:, 0]
    return own - logits.scatter(1, chosen[:, None], -torch.inf).amax(1)
