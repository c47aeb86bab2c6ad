"""What is seen of a job while it runs: pictures along the way, and how sure the network is of the class, or the score
that is followed where there is none."""

from __future__ import annotations

import io
import math
import time

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import images
from ..classifier import Classifier
from ..gradient import Step
from .job import Job

SIDE = 320  # at most, of a picture that is streamed
FRAME_EVERY, POINT_EVERY = 0.1, 0.25  # seconds
KEPT = 64  # pictures along the way at the end, of their own size; of large ones fewer
PIXELS = 32 * 2**20  # in all of those
TOGETHER = 4  # pictures of a batch in one of those


class Watch:
    """The progress of a job. target: the class that is followed, if it is one."""

    def __init__(self, job: Job, model: Classifier, target: int | None) -> None:
        self._job, self._model, self._target = job, model, target
        self._framed = self._asked = 0.0
        self._latest: Step | None = None
        self.frames: list[tuple[int, bytes]] = []  # step and JPEG, evenly spaced
        job.of = None if target is None else model.label_of(target)

    def __call__(self, step: Step) -> None:
        if step.pixels is not None:
            if self._latest is not None and step.pixels is self._latest.pixels:
                self._see(self._latest, True)  # all pictures were finished before the last step
            else:
                self._see(step, step.done == step.total)
                self._latest = step
        self._job.between(step)

    def _see(self, step: Step, last: bool) -> None:
        assert step.pixels is not None
        now, curve = time.monotonic(), self._job.curve
        if (last or now - self._asked >= POINT_EVERY) and not (curve and curve[-1][0] == step.done):
            point = self._point(step)
            if all(map(math.isfinite, point)):
                curve.append((step.done, *point))
            self._asked = time.monotonic()  # after it: the job is to get its share where this takes long
        if last or now - self._framed >= FRAME_EVERY:
            self._job.frame = (step.done, small(step.pixels))
            self._framed = time.monotonic()
        most = max(2, min(KEPT, PIXELS // step.pixels[:TOGETHER, 0].numel()))
        new = not self.frames or self.frames[-1][0] != step.done
        if new and (last or step.done % math.ceil(step.total / most) == 0):
            self.frames.append((step.done, jpeg(step.pixels)))

    @torch.no_grad()
    def _point(self, step: Step) -> tuple[float, ...]:
        """Probability and logit of the class in the first picture; or the score, which has the penalties in it."""
        if self._target is None:
            return () if step.score is None else (float(step.score.mean()),)
        assert step.pixels is not None
        first = step.pixels[:1]
        size = self._model.preprocessing.size
        if size is not None and tuple(first.shape[-2:]) != size:
            first = self._model.preprocessing.differentiable(first)
        logits = self._model(first.clamp(0, 1)).double()[0]
        return float(logits.softmax(0)[self._target]), float(logits[self._target])


def jpeg(pixels: Tensor, quality: int = 92) -> bytes:
    """Pictures of a batch side by side, in their own size."""
    row, data = pixels.detach()[:TOGETHER], io.BytesIO()
    images.to_image(torch.cat(list(row), 2)).save(data, "JPEG", quality=quality, subsampling=0)
    return data.getvalue()


def small(pixels: Tensor) -> bytes:
    """The same, to be streamed."""
    row = pixels.detach()[:TOGETHER]
    factor = SIDE / max(row.shape[-2:])
    if factor < 1:
        row = F.interpolate(row, [max(1, round(side * factor)) for side in row.shape[-2:]], mode="area")
    return jpeg(row, 85)
