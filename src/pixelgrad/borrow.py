"""Using somebody's module and giving it back as it was.

Inside, the module is in evaluation mode, so that dropout is off and batch norm keeps its statistics, and its
parameters ask for no gradient, so that no weight gradient is ever computed. Afterwards modes, flags and buffers
are as before. The flags are set one by one: a module's own `train()` may do more than that.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


def parts(module: nn.Module) -> list[nn.Module]:
    """What `module.modules()` gives, in another order and a fraction of the time: this is done at every use."""
    found: dict[nn.Module, None] = {}
    stack = [module]
    while stack:
        m = stack.pop()
        if m not in found:
            found[m] = None
            stack += [child for child in m._modules.values() if child is not None]
    return list(found)


@contextmanager
def borrowed(module: nn.Module) -> Iterator[None]:
    """Evaluation mode without parameter gradients inside; everything as it was afterwards."""
    all_parts = parts(module)
    training = [m for m in all_parts if m.training]
    learning = [p for m in all_parts for p in m._parameters.values() if p is not None and p.requires_grad]
    # a forward pass may count or cache in buffers, also in evaluation mode
    buffers = [
        (owner, name, buffer, buffer._version, buffer.detach().clone())
        for owner in all_parts
        for name, buffer in owner._buffers.items()
        if buffer is not None and not buffer.is_inference()
    ]
    try:
        for m in training:
            m.training = False
        for p in learning:
            p.requires_grad_(False)
        yield
    finally:
        for m in training:
            m.training = True
        for p in learning:
            p.requires_grad_(True)
        with torch.no_grad():
            for owner, name, buffer, version, value in buffers:
                if buffer._version != version:
                    buffer.copy_(value)
                # a scripted module makes a new object of its tensor whenever it is asked for it
                if not isinstance(owner, torch.jit.ScriptModule) and owner._buffers.get(name) is not buffer:
                    owner._buffers[name] = buffer
