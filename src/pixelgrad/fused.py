"""A convolution and the rectifier after it as one node of the graph.

    y = min(max(w∗x + b, low), high)        ∂/∂x = wᵀ∗(R · [low < y < high])

Autograd keeps what it needs of every step by itself. Here the rectifier works in place, its mask is read off the
output, which is kept anyway, R is masked in place where nobody else has it, and at stride 1 wᵀ∗R is the convolution by
the turned kernel, which a CPU does faster than what autograd takes. A max-pool that follows goes before the rectifier:
the same maxima, a quarter of the places. The gradient is the same.

Only for a gradient as a whole: where rules change how it passes a rectifier (rules.py), or somebody wants the gradient
at a layer, the steps have to be there one by one.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from .chains import Chain, chains, put
from .convolutions import Call, PadsAsNeeded, call, plain
from .kernels import Kernels, Stem

Bounds = tuple[float, float]

RELU: Bounds = (0.0, math.inf)
_THRESHOLD, _HARDTANH = torch.ops.aten.threshold_backward, torch.ops.aten.hardtanh_backward


def fuse(module: nn.Module, x: Tensor) -> tuple[list[Fused], frozenset[str]]:
    """Put fused convolutions into a module, which is run on x for it. Returns them, and the names of the parts whose
    outputs no longer exist."""
    for name, stem in [(name, m) for name, m in module.named_modules() if isinstance(m, Stem)]:
        put(module, name, stem.conv)
    names = {m: name for name, m in module.named_modules() if name}
    convs = {m for m in names if plain(m) or isinstance(m, PadsAsNeeded)}
    found = chains(module, x, convs) if convs else {}
    fused = [Fused(conv, found.get(conv)) for conv in convs]
    for one in fused:
        put(module, names[one.conv], one)
    for part in {part for chain in found.values() for part in chain.parts}:
        put(module, names[part], Done(part))
    return fused, frozenset(names[m] for chain in found.values() for m in chain.inside)


class Fused(nn.Module):
    """A convolution with the rectifier that follows it, if one does, and the max-pool after that."""

    def __init__(self, conv: nn.Module, chain: Chain | None) -> None:
        super().__init__()
        self.conv = conv
        self.parts = () if chain is None else chain.parts
        self.bounds = _bounds(self.parts[0]) if self.parts else None
        self.pool = self.parts[1] if len(self.parts) == 2 else None
        self.kernels = Kernels()

    def forward(self, x: Tensor) -> Tensor:
        made = call(self.conv, x)
        y: Tensor = _Pass.apply(made.x, made, self.bounds if self.pool is None else None, self)
        if self.pool is not None and self.bounds is not None:
            y = _rectified(self.pool(y), self.bounds)
        y.parts, y.at_version = self.parts, y._version  # type: ignore[attr-defined]
        return y


class Done(nn.Module):
    """A rectifier or max-pool where its input may be what has passed it already; it may be called elsewhere as well."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, x: Tensor) -> Tensor:
        same = getattr(x, "at_version", None) == x._version
        if same and any(part is self.part for part in x.parts):  # type: ignore[attr-defined]
            return x
        return self.part(x) if isinstance(self.part, nn.MaxPool2d) else _rectified(x, _bounds(self.part))


class _Pass(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, made: Call, bounds: Bounds | None, owner: Fused) -> Tensor:
        y = owner.kernels.forward(made)
        if bounds is not None:
            _rectified(y, bounds, in_place=True)
            ctx.save_for_backward(y)
        # straight: R goes on to a node of this kind, and to nobody else
        node = x.grad_fn
        ctx.straight = node is not None and node.name() == "_PassBackward"
        ctx.made, ctx.bounds, ctx.owner, ctx.shape = made[1:], bounds, owner, x.shape
        return y

    @staticmethod
    def backward(ctx: Any, r: Tensor) -> Any:
        alone = getattr(r, "nobody_elses", False)  # then it comes from a node of this kind, and is dense
        if ctx.bounds is not None:
            (y,) = ctx.saved_tensors
            r = _masked(r, y, ctx.bounds, in_place=alone)
        found = ctx.owner.kernels.backward(r, ctx.shape, *ctx.made, sparse=not alone)
        if ctx.straight:
            found.nobody_elses = True
        return found, None, None, None


def _rectified(x: Tensor, bounds: Bounds, in_place: bool = False) -> Tensor:
    if bounds == RELU:
        return x.relu_() if in_place else x.relu()
    return nn.functional.hardtanh(x, *bounds, inplace=in_place)


def _masked(r: Tensor, y: Tensor, bounds: Bounds, in_place: bool) -> Tensor:
    """R where y is between the bounds."""
    made: Tensor
    if bounds == RELU:
        made = _THRESHOLD.grad_input(r, y, 0, grad_input=r) if in_place else _THRESHOLD(r, y, 0)
    else:
        made = _HARDTANH.grad_input(r, y, *bounds, grad_input=r) if in_place else _HARDTANH(r, y, *bounds)
    return made


def _bounds(rectifier: nn.Module) -> Bounds:
    """Between which values a rectifier keeps what it gets."""
    if type(rectifier) is nn.ReLU:
        return RELU
    return float(rectifier.min_val), float(rectifier.max_val)  # type: ignore[arg-type]
