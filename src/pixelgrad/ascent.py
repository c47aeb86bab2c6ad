"""The one loop that follows a gradient: pixels change, weights stay.

    x = canvas(z)                     what is optimised, as pixels
    score, g = objective(transform(x)), ∂score/∂z
    z ← constrain(rule(z, g))         and before a step: enter(z)

Each image goes by itself: it may be finished before the others and then leaves the batch, and its result does not
depend on its batch mates. All that a run continues from is one State; saved and loaded, it goes on bit for bit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import torch
from torch import Tensor

from .canvases import Canvas
from .checkpoint import State, load, save
from .classifier import Classifier
from .errors import Cancelled, ModelError
from .gradient import Evaluation, Step, Work, activations_of, evaluate
from .objectives.base import Objective
from .steps import Memory, Rule
from .transforms import Draw, Transform

SAVE_EVERY = 20.0  # seconds between two checkpoints


class Seen(NamedTuple):
    """What a judge sees of a step: of the images at work, before they move, their pixels and the activations that
    were asked for."""

    step: int
    rows: Tensor
    pixels: Tensor
    activations: Mapping[str, Tensor]


class Verdict(NamedTuple):
    """Per image: how good it is (the lowest is kept; infinity: not at all), whether it is finished, and what the rule
    should find in its memory."""

    value: Tensor
    finished: Tensor
    note: Memory = {}  # noqa: RUF012 - never written to


Judge = Callable[[Seen], Verdict]
# (model, objective, pixels, activations to keep, step) -> score and gradient
Measure = Callable[[Classifier, Objective, Tensor, Sequence[str], int], Evaluation]
Constraint = Callable[[Tensor, Tensor, int], Tensor]  # (z, rows, step) -> z


@dataclass(frozen=True)
class Outcome:
    """pixels (n, 3, h, w), the judge's value and the last score of each image (n,), gradients used (n,), frames, and
    the step after which it was interrupted, if it was."""

    pixels: Tensor
    value: Tensor
    score: Tensor
    gradients: Tensor
    frames: tuple[Tensor, ...]
    interrupted: int | None = None


def ascend(
    model: Classifier,
    objective: Objective,
    canvas: Canvas,
    rule: Rule,
    steps: int,
    *,
    transform: Transform | None = None,
    enter: Constraint | None = None,
    constrain: Constraint | None = None,
    judge: Judge | None = None,
    keep: Sequence[str] = (),
    measure: Measure | None = None,
    seed: int = 0,
    work: Work,
    frame: Callable[[int], bool] | None = None,
    key: str = "",
) -> Outcome:
    """Follow the gradient of an objective for at most `steps` steps.

    enter, constrain: what becomes of z before a step, and after it; without a judge its size may change. judge: says
    after each forward pass how good a picture is, from its activations `keep`; without one the latest picture is
    kept. measure: takes score and gradient in another way. frame: whether a picture is kept after so many steps,
    where any are; default: evenly spaced. key: what a checkpoint must have been made for. Raises ModelError where a
    gradient is not finite or zero everywhere.
    """
    objective = objective.resolve(model)
    loop = _Loop(model, objective, canvas, rule, steps, transform, enter, constrain, judge, keep, measure)
    found = load(work.checkpoint, key, [field.name for field in fields(State)])
    state = loop.first(seed) if found is None else State(**found)
    saved = time.monotonic()
    every = math.ceil(steps / work.frames) if work.frames else 0
    try:
        with model.borrowed():  # once for all the steps
            while state.step < steps and len(state.rows):
                after = loop.step(state)
                last = after.step == steps
                if every and (last or (frame(after.step) if frame else after.step % every == 0)):
                    picture = (after.kept.clamp(0, 1) * 255).round().to(torch.uint8).cpu()
                    after = replace(after, frames=(*after.frames, picture))
                state = after
                if work.checkpoint is not None and time.monotonic() - saved > SAVE_EVERY:
                    save(work.checkpoint, key, vars(state))
                    saved = time.monotonic()
                if work.progress is not None:
                    work.progress(Step(state.step, steps, state.kept, state.score))
    except (KeyboardInterrupt, Cancelled):
        if work.checkpoint is not None:
            save(work.checkpoint, key, vars(state))
        return _outcome(state, interrupted=state.step)
    if work.progress is not None and state.step < steps:  # every image was finished before
        work.progress(Step(steps, steps, state.kept, state.score))
    if len(state.rows):
        state = loop.last_look(state)
    if work.checkpoint is not None:
        work.checkpoint.unlink(missing_ok=True)
    return _outcome(state)


@dataclass(eq=False)
class _Loop:
    """What stays the same from step to step; and of the step before, the parameter, and its pixels with their graph."""

    model: Classifier
    objective: Objective
    canvas: Canvas
    rule: Rule
    steps: int
    transform: Transform | None
    enter: Constraint | None
    constrain: Constraint | None
    judge: Judge | None
    keep: Sequence[str]
    measure: Measure | None
    ahead: tuple[Tensor, Tensor, Tensor] | None = None  # z as the state has it, as the graph has it, pixels

    def first(self, seed: int) -> State:
        """The state before the first step."""
        z = self.canvas.start()
        n = len(z)
        rows = torch.arange(n, device=z.device)
        with torch.no_grad():
            pixels = self.canvas.pixels(z, rows)
        return State(
            step=0,
            z=z,
            rows=rows,
            memory={},
            kept=pixels,
            value=torch.full((n,), torch.inf, device=z.device, dtype=pixels.dtype),
            score=torch.full((n,), -torch.inf, device=z.device, dtype=pixels.dtype),
            gradients=torch.zeros(n, dtype=torch.long, device=z.device),
            random=torch.Generator().manual_seed(seed).get_state(),
        )

    def step(self, state: State) -> State:
        """The state after one more step. Nothing of the old one changes, so that it can be fallen back to."""
        rows, step = state.rows, state.step
        if self.ahead is not None and self.ahead[0] is state.z:
            _, z, pixels = self.ahead
        else:
            start = state.z.detach()
            if self.enter is not None:
                with torch.no_grad():
                    start = self.enter(start, rows, step)
            z, pixels = self._drawn(start, rows)
        with torch.enable_grad():
            shown, random = self._shown(pixels, state)
        views = len(shown) // max(1, len(rows))
        objective = self.objective.select(rows.tolist() * views)
        if self.measure is None:
            evaluation = evaluate(self.model, objective, shown.detach(), self.keep)
        else:
            evaluation = self.measure(self.model, objective, shown.detach(), self.keep, step)
        kept, value, memory, old = state.kept, state.value, state.memory, z
        score = evaluation.score.reshape(views, -1).mean(0).to(state.score)
        gradients = state.gradients.index_add(0, rows, torch.full_like(rows, views))
        (g,) = torch.autograd.grad(
            shown, z, evaluation.gradient / views if views > 1 else evaluation.gradient
        )
        if self.judge is not None:
            verdict = self.judge(Seen(step, rows, pixels.detach(), evaluation.kept))
            kept, value = _better(state, pixels.detach(), verdict.value)
            memory = memory | verdict.note
            stay = ~verdict.finished
            if not bool(stay.all()):
                rows, old, g = rows[stay], old[stay], g[stay]
                memory = {name: m[stay] for name, m in memory.items()}
        _check(self.model, objective, g, step)
        with torch.no_grad():
            new, memory = self.rule.step(old.detach(), g, memory, step)
            if self.constrain is not None:
                new = self.constrain(new, rows, step)
        self.ahead = None
        if self.judge is None:  # so that none has left the batch
            after, ahead = self._drawn(new, rows)
            kept = ahead.detach()
            if self.enter is None:  # the next step starts with them
                self.ahead = (new, after, ahead)
        return State(
            step + 1,
            new,
            rows,
            memory,
            kept,
            value,
            state.score.index_copy(0, state.rows, score),
            gradients,
            random.get_state(),
            state.frames,
        )

    def _drawn(self, z: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """A parameter to be differentiated at, and its pixels."""
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            return z, self.canvas.pixels(z, rows)

    def last_look(self, state: State) -> State:
        """The judge's word on where the last step has led; that takes no gradient."""
        if self.judge is None:
            return state
        with torch.no_grad():
            pixels = self.canvas.pixels(state.z, state.rows)
            found = activations_of(self.model, self._shown(pixels, state)[0], self.keep)
        verdict = self.judge(Seen(state.step, state.rows, pixels, found))
        kept, value = _better(state, pixels, verdict.value)
        return replace(state, kept=kept, value=value)

    def _shown(self, pixels: Tensor, state: State) -> tuple[Tensor, torch.Generator]:
        """What the network is shown of the pictures, and the random numbers after that."""
        random = torch.Generator()
        random.set_state(state.random)
        if self.transform is None:
            return pixels, random
        return self.transform(pixels, Draw(random, state.step / self.steps)), random


