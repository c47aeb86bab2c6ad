"""Reading the outputs of layers while a module runs, by forward hooks that are removed afterwards.

Downstream of a tapped layer goes a copy of its output: an in-place module that follows (`ReLU(inplace=True)`)
cannot change what was tapped, and gradients with respect to the tapped tensor exist.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .errors import ModelError


class Layer(NamedTuple):
    """One run of a module: `name` is `NAME:2` for its second run; `shape` is of one picture's output."""

    name: str
    kind: str
    shape: tuple[int, ...]


class Stop(BaseException):
    """Ends a forward pass once every tapped layer has run. Not an Exception: a network may catch those."""


@contextmanager
def tapped(
    module: nn.Module, names: Sequence[str], stop: bool, begin: str | None = None
) -> Iterator[dict[str, Tensor]]:
    """Fills the yielded dictionary with the outputs of `names` during the next forward pass.

    With `stop`, raises Stop out of the forward pass as soon as all of them are there. begin: one of the names, whose
    output is where the graph begins.
    """
    found: dict[str, Tensor] = {}
    runs: Counter[str] = Counter()

    def hook(base: str) -> Any:
        def keep(_module: nn.Module, _inputs: Any, output: Any) -> Any:
            runs[base] += 1
            name = base if runs[base] == 1 else f"{base}:{runs[base]}"
            tensor = _tensor(output)
            if name not in names or tensor is None:
                return None
            if name == begin:
                found[name] = tensor.detach().requires_grad_()
            else:
                found[name] = tensor
            if stop and len(found) == len(names):
                raise Stop
            return _replaced(output, tensor, found[name].clone())

        return keep

    if names:
        _open(module)
    parts = {base: module.get_submodule(base) for base in (name.partition(":")[0] for name in names)}
    handles = [_open(part).register_forward_hook(hook(base)) for base, part in parts.items()]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def trace(module: nn.Module) -> Iterator[list[Layer]]:
    """Fills the yielded list with every layer that runs, in the order in which they finish."""
    seen: list[Layer] = []
    runs: Counter[str] = Counter()

    def hook(name: str) -> Any:
        def note(owner: nn.Module, _inputs: Any, output: Any) -> None:
            runs[name] += 1
            tensor = _tensor(output)
            if tensor is not None:
                shown = name if runs[name] == 1 else f"{name}:{runs[name]}"
                seen.append(Layer(shown, type(owner).__name__, tuple(tensor.shape[1:])))

        return note

    parts = [(name, m) for name, m in _open(module).named_modules() if name and not _closed(m)]
    handles = [m.register_forward_hook(hook(name)) for name, m in parts]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _open(module: nn.Module) -> nn.Module:
    """The module, if it can be listened to."""
    if _closed(module):
        raise ModelError(
            "a network or layer that was scripted or traced cannot be looked into, it has only its logits; "
            "use the module that it was made from"
        )
    return module


def _closed(module: nn.Module) -> bool:
    return isinstance(module, torch.jit.ScriptModule)


def _tensor(output: Any) -> Tensor | None:
    """The tensor among a layer's output: itself, or the first of a tuple (attention) or mapping."""
    if isinstance(output, Mapping):
        output = next(iter(output.values()), None)
    if isinstance(output, (tuple, list)):
        output = output[0] if output else None
    return output if isinstance(output, Tensor) else None


def _replaced(output: Any, tensor: Tensor, copy: Tensor) -> Any:
    """The same output with `copy` in the place of `tensor`."""
    if output is tensor:
        return copy
    if type(output) in (tuple, list):
        return type(output)([copy, *output[1:]])
    if type(output) in (dict, OrderedDict):
        return type(output)({**output, next(iter(output)): copy})
    return None  # another container: what follows gets the tensor itself
