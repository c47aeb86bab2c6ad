"""Step rules: from a gradient to the next parameter. All ascend, and treat each image by itself.

z is the parameter (n, …), g the gradient of the score in the same shape. A rule's memory is a dictionary of
tensors with one row per image, so that images can leave the batch and a run can be saved.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

Memory = dict[str, Tensor]


class Rule(Protocol):
    """A step rule. `step` counts from 0."""

    def step(self, z: Tensor, g: Tensor, memory: Memory, step: int) -> tuple[Tensor, Memory]: ...


def norm(g: Tensor) -> Tensor:
    """‖g‖₂ of each image, shaped to divide by."""
    length = torch.linalg.vector_norm(g.flatten(1), dim=1)
    shaped: Tensor = length.reshape(-1, *(1,) * (g.dim() - 1))
    return shaped


@dataclass(frozen=True)
class NormalizedGradient:
    """z + lr · g / ‖g‖₂, the course's rule."""

    lr: float

    def step(self, z: Tensor, g: Tensor, memory: Memory, step: int) -> tuple[Tensor, Memory]:
        return torch.addcmul(z, g, self.lr / norm(g)), memory


@dataclass(frozen=True)
class MeanGradient:
    """z + lr · g / mean|g|, DeepDream's rule: on average a number moves by lr (Google 2015)."""

    lr: float

    def step(self, z: Tensor, g: Tensor, memory: Memory, step: int) -> tuple[Tensor, Memory]:
        mean = g.abs().mean(tuple(range(1, g.dim())), keepdim=True)
        return torch.addcmul(z, g, self.lr / mean), memory


@dataclass(frozen=True)
class Sign:
    """z + lr · sign(g) (Goodfellow 2015)."""

    lr: float

    def step(self, z: Tensor, g: Tensor, memory: Memory, step: int) -> tuple[Tensor, Memory]:
        return z + self.lr * g.sign(), memory


@dataclass(frozen=True)
class Momentum:
    """v ← m·v + g; z + lr · v."""

    lr: float
    momentum: float = 0.9

    def step(self, z: Tensor, g: Tensor, memory: Memory, step: int) -> tuple[Tensor, Memory]:
        v = g + self.momentum * memory["v"] if "v" in memory else g
        return z + self.lr * v, {"v": v}


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma & Ba 2015), and with `nesterov` NAdam (Dozat 2016), with torch's constants."""

    lr: float
    nesterov: bool = False
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def step(self, z: Tensor, g: Tensor, memory: Memory, step: int) -> tuple[Tensor, Memory]:
        m, v = (memory[k] if k in memory else torch.zeros_like(z) for k in ("m", "v"))
        m = torch.lerp(m, g, 1 - self.beta1)
        v = (self.beta2 * v).addcmul_(g, g, value=1 - self.beta2)
        part = (1 - self.beta2 ** (step + 1)) ** 0.5
        root = v.sqrt().add_(self.epsilon * part)  # times part: a pass over the numbers less
        if self.nesterov:
            now, following = self._decay(step), self._decay(step + 1)
            product = math.prod(self._decay(k) for k in range(step + 1))
            first = (1 - now) / (1 - product) * g + following / (1 - product * following) * m
            return torch.addcdiv(z, first, root, value=self.lr * part), {"m": m, "v": v}
        length = self.lr * part / (1 - self.beta1 ** (step + 1))
        return torch.addcdiv(z, m, root, value=length), {"m": m, "v": v}

    def _decay(self, step: int) -> float:
        """NAdam's momentum at a step."""
        return self.beta1 * (1 - 0.5 * math.pow(0.96, (step + 1) * 0.004))


@dataclass(frozen=True)
class HalfCosine:
    """Another rule, whose steps fall to nothing along half a cosine (Loshchilov & Hutter 2017)."""

    rule: Rule
    steps: int

    def step(self, z: Tensor, g: Tensor, memory: Memory, step: int) -> tuple[Tensor, Memory]:
        new, memory = self.rule.step(z, g, memory, step)
        share = (1 + math.cos(math.pi * step / self.steps)) / 2
        return torch.lerp(z, new, share), memory


@dataclass(frozen=True)
class Stairs:
    """Another rule, whose steps are a tenth after each third of a run (Mahendran & Vedaldi 2015)."""

    rule: Rule
    steps: int

    def step(self, z: Tensor, g: Tensor, memory: Memory, step: int) -> tuple[Tensor, Memory]:
        new, memory = self.rule.step(z, g, memory, step)
        return torch.lerp(z, new, 0.1 ** (3 * step // self.steps)), memory


@dataclass(frozen=True)
class Cooling:
    """Another rule, whose steps fall evenly to nothing over the last third of a run: what only trembles settles."""

    rule: Rule
    steps: int

    def step(self, z: Tensor, g: Tensor, memory: Memory, step: int) -> tuple[Tensor, Memory]:
        new, memory = self.rule.step(z, g, memory, step)
        share = 3 * (self.steps - step) / self.steps
        return (torch.lerp(z, new, share) if share < 1 else new), memory
