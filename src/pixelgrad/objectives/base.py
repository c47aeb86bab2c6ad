"""An objective scores activations, one score per image; a weighted sum of objectives is one too.

    Logit("tabby") - 0.1 * Logit("goldfish")

Objectives are declared without a model and are plain values: equal ones are equal, they can be keys, and their
repr is the text form that command line and pictures carry.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..classifier import Classifier
from ..errors import SettingError
from ..registry import settings


class Objective:
    """A score on activations. Subclasses are frozen dataclasses that write `needs` and `__call__`."""

    @property
    def needs(self) -> frozenset[str]:
        """The layers whose activations are scored; `pixels` and `logits` are among the possible names."""
        raise NotImplementedError

    def __call__(self, activations: Mapping[str, Tensor]) -> Tensor:
        """One score per image, (n,); no image's score depends on another image."""
        raise NotImplementedError

    def resolve(self, model: Classifier) -> Objective:
        """The same objective with names of classes and layers looked up. Raises NotFound."""
        return self

    def select(self, rows: slice | Sequence[int]) -> Objective:
        """The objective for some rows of the batch, where it differs from image to image."""
        return self

    def __post_init__(self) -> None:
        for s in settings(type(self)):
            value = getattr(self, s.name)
            if isinstance(value, list):
                object.__setattr__(self, s.name, tuple(value))
            s.check(value)

    def __add__(self, other: Objective) -> Objective:
        if not isinstance(other, Objective):
            return NotImplemented
        return WeightedSum(_terms(self) + _terms(other))

    def __mul__(self, factor: float) -> Objective:
        if isinstance(factor, bool) or not isinstance(factor, (int, float)):
            return NotImplemented
        if not abs(factor) < 1e300:  # also not a number
            raise SettingError(f"a factor is a finite number; got {factor!r:.40}")
        return WeightedSum(tuple((factor * weight, term) for weight, term in _terms(self)))

    __rmul__ = __mul__

    def __neg__(self) -> Objective:
        return -1 * self

    def __sub__(self, other: Objective) -> Objective:
        if not isinstance(other, Objective):
            return NotImplemented
        return self + -other

    def __repr__(self) -> str:
        shown = []
        positional = True
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if value == field.default:
                positional = False
            else:
                shown.append(repr(value) if positional else f"{field.name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"


@dataclass(frozen=True, repr=False)
class WeightedSum(Objective):
    """Σ weight · objective."""

    terms: tuple[tuple[float, Objective], ...]

    @property
    def needs(self) -> frozenset[str]:
        return frozenset().union(*(term.needs for _, term in self.terms))

    def __call__(self, activations: Mapping[str, Tensor]) -> Tensor:
        scores = [weight * term(activations) for weight, term in self.terms]
        return sum(scores[1:], scores[0])

    def resolve(self, model: Classifier) -> Objective:
        return WeightedSum(tuple((w, term.resolve(model)) for w, term in self.terms))

    def select(self, rows: slice | Sequence[int]) -> Objective:
        return WeightedSum(tuple((w, term.select(rows)) for w, term in self.terms))

    def __repr__(self) -> str:
        text = ""
        for weight, term in self.terms:
            sign = "-" if weight < 0 else "+"
            lead = f" {sign} " if text else sign.replace("+", "")
            text += lead + ("" if abs(weight) == 1 else f"{abs(weight)!r} * ") + repr(term)
        return text


def pick(values: Any, rows: slice | Sequence[int]) -> Any:
    """Of a value per image (a tuple) those of the rows; anything else is the same for all."""
    if not isinstance(values, tuple):
        return values
    return values[rows] if isinstance(rows, slice) else tuple(values[i] for i in rows)


def per_image(values: Any, n: int, what: str) -> Any:
    """Check that a tuple has one value for each of n images."""
    if isinstance(values, tuple) and len(values) != n:
        raise SettingError(f"{len(values)} {what} for {n} images; give one, or one for each")
    return values


def _terms(objective: Objective) -> tuple[tuple[float, Objective], ...]:
    return objective.terms if isinstance(objective, WeightedSum) else ((1, objective),)
