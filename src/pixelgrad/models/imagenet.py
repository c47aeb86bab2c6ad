"""The names of ImageNet's 1,000 classes, from torchvision's metadata."""

from __future__ import annotations

from torchvision.models import ResNet18_Weights

LABELS: tuple[str, ...] = tuple(ResNet18_Weights.DEFAULT.meta["categories"])
