"""What every technique has: settings that are checked when it is made, and `run`."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from .allocator import freed_memory_kept
from .classifier import Classifier
from .declared import Declared
from .errors import ModelError, SettingError
from .gradient import Progress, Work
from .objectives.base import Objective
from .objectives.logit import Logit
from .objectives.of_class import OfClass, Target, classes
from .result import Result


class Technique(Declared):
    """A frozen set of settings. A subclass declares them with `setting()`, is registered by `@technique`, and
    writes `apply`."""

    one_by_one: ClassVar[bool] = False  # whether each picture becomes a file of its own
    needs_pixels: ClassVar[bool] = True  # whether it does nothing without a picture
    low_counts: ClassVar[bool] = False  # whether the low values of its maps are what counts
    extra: ClassVar[tuple[str, str] | None] = None  # a module that it needs, and the extra that brings it

    @property
    def own_size(self) -> bool:
        """Whether it takes photographs at their own size rather than as the network is given them."""
        return False

    def run(
        self,
        model: Classifier,
        pixels: Tensor | None = None,
        progress: Progress | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        frames: int = 0,
    ) -> Result:
        """The result of the technique on pixels (n, 3, h, w) in [0, 1].

        progress: called with a Step; it may raise Cancelled. checkpoint: a file in which a technique that follows a
        gradient keeps where it is; if it is there the run goes on from it, and at the end it is deleted.
        frames: about how many pictures along the way it keeps.
        """
        start = time.perf_counter()
        work = Work(progress, None if checkpoint is None else Path(checkpoint), frames)
        with model.borrowed(), freed_memory_kept():  # once for the whole of it
            result = self.apply(model, pixels, work)
        if not bool(result.pixels.isfinite().all() & result.score.isfinite().all()):
            raise ModelError(f"{model.name} gave numbers that are not finite (NaN or infinite) here")
        report = {**result.report, "seconds": time.perf_counter() - start}
        return replace(result, report=report, weights=model.weights)

    def apply(self, model: Classifier, pixels: Tensor | None, work: Work) -> Result:
        """The technique itself."""
        raise NotImplementedError


def need_pixels(technique: Technique, pixels: Tensor | None) -> Tensor:
    """The pixels, for a technique that does not go without."""
    if pixels is None:
        raise SettingError(f"{technique.name} looks at a picture: run(model, pixels)")
    return pixels


def aim(target: Target, objective: Objective | None) -> Objective:
    """The objective of the two settings: `target` is short for `objective=Logit(target)`."""
    if objective is not None and target is not None:
        raise SettingError("give target or objective, not both: a target is short for Logit(target)")
    return Logit(target) if objective is None else objective


def describe(
    model: Classifier, objective: Objective, score: Tensor, logits: Tensor
) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
    """For each image: a title, and the facts (what was scored, what the model says)."""
    probability = logits.double().softmax(1)
    predicted = logits.argmax(1)
    of_class = isinstance(objective, OfClass)
    asked = classes(logits, objective.resolve(model).target) if isinstance(objective, OfClass) else predicted
    titles, facts = [], []
    for i, (row, y, p) in enumerate(zip(probability, asked.tolist(), predicted.tolist(), strict=True)):
        says = {"predicted": model.label_of(p), "probability": float(row[p])}
        if of_class:
            titles.append(f"{model.label_of(y)} {float(row[y]):.1%}")
            says |= {"class": model.label_of(y), "class_probability": float(row[y])}
        else:
            titles.append(f"{objective!r} = {float(score[i]):.4g}")
        facts.append({**says, "score": float(score[i])})
    return tuple(titles), facts
