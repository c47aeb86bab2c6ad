"""What takes the output of a convolution, seen on a run of the network, since symbolic tracing fails on many."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

Key = tuple[int, int]


def conv_and_norm(module: nn.Module, x: Tensor) -> Iterator[tuple[str, str]]:
    """The convolutions whose output a batch norm takes, with it; each runs once, and has its weights to itself."""
    names = {m: name for name, m in module.named_modules() if name}
    runs: Counter[nn.Module] = Counter()
    outputs: dict[int, tuple[nn.Module, Tensor]] = {}  # holds on to the tensors, so that no id is used again
    pairs: list[tuple[nn.Module, nn.Module]] = []

    def note(m: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        runs[m] += 1
        if isinstance(m, nn.Conv2d):
            outputs[id(output)] = (m, output)
        elif inputs and id(inputs[0]) in outputs:
            pairs.append((outputs[id(inputs[0])][0], m))

    kinds = (nn.Conv2d, nn.BatchNorm2d)
    handles = [m.register_forward_hook(note) for m in names if isinstance(m, kinds)]
    try:
        module(x)
    finally:
        for handle in handles:
            handle.remove()
    for conv, norm in pairs:
        once = runs[conv] == runs[norm] == 1
        own = conv._parameters.get("weight") is not None  # not computed from something else
        if once and own and getattr(norm, "running_var", None) is not None:
            yield names[conv], names[norm]


class Chain(NamedTuple):
    """What the output of a convolution goes through, and nothing else has: a rectifier, and perhaps a max-pool. inside:
    the parts of the module whose output is something in between."""

    parts: tuple[nn.Module, ...]
    inside: set[nn.Module]


def chains(module: nn.Module, x: Tensor, convs: set[nn.Module]) -> dict[nn.Module, Chain]:
    """The chain of each convolution that runs once and has one."""
    runs, uses = Counter[nn.Module](), Counter[Key]()
    came: dict[nn.Module, Key] = {}
    gave: dict[Key, set[nn.Module]] = defaultdict(set)
    steps: dict[Key, tuple[nn.Module, Key]] = {}
    first: dict[nn.Module, Key] = {}
    held: list[Tensor] = []  # so that no id is used again

    def before(m: nn.Module, inputs: tuple[Any, ...]) -> None:
        if inputs and isinstance(inputs[0], Tensor):
            came[m] = _key(inputs[0])

    def after(m: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        runs[m] += 1
        if not isinstance(output, Tensor) or m not in came:
            return
        held.append(output)
        start, end = came[m], _key(output)
        gave[end].add(m)
        if m in convs:
            first[m] = end
        if start != end and not any(m.children()):  # what only passes its input on uses nothing
            uses[start] += 1
            steps[start] = (m, end)

    handles = [m.register_forward_pre_hook(before) for m in module.modules()]
    handles += [m.register_forward_hook(after) for m in module.modules()]
    try:
        with torch.no_grad():
            module(x)
    finally:
        for handle in handles:
            handle.remove()

    def following(at: Key, fits: Callable[[nn.Module], bool]) -> tuple[nn.Module, Key] | None:
        return steps[at] if uses[at] == 1 and fits(steps[at][0]) else None

    found = {}
    for conv, at in first.items():
        if runs[conv] == 1 and (rectifier := following(at, rectifies)):
            parts: tuple[nn.Module, ...] = (rectifier[0],)
            inside = gave[at]
            if pool := following(rectifier[1], lambda m: type(m) is nn.MaxPool2d and not m.return_indices):
                parts, inside = (rectifier[0], pool[0]), inside | gave[rectifier[1]]
            found[conv] = Chain(parts, inside)
    return found


def _key(x: Tensor) -> Key:
    """A tensor as it is before something else is written into it."""
    return id(x), x._version


def rectifies(m: nn.Module) -> bool:
    return type(m) in (nn.ReLU, nn.ReLU6, nn.Hardtanh)


def put(module: nn.Module, name: str, part: nn.Module) -> None:
    """Put a part in the place of the one of that name."""
    owner, _, last = name.rpartition(".")
    setattr(module.get_submodule(owner), last, part)
