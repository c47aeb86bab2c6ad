"""The names of ImageNet's 1,000 classes, from torchvision's metadata."""

from __future__ import annotations

from functools import cache


@cache
def labels() -> tuple[str, ...]:
    """The names, in the order of the logits."""
    from torchvision.models import ResNet18_Weights  # takes a second, so only when they are wanted

    return tuple(ResNet18_Weights.DEFAULT.meta["categories"])
