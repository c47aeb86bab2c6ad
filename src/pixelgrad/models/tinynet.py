"""tinynet: a small network for 64x64 pictures, trained on 100 classes of TinyImageNet.

    pixels -> layer1 -> pool1 -> layer2 -> pool2 -> layer3 -> layer4 -> pool4
           -> layer5 -> layer6 -> pool6 -> layer7 -> layer8 -> mean over positions -> classifier

A layer is a convolution (5x5 in layer1, else 3x3), batch norm and ReLU; a pool takes the maximum
of 2x2. Convolutional up to the mean, so it takes any size from 16x16. 2.4 M parameters, 0.12 GMAC.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..classifier import Classifier
from ..errors import ModelError
from ..registry import model
from .weights import fill, read


def layer(inputs: int, outputs: int, kernel: int = 3) -> nn.Sequential:
    """(n, inputs, h, w) -> (n, outputs, h, w), never negative."""
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
            norm=nn.BatchNorm2d(outputs),
            relu=nn.ReLU(),
        )
    )


class TinyNet(nn.Module):
    """(n, 3, h, w) -> logits (n, classes)."""

    def __init__(self, classes: int = 100) -> None:
        super().__init__()
        self.layer1 = layer(3, 32, 5)
        self.pool1 = nn.MaxPool2d(2)
        self.layer2 = layer(32, 64)
        self.pool2 = nn.MaxPool2d(2)
        self.layer3 = layer(64, 96)
        self.layer4 = layer(96, 96)
        self.pool4 = nn.MaxPool2d(2)
        self.layer5 = layer(96, 160)
        self.layer6 = layer(160, 224)
        self.pool6 = nn.MaxPool2d(2)
        self.layer7 = layer(224, 320)
        self.layer8 = layer(320, 384)
        self.mean = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(384, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool1(self.layer1(x))  # (n, 32, 32, 32) of a 64x64 picture
        x = self.pool2(self.layer2(x))  # (n, 64, 16, 16)
        x = self.pool4(self.layer4(self.layer3(x)))  # (n, 96, 8, 8)
        x = self.pool6(self.layer6(self.layer5(x)))  # (n, 224, 4, 4)
        x = self.mean(self.layer8(self.layer7(x)))  # (n, 384, 1, 1)
        logits: Tensor = self.classifier(self.flatten(x))
        return logits


@model
def tinynet(name: str, weights: Path | None) -> Classifier:
    """A small network for 64×64, 100 classes of TinyImageNet: in the package, to learn with"""
    with as_file(files(__package__) / "tinynet.safetensors") as bundled:
        file = weights or bundled
        state = read(file)
    facts = about(weights)
    module = TinyNet(len(facts["labels"]))
    fill(module, state, name, file)  # float16 on disk, float32 from here on
    return Classifier(
        module,
        mean=facts["mean"],
        std=facts["std"],
        size=64,
        labels=facts["labels"],
        name=name,
    )


def about(weights: Path | None = None) -> dict[str, Any]:
    """What a trained file says of itself: labels, mean, std, recipe, accuracy, licence.

    A file that says nothing, such as a plain state dict, is taken as one for the bundled labels.
    """
    with as_file(files(__package__) / "tinynet.safetensors") as bundled:
        facts = (_facts(weights) if weights else {}) or _facts(bundled)
    if not facts:
        raise ModelError(f"{bundled} does not say what its classes are: install pixelgrad again")
    return facts


def _facts(file: Path) -> dict[str, Any]:
    """The metadata of a safetensors file that this training wrote; of any other, nothing."""
    try:
        with safe_open(file, "pt") as opened:
            facts = {key: json.loads(value) for key, value in (opened.metadata() or {}).items()}
    except (OSError, SafetensorError, ValueError):
        return {}
    return facts if {"labels", "mean", "std", "recipe"} <= facts.keys() else {}
