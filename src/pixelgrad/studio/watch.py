"""What is seen of a job while it runs: pictures along the way, and how sure the network is of the class."""

from __future__ import annotations

import io
import time

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import images
from ..classifier import Classifier
from ..gradient import Step
from .job import Job

SIDE = 320  # at most, of a picture along the way
FRAME_EVERY, CONFIDENCE_EVERY = 0.1, 0.25  # seconds
KEPT = 64  # pictures along the way at the end, or half as many
TOGETHER = 4  # pictures of a batch in one of those


class Watch:
    """The progress of a job. target: the class whose probability is drawn, if there is one."""

    def __init__(self, job: Job, model: Classifier, target: int | None) -> None:
        self._job, self._model, self._target = job, model, target
        self._framed = self._asked = 0.0
        self._seen, self._gap = 0, 1  # pictures made, and of how many one is kept
        self.frames: list[tuple[int, bytes]] = []  # step and JPEG, evenly thinned

    def __call__(self, step: Step) -> None:
        if step.pixels is not None:
            now, last = time.monotonic(), step.done == step.total
            if self._target is not None and (last or now - self._asked >= CONFIDENCE_EVERY):
                self._ask(step.done, step.pixels)
            if last or now - self._framed >= FRAME_EVERY:
                self._frame(step.done, step.pixels, last)
            if step.score is not None and bool(step.score.isfinite().all()):
                self._job.score = float(step.score.mean())
        self._job.between(step)

    @torch.no_grad()
    def _ask(self, step: int, pixels: Tensor) -> None:
        assert self._target is not None
        first = pixels[:1]
        size = self._model.preprocessing.size
        if size is not None and tuple(first.shape[-2:]) != size:
            first = self._model.preprocessing.differentiable(first)
        confidence = float(self._model(first.clamp(0, 1)).double().softmax(1)[0, self._target])
        self._job.curve.append((step, confidence))
        self._asked = time.monotonic()  # after it: the job is to get its share where this takes long

    def _frame(self, step: int, pixels: Tensor, last: bool) -> None:
        jpeg = small(pixels)
        self._job.frame = (step, jpeg)
        self._framed = time.monotonic()
        if len(self.frames) == KEPT:
            self.frames, self._gap = self.frames[::2], 2 * self._gap
        if last or self._seen % self._gap == 0:
            self.frames.append((step, jpeg))
        self._seen += 1


def small(pixels: Tensor) -> bytes:
    """Pictures of a batch side by side, as a small JPEG."""
    row = pixels.detach()[:TOGETHER]
    factor = SIDE / max(row.shape[-2:])
    if factor < 1:
        row = F.interpolate(row, [max(1, round(side * factor)) for side in row.shape[-2:]], mode="area")
    data = io.BytesIO()
    images.to_image(torch.cat(list(row), 2)).save(data, "JPEG", quality=85)
    return data.getvalue()
