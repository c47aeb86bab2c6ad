"""The one loop that follows a gradient: pixels change, weights stay.

    x = canvas(z)                     what is optimised, as pixels
    score, g = objective(transform(x)), ∂score/∂z
    z ← constrain(rule(z, g))

Each image goes by itself: it may be finished before the others and then leaves the batch, and its result does not
depend on its batch mates. All that a run continues from is one State; saved and loaded, it goes on bit for bit.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from . import images
from .classifier import LOGITS, Classifier
from .errors import Cancelled, ModelError, SettingError
from .gradient import Step, Work, evaluate
from .objectives.base import Objective
from .steps import Memory, Rule

SAVE_EVERY = 20.0  # seconds between two checkpoints


class Canvas(Protocol):
    """What is optimised. `rows` are the images of the batch that are still at work."""

    def start(self) -> Tensor:
        """The first parameter, (n, …)."""

    def pixels(self, z: Tensor, rows: Tensor) -> Tensor:
        """Pixels (m, 3, h, w) of the parameter (m, …), differentiable."""


class Seen(NamedTuple):
    """What a judge sees of a step: of the images at work, before they move."""

    step: int
    rows: Tensor
    pixels: Tensor
    logits: Tensor


class Verdict(NamedTuple):
    """Per image: how good it is (the lowest is kept; infinity: not at all), whether it is finished, and what the rule
    should find in its memory."""

    value: Tensor
    finished: Tensor
    note: Memory = {}  # noqa: RUF012 - never written to


Judge = Callable[[Seen], Verdict]
Transform = Callable[[Tensor, torch.Generator], Tensor]
Constraint = Callable[[Tensor, Tensor, int], Tensor]  # (z, rows, step) -> z


@dataclass(frozen=True)
class State:
    """Where a run is. `kept` are the pictures to be shown: the best judged, or the latest."""

    step: int
    z: Tensor
    rows: Tensor
    memory: Memory
    kept: Tensor
    value: Tensor
    score: Tensor
    gradients: Tensor
    random: Tensor
    frames: tuple[Tensor, ...] = ()


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
    constrain: Constraint | None = None,
    judge: Judge | None = None,
    frames_every: int = 0,
    seed: int = 0,
    revive: int = 0,
    work: Work,
    key: str = "",
) -> Outcome:
    """Follow the gradient of an objective for at most `steps` steps.

    judge: says after each forward pass how good a picture is; without one the latest is kept. revive: in the first so
    many steps the gradient passes rectifiers that are dead. key: what a
    checkpoint must have been made for. Raises ModelError where a gradient is not finite or zero everywhere.
    """
    objective = objective.resolve(model)
    state = _load(work, key) or _first(canvas, seed)
    saved = time.monotonic()
    try:
        while state.step < steps and len(state.rows):
            state = _step(state, model, objective, canvas, rule, transform, constrain, judge, frames_every, revive)
            if work.checkpoint is not None and time.monotonic() - saved > SAVE_EVERY:
                _save(work, key, state)
                saved = time.monotonic()
            if work.progress is not None:
                work.progress(Step(state.step, steps, state.kept, state.score))
    except (KeyboardInterrupt, Cancelled):
        if work.checkpoint is not None:
            _save(work, key, state)
        return _outcome(state, interrupted=state.step)
    if work.checkpoint is not None:
        work.checkpoint.unlink(missing_ok=True)
    return _outcome(state)


def _first(canvas: Canvas, seed: int) -> State:
    z = canvas.start()
    n = len(z)
    rows = torch.arange(n, device=z.device)
    with torch.no_grad():
        pixels = canvas.pixels(z, rows)
    return State(
        step=0,
        z=z,
        rows=rows,
        memory={},
        kept=pixels,
        value=torch.full((n,), torch.inf, device=z.device),
        score=torch.full((n,), -torch.inf, device=z.device, dtype=pixels.dtype),
        gradients=torch.zeros(n, dtype=torch.long, device=z.device),
        random=torch.Generator().manual_seed(seed).get_state(),
    )


def _step(
    state: State,
    model: Classifier,
    objective: Objective,
    canvas: Canvas,
    rule: Rule,
    transform: Transform | None,
    constrain: Constraint | None,
    judge: Judge | None,
    frames_every: int,
    revive: int,
) -> State:
    """The state after one more step. Nothing of the old one changes, so that it can be fallen back to."""
    rows, step = state.rows, state.step
    random = torch.Generator()
    random.set_state(state.random)
    with torch.enable_grad():
        z = state.z.detach().requires_grad_()
        pixels = canvas.pixels(z, rows)
        shown = pixels if transform is None else transform(pixels, random)
    evaluation = evaluate(
        model,
        objective.select(rows.tolist()),
        shown.detach(),
        keep=[LOGITS] if judge is not None else [],
        reviving=step < revive,
    )
    kept, value = state.kept, state.value
    score = state.score.index_copy(0, rows, evaluation.score)
    gradients = state.gradients.index_add(0, rows, torch.ones_like(rows))
    memory, old, g = state.memory, z, evaluation.gradient
    (g,) = torch.autograd.grad(shown, z, g)
    if judge is not None:
        verdict = judge(Seen(step, rows, pixels.detach(), evaluation.kept[LOGITS]))
        better = verdict.value < value[rows]
        value = value.index_copy(0, rows, torch.where(better, verdict.value, value[rows]))
        choice = better[:, None, None, None]
        kept = kept.index_copy(0, rows, torch.where(choice, pixels.detach(), kept[rows]))
        memory = memory | verdict.note
        stay = ~verdict.finished
        if not bool(stay.all()):
            rows, old, g = rows[stay], old[stay], g[stay]
            memory = {name: m[stay] for name, m in memory.items()}
    _check(model, objective, g, step)
    with torch.no_grad():
        new, memory = rule.step(old.detach(), g, memory, step)
        if constrain is not None:
            new = constrain(new, rows, step)
        if judge is None:
            kept = kept.index_copy(0, rows, canvas.pixels(new, rows))
    frames = state.frames
    if frames_every and (step + 1) % frames_every == 0:
        frames = (*frames, kept.cpu())
    return State(step + 1, new, rows, memory, kept, value, score, gradients, random.get_state(), frames)


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


def _save(work: Work, key: str, state: State) -> None:
    data = io.BytesIO()
    torch.save({"key": key, "state": dict(vars(state))}, data)
    assert work.checkpoint is not None
    images.write({work.checkpoint: data.getvalue()})


def _load(work: Work, key: str) -> State | None:
    """The state of a checkpoint, if there is one. Raises SettingError where it is of another run."""
    if work.checkpoint is None or not work.checkpoint.is_file():
        return None
    try:
        found = torch.load(work.checkpoint, weights_only=True)
        state = State(**found["state"])
    except Exception as error:  # whatever a damaged file makes torch raise
        raise SettingError(f"{work.checkpoint} is no checkpoint; delete it to start again") from error
    if found["key"] != key:
        raise SettingError(
            f"{work.checkpoint} is of another run (settings, model or pictures differ); "
            "delete it to start again"
        )
    return state
