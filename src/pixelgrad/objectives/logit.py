"""Logit: s_y, the score of class y before the softmax (Simonyan 2014, §2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..classifier import LOGITS, Classifier
from ..registry import objective, setting
from .base import Objective, per_image, pick

Target = str | int | tuple[str | int, ...] | None


@objective
class Logit(Objective):
    """The logit of a class: name or index, one per image as a tuple, or none for the predicted one."""

    target: Target = setting(None, help="class, by name or index; none: the predicted one")

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({LOGITS})

    def __call__(self, activations: Mapping[str, Tensor]) -> Tensor:
        return at_target(activations[LOGITS], self.target)

    def resolve(self, model: Classifier) -> Logit:
        return Logit(indices(self.target, model))

    def select(self, rows: slice | Sequence[int]) -> Logit:
        return Logit(pick(self.target, rows))


def indices(target: Target, model: Classifier) -> Target:
    """The target with the names of classes looked up."""
    if target is None:
        return None
    if isinstance(target, tuple):
        return tuple(model.label(t) for t in target)
    return model.label(target)


def classes(logits: Tensor, target: Target) -> Tensor:
    """The class index of each image, (n,): the target's, or where there is none the predicted one's."""
    n = len(logits)
    if target is None:
        return logits.detach().argmax(1)
    chosen = torch.as_tensor(per_image(target, n, "targets"), device=logits.device).expand(n)
    if n and not 0 <= int(chosen.min()) <= int(chosen.max()) < logits.shape[1]:
        from ..errors import NotFound

        last = logits.shape[1] - 1
        raise NotFound("class", int(chosen.max()), (), f"the classes are 0 to {last}")
    return chosen


def at_target(values: Tensor, target: Target) -> Tensor:
    """values[i, class of image i], (n,)."""
    return values.gather(1, classes(values, target)[:, None])[:, 0]
