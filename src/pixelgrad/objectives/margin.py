"""Margin: s_y − max over the other classes of s_j, positive where the network says y (Carlini & Wagner 2017)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..classifier import LOGITS
from ..registry import objective
from .of_class import OfClass, classes


@objective
class Margin(OfClass):
    """How far a class's logit leads all others: name or index, one per image, or none for the predicted one."""

    def __call__(self, activations: Mapping[str, Tensor]) -> Tensor:
        logits = activations[LOGITS]
        return margin(logits, classes(logits, self.target))


def margin(logits: Tensor, chosen: Tensor) -> Tensor:
    """The lead of class chosen[i] in image i, (n,)."""
    own = logits.gather(1, chosen[:, None])[:, 0]
    return own - logits.scatter(1, chosen[:, None], -torch.inf).amax(1)
