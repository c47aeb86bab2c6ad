"""What the objectives of a class have in common: which class, for each image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from ..classifier import LOGITS, Classifier
from ..errors import NotFound
from ..registry import setting
from .base import Objective, WeightedSum, per_image, pick

Target = str | int | tuple[str | int, ...] | None


@dataclass(frozen=True, repr=False)
class OfClass(Objective):
    """A score on the logits: of a class by name or index, of one per image (a tuple), or of the predicted one."""

    target: Target = setting(None, help="class, by name or index; none: the predicted one")  # noqa: RUF009 - a field

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({LOGITS})

    def resolve(self, model: Classifier) -> Self:
        return replace(self, target=indices(self.target, model))

    def select(self, rows: slice | Sequence[int]) -> Self:
        return replace(self, target=pick(self.target, rows))


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
        last = logits.shape[1] - 1
        raise NotFound("class", int(chosen.max()), (), f"the classes are 0 to {last}")
    return chosen


def at_target(values: Tensor, target: Target) -> Tensor:
    """values[i, class of image i], (n,)."""
    return values.gather(1, classes(values, target)[:, None])[:, 0]


def fixed(objective: Objective, logits: Tensor) -> Objective:
    """The objective with the classes predicted in `logits` in the place of "the predicted one": for pictures that are
    changed, after which the network may predict another."""
    if isinstance(objective, WeightedSum):
        return WeightedSum(tuple((weight, fixed(term, logits)) for weight, term in objective.terms))
    if isinstance(objective, OfClass) and objective.target is None:
        return replace(objective, target=tuple(classes(logits, None).tolist()))
    return objective
