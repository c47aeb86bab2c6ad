"""A network that forgets what it has learned: layer after layer gets random weights again, from the output down.

Layers reset themselves; where one cannot, its weights are drawn normally with their own mean and deviation.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import nn

from .classifier import Classifier
from .errors import ModelError

STAGES = 8


def forgotten(model: Classifier, size: tuple[int, int], seed: int) -> Classifier:
    """A copy of the network of which every layer is random."""
    *_, (_, _, twin) = cascade(model, stages(model, size), seed)
    return twin


def stages(model: Classifier, size: tuple[int, int]) -> list[list[str]]:
    """The layers with weights of their own in at most 8 groups of about as many, from the output down; in each from the
    first that runs, whose name it goes by, to the last."""
    modules = dict(model.module.named_modules())
    runs = [name for layer in model.layers(size) if (name := layer.name.partition(":")[0]) in modules]
    # what does not run as a layer, such as a class token beside the layers, is forgotten with the first
    ordered = dict.fromkeys([*(name for name in modules if name not in runs), *runs])
    names = [name for name in ordered if any(True for _ in modules[name].parameters(recurse=False))]
    if not names:
        raise ModelError(f"{model.name} has no weights that could be randomized")
    count = min(STAGES, len(names))
    cuts = [round(k * len(names) / count) for k in range(count + 1)]
    return [names[a:b] for a, b in pairwise(cuts)][::-1]


def cascade(
    model: Classifier, groups: list[list[str]], seed: int
) -> Iterator[tuple[int, list[str], Classifier]]:
    """A copy of the network, after each group of layers has been randomized besides those before; how many layers
    that are, and the group."""
    try:
        twin = copy.deepcopy(model)
    except Exception as error:
        raise ModelError(f"{model.name} cannot be copied: {error}") from error
    modules, done = dict(twin.module.named_modules()), 0
    for group in groups:
        for name in reversed(group):
            reset(modules[name], seed + done)
            done += 1
        yield done, group, twin


@torch.no_grad()
def reset(module: nn.Module, seed: int) -> None:
    """Random weights for a layer; the caller's random numbers stay where they are."""
    weights = list(module.parameters(recurse=False))
    devices = {p.device.index for p in weights if p.device.type == "cuda"}
    with torch.random.fork_rng(list(devices)):
        torch.manual_seed(seed)
        if callable(again := getattr(module, "reset_parameters", None)):
            again()
            return
        for p in weights:
            spread = float(p.double().std(correction=0)) or 1.0
            p.copy_(torch.randn(p.shape).to(p) * spread + p.mean())
