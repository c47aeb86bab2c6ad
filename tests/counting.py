"""A survey for tests of what runs surveys: whole numbers that are other ones where a picture is missing, twice there,
decoded in another way or taken for another class."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable
from pathlib import Path

import torch

from pixelgrad import images
from pixelgrad.gradient import Step
from pixelgrad.registry import setting
from pixelgrad.survey import Batch, Survey, Tensors


@dataclasses.dataclass(frozen=True)
class Counting(Survey):
    """Counts and sums."""

    name = "find/counting"

    weight: int = setting(1, lo=1, hi=9, help="of a picture")
    pause: float = setting(0.0, lo=0, hi=10, help="rest after each batch", unit="s")

    def part(self, model, batches: Iterable[Batch]) -> Tensors:
        """Pictures by predicted class, and sums over pictures."""
        found = {
            "predicted": torch.zeros(len(model.labels), dtype=torch.long),
            "sums": torch.zeros(4, dtype=torch.long),
        }
        for pixels, ids, labels in batches:
            with torch.no_grad():
                predicted = model(pixels).argmax(1)
            found["predicted"] += predicted.bincount(minlength=len(model.labels))
            values = (pixels * 255).round().long().sum((1, 2, 3))
            sums = torch.stack([torch.ones_like(ids), values, values * (ids + 1), (labels + 1) * (ids + 7)])
            found["sums"] += self.weight * sums.sum(1)
            time.sleep(self.pause)
        return found

    def merge(self, parts: Iterable[Tensors]) -> Tensors:
        """Added up."""
        whole: Tensors = {}
        for part in parts:
            whole = {name: whole[name] + part[name] for name in part} if whole else part
        return whole

    def finish(self, model, data, whole, folder: Path, progress=None) -> tuple[str, ...]:
        """The numbers as a file."""
        words = " ".join(str(v) for name in sorted(whole) for v in whole[name].tolist())
        images.write({folder / "counts.txt": words.encode()})
        if progress is not None:
            progress(Step(1, 1))
        return (f"{int(whole['sums'][0]) // self.weight} pictures were counted",)
