"""How a fooling image is searched for: step rules around an original picture x₀, in the L2 or L∞ norm.

`Bounded` stays within a radius (Goodfellow 2015; Madry 2018). `Shrinking` looks for the smallest distance (DDN,
Rony 2019): it moves along the gradient, then onto the sphere around x₀ whose radius shrinks while the picture fools
and grows while it does not. In L∞ the sphere is a cube and the step the gradient's sign.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .distortion import l2, linf, per_image
from .steps import Memory, norm

# the first radius of Shrinking, in units of a pixel's range
FIRST = {"l2": 0.5, "linf": 4 / 255}
FASTER = 1.25  # growth of the radius until a picture has fooled for the first time


def distance(difference: Tensor, kind: str) -> Tensor:
    """The norm of each picture's difference, (n,)."""
    return l2(difference) if kind == "l2" else linf(difference)


def direction(g: Tensor, kind: str) -> Tensor:
    """The step of length 1 that gains most: g/‖g‖₂, or its sign."""
    return g / norm(g) if kind == "l2" else g.sign()


def within(difference: Tensor, radius: Tensor | float, kind: str) -> Tensor:
    """The nearest difference that is not longer than the radius."""
    if kind == "linf":
        return difference.clamp(-radius, radius)  # type: ignore[arg-type]
    length = norm(difference).clamp_min(1e-12)
    return difference * (radius / length).clamp_max(1)


@dataclass(frozen=True)
class Bounded:
    """z + lr · direction, within the radius around x₀ (n, 3, h, w)."""

    original: Tensor
    kind: str
    radius: float
    lr: float

    def step(self, z: Tensor, g: Tensor, memory: Memory, step: int) -> tuple[Tensor, Memory]:
        return z + self.lr * direction(g, self.kind), memory

    def constrain(self, z: Tensor, rows: Tensor, step: int) -> Tensor:
        original = self.original[rows]
        return (original + within(z - original, self.radius, self.kind)).clamp(0, 1)


@dataclass(frozen=True)
class Shrinking:
    """The smallest distance that fools, in `steps` steps. Memory: x₀ and the radius of each image; `fools`, from the
    judge, says whether the picture at hand does.

    Until a picture has fooled, its radius grows by a quarter a step. From then on the change gets smaller with time,
    from 26 % to 1 %: that is how near to the smallest distance it ends. The step, too, goes down from 70 % of the
    radius to 1 %. (DDN changes by 5 % and steps by 1…0.01 throughout, which takes three times the steps.)
    """

    kind: str
    steps: int

    def step(self, z: Tensor, g: Tensor, memory: Memory, step: int) -> tuple[Tensor, Memory]:
        original = memory.get("original", z)  # the first z is the original
        radius = memory.get("radius", torch.full_like(z[:, 0, 0, 0], FIRST[self.kind]))
        left = (1 + math.cos(math.pi * step / self.steps)) / 2
        change = 0.01 + 0.25 * left
        fools, moved = memory["fools"], z - original
        found = fools | memory.get("found", torch.zeros_like(fools))
        # where it fools, the distance it has may be less than the radius: rounding and clipping shorten it
        shorter = torch.minimum(radius, distance(moved, self.kind)) * (1 - change)
        radius = torch.where(fools, shorter, radius * torch.where(found, 1 + change, FASTER))
        lr = per_image(radius, z) * (0.7 * (0.01 + 0.99 * left))
        memory = {"original": original, "radius": radius, "found": found}
        bound = per_image(radius, moved)
        if self.kind == "l2":
            moved.addcmul_(g, lr / norm(g))
            length = norm(moved).clamp_min(1e-12)
            return torch.addcmul(original, moved, bound / length).clamp_(0, 1), memory
        moved.addcmul_(g.sign(), lr)
        return (original + torch.minimum(torch.maximum(moved, -bound), bound)).clamp_(0, 1), memory
