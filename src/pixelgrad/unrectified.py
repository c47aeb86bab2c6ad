"""A unit counts before its rectifier when a picture is made for it from noise.

    u = max(a, 0)        followed: ∂a/∂x, where ∂u/∂x is zero wherever a < 0

Below zero a unit would have no gradient, and most units are there on noise. So the rectifiers that nothing but
choosing, pooling, joining and weighing comes after let the whole gradient pass. Set on the nodes of the autograd graph,
found from the score; the score itself stays that of u. Rectifiers further down are the network's own and stay as they
are, but for the way out of a dead start (revive.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor

from .classifier import LOGITS, PIXELS, Classifier
from .gradient import Evaluation, Rule, evaluate
from .objectives.base import Objective
from .revive import FIRST_STEPS, revive
from .rules import hooked, rectifier

# what mixes units: before it no rectifier is the unit's own
LINEAR = ("Conv", "Addmm", "Mm", "Bmm", "Add", "Native", "Cudnn", "Mkldnn", "ScaledDot", "Linear")
WEIGHED = ("AddBackward", "MulBackward")  # a weighted sum of objectives


def measured(
    model: Classifier, objective: Objective, pixels: Tensor, keep: Sequence[str], step: int
) -> Evaluation:
    """Score and gradient in a step of a picture from noise: of units before their rectifiers, of classes as they are;
    dead rectifiers are revived in the first steps."""
    rules: list[Rule] = [] if objective.needs <= {LOGITS, PIXELS} else [unrectified]
    if step < FIRST_STEPS:
        rules.append(revive)

    @contextmanager
    def both(score: Tensor) -> Iterator[None]:
        with ExitStack() as stack:
            for rule in rules:
                stack.enter_context(rule(score))
            yield

    return evaluate(model, objective, pixels, keep, rule=both if rules else None)


@contextmanager
def unrectified(score: Tensor) -> Iterator[None]:
    """A rule for `evaluate`: inside, a backward pass of this score passes the units' own rectifiers whole."""
    with hooked([(node, _all) for node in _last_rectifiers(score.grad_fn)]):
        yield


def _last_rectifiers(root: Any) -> Iterator[Any]:
    """The rectifiers that nothing but weighing, choosing, pooling and joining comes after."""
    seen, stack = {root}, [(root, True)]
    while stack:
        node, weighed = stack.pop()
        if rectifier(node):
            yield node
            continue
        weighed = weighed and node.name().startswith(WEIGHED)
        if node.name().startswith(LINEAR) and not weighed:
            continue
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                stack.append((following, weighed))


def _all(into: tuple[Tensor | None, ...], out: tuple[Tensor | None, ...]) -> Any:
    return None if out[0] is None or into[0] is None else (out[0], *into[1:])
