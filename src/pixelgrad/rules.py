"""Backward rules: what a rectifier does with the gradient R that arrives, a being its input.

    gradient      R · [a > 0]
    deconvnet     max(R, 0)                 (Zeiler & Fergus 2014, §2.1)
    guided        max(R, 0) · [a > 0]       (Springenberg 2015, §3.4); ReLU6 keeps its own mask, 0 < a < 6

Set on the nodes of the autograd graph, found from the score: so a rule holds for modules and functions, in place or
not, called once or more, on skips and branches alike, touches no module, and is gone with the graph. For the deconvnet
local response normalisation is the identity. All other non-linearities keep their gradient, and are counted.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import torch
from torch import Tensor

from .errors import ModelError

RECTIFIERS = ("ReluBackward", "HardtanhBackward", "ThresholdBackward", "ClampBackward", "ClampMinBackward")
OTHERS = {
    "HardtanhBackward": "hardtanh",
    "ThresholdBackward": "threshold",
    "Clamp": "clamp",
    "GeluBackward": "GELU",
    "SiluBackward": "SiLU",
    "MishBackward": "Mish",
    "HardswishBackward": "Hardswish",
    "HardsigmoidBackward": "Hardsigmoid",
    "SigmoidBackward": "sigmoid",
    "LogSigmoidBackward": "log sigmoid",
    "TanhBackward": "tanh",
    "SoftplusBackward": "Softplus",
    "LeakyReluBackward": "Leaky ReLU",
    "PreluKernelBackward": "PReLU",
    "RreluWithNoiseBackward": "RReLU",
    "EluBackward": "ELU",
    "CeluBackward": "CELU",
    "GluBackward": "GLU",
    "MaximumBackward": "maximum",
    "SoftmaxBackward": "softmax",
    "LogSoftmaxBackward": "log softmax",
    "ScaledDotProduct": "attention",
    "NativeLayerNormBackward": "layer norm",
    "NativeGroupNormBackward": "group norm",
}

Gradients = tuple[Tensor | None, ...]
Hook = Callable[[Gradients, Gradients], Any]


class BackwardRule:
    """A rule for `evaluate`. Afterwards it says what it met on the way from the score to the pixels: `rectifiers` and
    `identities`, which it was used on, and `others`, which were left alone, numbers by name; and how many max-pools."""

    def __init__(self, kind: Literal["deconvnet", "guided"]) -> None:
        self.kind = kind
        self.rectifiers, self.identities, self.others = Counter[str](), Counter[str](), Counter[str]()
        self.max_pools = 0

    @contextmanager
    def __call__(self, score: Tensor) -> Iterator[None]:
        """The rule holds inside. Raises ModelError where no rectifier is on the way."""
        self.rectifiers, self.identities, self.others = Counter(), Counter(), Counter()
        self.max_pools, hooks = 0, []
        for node in nodes(score.grad_fn):
            self.max_pools += "MaxPool" in node.name()
            if kind := rectifier(node):
                self.rectifiers[kind] += 1
                hooks.append((node, _positive if self.kind == "deconvnet" else _guided(node)))
            elif self.kind == "deconvnet" and _normalises(node):
                self.identities["local response norm"] += 1
                hooks.append((node, _identity))
            elif kind := next((kind for name, kind in OTHERS.items() if node.name().startswith(name)), ""):
                self.others[kind] += 1
        if not self.rectifiers:
            met = ", ".join(f"{kind} ({count})" for kind, count in self.others.most_common())
            rule = f"{self.kind} has no rule for {met}" if met else f"{self.kind} would be the gradient"
            raise ModelError(f"no rectifier on the way: {rule}; it works on layers that come after a ReLU")
        with hooked(hooks):
            yield

    def report(self) -> dict[str, Any]:
        """What was met, as JSON has it."""
        found = {"rectifiers": self.rectifiers, "identities": self.identities, "left_alone": self.others}
        return {name: dict(count) for name, count in found.items() if count or name != "identities"}


@contextmanager
def hooked(hooks: list[tuple[Any, Hook]]) -> Iterator[None]:
    """Nodes of a graph with hooks, which are removed at the end."""
    with ExitStack() as stack:
        for node, hook in hooks:
            stack.callback(node.register_hook(hook).remove)
        yield


def nodes(root: Any) -> Iterator[Any]:
    """The nodes of the graph that ends in `root`."""
    seen, stack = {root}, [root]
    while stack:
        node = stack.pop()
        yield node
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                stack.append(following)


def rectifier(node: Any) -> str:
    """The name of what a node rectifies with: max(a, 0), or ReLU6, its bound 6; empty: it does not rectify."""
    name = node.name()
    if name.startswith("ReluBackward"):
        return "ReLU"
    if not name.startswith(RECTIFIERS):
        return ""
    saved = (("_saved_min_val", "_saved_max_val"), ("_saved_min", "_saved_max"), ("_saved_threshold", ""))
    low, high = next(pair for pair in saved if hasattr(node, pair[0]))
    bottom, top = getattr(node, low), getattr(node, high, None)
    # a bound that is a tensor is another one in every place
    if isinstance(bottom, Tensor) or isinstance(top, Tensor) or bottom != 0 or top not in (None, 6, math.inf):
        return ""
    return {"Hard": "ReLU6" if top == 6 else "hardtanh", "Thre": "threshold", "Clam": "clamp"}[name[:4]]


def bounded(node: Any) -> bool:
    """Whether a node holds its output below a bound, as ReLU6 does; what only copies is what it copies."""
    while node is not None and node.name().startswith("Clone"):
        node = node.next_functions[0][0]
    tops = (getattr(node, name, None) for name in ("_saved_max_val", "_saved_max"))
    return any(top is not None and (isinstance(top, Tensor) or top < math.inf) for top in tops)


def _positive(into: Gradients, out: Gradients) -> Any:
    r = out[0]
    return None if r is None or into[0] is None else (r.clamp(min=0), *into[1:])


def _guided(node: Any) -> Hook:
    edge = node.name().startswith("Clamp")  # whose own mask is [a ≥ 0]

    def hook(into: Gradients, _out: Gradients) -> Any:
        g = into[0]
        if g is None:
            return None
        g = g.clamp(min=0)
        return (torch.where(node._saved_self > 0, g, 0) if edge else g, *into[1:])

    return hook


def _normalises(node: Any) -> bool:
    """Whether a node is the last one of torch's local response normalisation, a / (k + α · mean a²)^β."""
    if not node.name().startswith("DivBackward"):
        return False
    names, way = list[str](), node.next_functions[1][0]
    while way is not None and way.next_functions and len(names) < 6:
        names.append(way.name().partition("Backward")[0])
        way = way.next_functions[0][0]
    return names == ["Pow", "Add", "Mul", "View", "Squeeze", "AvgPool3D"]


def _identity(into: Gradients, out: Gradients) -> Any:
    r, squares = out[0], into[1]
    return None if r is None else (r, None if squares is None else torch.zeros_like(squares))
