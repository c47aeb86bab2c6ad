"""The one idea: a score on the network's activations, and its gradient with respect to the pixels.

    score_i = objective(activations of image i)          (n,)
    gradient_i = ∂score_i / ∂pixels_i                    (n, 3, h, w)

No weight gradient is computed, the forward pass stops at the deepest layer that the objective needs, and the
batch is cut to the memory there is. No result depends on the cut, nor on the other images of the batch.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from .classifier import LOGITS, PIXELS, Classifier, is_out_of_memory
from .errors import ModelError
from .objectives.base import Objective

# Pictures of 224×224 that go through a network together. On a CPU 8 are within 4 % of the best number for the
# networks measured, and 32 take up to 1.5 times as long: their activations leave the caches. A GPU takes more. Where
# memory runs out the number goes down, for the rest of the process.
TOGETHER: dict[str, float] = {"cpu": 8}
TOGETHER_ON_GPU = 256


class Step(NamedTuple):
    """Where a technique is: `done` of `total`; if it follows a gradient, the pictures so far and their scores."""

    done: int
    total: int
    pixels: Tensor | None = None
    score: Tensor | None = None


Progress = Callable[[Step], None]
# around the backward pass of a score: how the gradient goes through the network (rules.py, revive.py)
Rule = Callable[[Tensor], AbstractContextManager[None]]


_pulse: ContextVar[Callable[[], None] | None] = ContextVar("pulse", default=None)


@contextmanager
def pulsed(pulse: Callable[[], None]) -> Iterator[None]:
    """Inside, `pulse` is called before every pass through a network that is cut to memory, whoever asks for it: also
    where a technique uses another one and tells nobody how far that is. What it raises ends the work."""
    before = _pulse.set(pulse)
    try:
        yield
    finally:
        _pulse.reset(before)


class Work(NamedTuple):
    """Who watches a technique at work, the file in which long work keeps where it is, and about how many pictures
    along the way are kept."""

    progress: Progress | None = None
    checkpoint: Path | None = None
    frames: int = 0


class Evaluation(NamedTuple):
    """Score (n,), gradient (n, 3, h, w) and the activations that were asked for besides."""

    score: Tensor
    gradient: Tensor
    kept: dict[str, Tensor]


class AtLayer(NamedTuple):
    """Score (n,), activations (n, ...) of a layer, the score's gradient with respect to them, and what was kept."""

    score: Tensor
    activations: Tensor
    gradient: Tensor
    kept: dict[str, Tensor]


