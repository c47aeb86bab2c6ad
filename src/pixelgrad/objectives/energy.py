"""Energy: ‖(x − μ) / σ‖², summed over the pixels: the L2 penalty of class visualization (Simonyan 2014, §2)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ..classifier import PIXELS, Classifier
from ..registry import objective, setting
from .base import Objective

Colour = tuple[float, float, float]


@objective
class Energy(Objective):
    """How far the picture is from the mean colour, squared, in the units of the network's normalisation."""

    mean: Colour | None = setting(None, help="μ of each colour; default: the network's, 0 without one")
    std: Colour | None = setting(None, help="σ of each colour; default: the network's, 1 without one")

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({PIXELS})

    def __call__(self, activations: Mapping[str, Tensor]) -> Tensor:
        x = activations[PIXELS]
        mean, std = (
            x.new_tensor(v)[:, None, None] for v in (self.mean or (0.0,) * 3, self.std or (1.0,) * 3)
        )
        return ((x - mean).square().sum((2, 3)) / std.flatten().square()).sum(1)

    def resolve(self, model: Classifier) -> Energy:
        return Energy(self.mean or model.mean, self.std or model.std)