def _better(state: State, pixels: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """The pictures kept and their values, with those of the images at work that are better now."""
    rows = state.rows
    value = value.to(state.value)
    if len(rows) == len(state.kept):  # all are at work, in their order
        better = value < state.value
        pictures = torch.where(better[:, None, None, None], pixels, state.kept)
        return pictures, torch.where(better, value, state.value)
    better = value < state.value[rows]
    values = torch.where(better, value, state.value[rows])
    pictures = torch.where(better[:, None, None, None], pixels, state.kept[rows])
    return state.kept.index_copy(0, rows, pictures), state.value.index_copy(0, rows, values)


def _check(model: Classifier, objective: Objective, g: Tensor, step: int) -> None:
    """Explain a gradient that leads nowhere, in place of a grey picture."""
    size = g.flatten(1).abs().amax(1) if g.numel() else g.new_ones(1)
    if bool(((size > 0) & size.isfinite()).all()):
        return
    if not bool(size.isfinite().all()):
        raise ModelError(f"the gradient of {objective!r} on {model.name} is not finite after {step} steps")
    why = (
        "no unit on the way is active there; start from another picture or seed"
        if step == 0
        else "the output is saturated or the units on the way have died; take smaller steps"
    )
    raise ModelError(
        f"the gradient of {objective!r} on {model.name} is zero everywhere after {step} steps: {why}"
    )


def _outcome(state: State, interrupted: int | None = None) -> Outcome:
    return Outcome(state.kept, state.value, state.score, state.gradients, state.frames, interrupted)