def gradient(model: Classifier, objective: Objective, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Score (n,) and its gradient (n, 3, h, w) with respect to pixels (n, 3, h, w) in [0, 1]."""
    score, grad, _ = evaluate(model, objective, pixels)
    return score, grad


def evaluate(
    model: Classifier,
    objective: Objective,
    pixels: Tensor,
    keep: Iterable[str] = (),
    chunk: int | None = None,
    progress: Progress | None = None,
    rule: Rule | None = None,
) -> Evaluation:
    """Score, gradient, and the activations `keep` of the same forward pass.

    chunk: images at once (default: by their size; halved whenever memory runs out). rule: another way back
    through rectifiers than the gradient's; called with the scores of each chunk.
    """
    objective, keep, n = objective.resolve(model), tuple(keep), len(pixels)
    parts = []

    def work(rows: slice) -> None:
        parts.append(_one(model, objective, pixels, rows, keep, rule))

    with model.borrowed():  # once for all the parts
        for rows in cuts(pixels, chunk, work):
            if progress is not None:
                progress(Step(rows.stop, n))
    if not parts:
        raise ModelError("no images: pixels are (0, 3, height, width)")
    if len(parts) == 1:
        return parts[0]
    kept = {name: torch.cat([p.kept[name] for p in parts]) for name in keep}
    return Evaluation(torch.cat([p.score for p in parts]), torch.cat([p.gradient for p in parts]), kept)


def evaluate_each(
    model: Classifier, objective: Objective, variants: Iterable[Tensor], several: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Score (n,) and gradient (n, 3, h, w) at each of the variants (n, 3, h, w) of a batch, `several` at once (see
    `several_of`). Variants may leave [0, 1]."""
    variants = iter(variants)
    while block := list(islice(variants, several)):
        repeated = objective.select([*range(len(block[0]))] * len(block))
        with model.any_range():
            found = evaluate(model, repeated, torch.cat(block))
        yield from zip(found.score.chunk(len(block)), found.gradient.chunk(len(block)), strict=True)


def several_of(pixels: Tensor) -> int:
    """How many variants of a batch go through the network together: several of a small one, one of a large one."""
    return max(1, _together(pixels) // max(1, len(pixels)))


def at_layer(
    model: Classifier,
    objective: Objective,
    pixels: Tensor,
    layer: str,
    keep: Iterable[str] = (),
    progress: Progress | None = None,
) -> Iterator[AtLayer]:
    """Score, activations of a layer, and the gradient with respect to those: for one part of the batch after the
    other, since activations may be large. The backward pass ends at the layer."""
    objective, keep = objective.resolve(model), tuple(keep)
    parts: list[AtLayer] = []

    def work(rows: slice) -> None:
        chosen = objective.select(rows)
        with torch.inference_mode(False), torch.enable_grad(), model.borrowed():
            # nothing before the layer is differentiated, so that it needs no graph
            activations = model.activations(
                pixels[rows].detach(), (*chosen.needs, layer, *keep), nodes=False, begin=layer
            )
            values, score = activations[layer], _score(chosen, activations)
            grad = None
            if score.requires_grad:
                (grad,) = torch.autograd.grad(score.sum(), values, allow_unused=True)
            if grad is None:
                raise ModelError(f"{objective!r} does not depend on layer {layer!r}; choose an earlier one")
        kept = {name: activations[name].detach() for name in keep}
        parts.append(AtLayer(score.detach(), values.detach(), grad, kept))

    for rows in cuts(pixels, None, work):
        yield parts.pop()
        if progress is not None:
            progress(Step(rows.stop, len(pixels)))


@torch.no_grad()
def activations_of(model: Classifier, pixels: Tensor, names: Iterable[str]) -> dict[str, Tensor]:
    """The named activations, cut to the memory there is, without a gradient."""
    names, parts = tuple(names), list[dict[str, Tensor]]()
    for _ in cuts(pixels, None, lambda rows: parts.append(model.activations(pixels[rows], names))):
        pass
    if not parts:
        raise ModelError("no images: pixels are (0, 3, height, width)")
    return {name: torch.cat([part[name] for part in parts]) for name in names}


def logits_of(model: Classifier, pixels: Tensor) -> Tensor:
    """Logits (n, classes), cut to the memory there is, without a gradient."""
    return activations_of(model, pixels, [LOGITS])[LOGITS]


def _one(
    model: Classifier,
    objective: Objective,
    pixels: Tensor,
    rows: slice,
    keep: tuple[str, ...],
    rule: Rule | None,
) -> Evaluation:
    objective = objective.select(rows)
    # also inside a caller's no_grad or inference_mode
    with torch.inference_mode(False), torch.enable_grad(), model.borrowed():
        x = pixels[rows].detach()
        x = (x.clone() if x.is_inference() else x).requires_grad_()
        activations = model.activations(x, (*objective.needs, *keep), nodes=rule is not None)
        score = _score(objective, activations)
        if not score.requires_grad:
            raise ModelError(f"{objective!r} has no gradient: {model.name} cuts the graph to the pixels")
        with nullcontext() if rule is None else rule(score):
            (grad,) = torch.autograd.grad(score.sum(), x, materialize_grads=True)
    kept = {name: activations[name].detach() for name in keep}
    return Evaluation(score.detach(), grad, kept)


def _score(objective: Objective, activations: dict[str, Tensor]) -> Tensor:
    """The score of each image, (n,)."""
    score = objective(activations)
    if score.shape != activations[PIXELS].shape[:1]:
        shape = tuple(score.shape)
        raise ModelError(f"{objective!r} gave {shape}; an objective gives one score per image")
    return score


def cuts(pixels: Tensor, chunk: int | None, work: Callable[[slice], object]) -> Iterator[slice]:
    """Do `work` on consecutive rows of a batch, with fewer at once whenever memory runs out."""
    kind, size = pixels.device.type, _size(pixels)
    if chunk is None:
        chunk = _together(pixels)
    start = 0
    while start < len(pixels):
        rows = slice(start, min(start + chunk, len(pixels)))
        if (pulse := _pulse.get()) is not None:
            pulse()
        try:
            work(rows)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if rows.stop - rows.start == 1:
                height, width = pixels.shape[-2:]
                raise ModelError(f"memory is too small for one picture of {height}×{width}") from error
            chunk = (rows.stop - rows.start) // 2
            TOGETHER[kind] = chunk * size
            warnings.warn(
                f"memory is too small for {rows.stop - rows.start} pictures at once; going on with {chunk}",
                stacklevel=4,
            )
            continue
        start = rows.stop
        yield rows


def _together(pixels: Tensor) -> int:
    """How many pictures of this size go through a network together."""
    return max(1, int(TOGETHER.get(pixels.device.type, TOGETHER_ON_GPU) / _size(pixels)))


def _size(pixels: Tensor) -> float:
    """Of one picture, in pictures of 224×224."""
    return pixels[0, 0].numel() / 224**2 if len(pixels) else 1
