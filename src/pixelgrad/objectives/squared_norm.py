"""SquaredNorm: ½‖Φ_l(x)‖², summed over a layer. Its gradient with respect to Φ_l is Φ_l itself: what DeepDream sends
back are the activations (CS231n; Google 2015)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from torch import Tensor

from ..classifier import Classifier
from ..errors import SettingError
from ..registry import objective, setting
from .base import Objective


@objective
class SquaredNorm(Objective):
    """How strongly a layer answers, whatever it answers to: `SquaredNorm("features.3")`."""

    layer: str = setting("", help="name of the layer")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.layer:
            raise SettingError("SquaredNorm needs a layer: SquaredNorm('NAME')")

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({self.layer})

    def __call__(self, activations: Mapping[str, Tensor]) -> Tensor:
        values = activations[self.layer]
        return values.square().sum(tuple(range(1, values.dim()))) / 2

    def resolve(self, model: Classifier) -> SquaredNorm:
        return dataclasses.replace(self, layer=model.layer(self.layer))
