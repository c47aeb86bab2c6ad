"""Channel: the mean activation of one channel of a layer (Olah 2017)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
from torch import Tensor

from ..classifier import Classifier
from ..errors import NotFound, SettingError
from ..registry import objective, setting
from .base import Objective


@objective
class Channel(Objective):
    """The mean over all positions of one channel: `Channel("features.3", 12)`."""

    layer: str = setting("", help="name of the layer")
    channel: int = setting(0, lo=0, help="index of the channel")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.layer:
            raise SettingError("Channel needs a layer: Channel('NAME', 0)")

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({self.layer})

    def __call__(self, activations: Mapping[str, Tensor]) -> Tensor:
        values = activations[self.layer]
        if values.dim() not in (2, 4):
            shape = tuple(values.shape[1:])
            raise SettingError(f"layer {self.layer!r} has no channels; its output is {shape} per image")
        if self.channel >= values.shape[1]:
            last = values.shape[1] - 1
            raise NotFound("channel", self.channel, (), f"{self.layer} has channels 0 to {last}")
        if values.dim() == 2:
            return values[:, self.channel]
        if values.is_contiguous(memory_format=torch.channels_last):  # the gradient is laid out as they are
            return values.permute(0, 2, 3, 1)[..., self.channel].mean((1, 2))
        return values[:, self.channel].mean((1, 2))

    def resolve(self, model: Classifier) -> Channel:
        return dataclasses.replace(self, layer=model.layer(self.layer))
