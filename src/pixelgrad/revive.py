"""Dead rectifiers (Lucid's redirected gradient): a way out of a start where no unit on the way is active.

Where an image's gradient R is blocked entirely at a rectifier, max(R, 0) passes instead: what would raise the
inputs that are too low. Elsewhere nothing changes. Set on the nodes of the autograd graph, so that it holds for
every way in which a network calls its rectifiers, touches no module, and is gone with the graph. It is a way out of
a start, so only the first steps take it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from .rules import RECTIFIERS, hooked, nodes

FIRST_STEPS = 16


@contextmanager
def revive(score: Tensor) -> Iterator[None]:
    """A rule for `evaluate`: inside, a backward pass of this score, one number per image, gets through rectifiers that
    are dead."""
    dead = [node for node in nodes(score.grad_fn) if node.name().startswith(RECTIFIERS)]
    with hooked([(node, _passed) for node in dead]):
        yield


def _passed(into: tuple[Tensor | None, ...], out: tuple[Tensor | None, ...]) -> Any:
    g, r = into[0], out[0]
    if g is None or r is None or g.dim() < 2:
        return None
    # a look at some channels is nearly always enough, and spares a CPU the rest; a GPU would have to be waited for
    if g.device.type == "cpu" and bool(_alive(g[:, ::8]).all()):
        return None
    blocked = ~_alive(g).reshape(-1, *(1,) * (g.dim() - 1))
    return (torch.where(blocked, r.clamp(min=0), g), *into[1:])


def _alive(g: Tensor) -> Tensor:
    """Of each image, (n,): whether anything of its gradient passes."""
    alive: Tensor = (g != 0).any(tuple(range(1, g.dim())))
    return alive
