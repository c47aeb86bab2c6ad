"""A data set in memory, for tests of surveys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pixelgrad.data import Sample
from pixelgrad.survey import Batch


class InMemory:
    """Random pictures; their classes, by turns, are those of the data set."""

    root = "memory"

    def __init__(self, count: int, side: int, classes: Sequence[str] | None = None) -> None:
        random = np.random.default_rng(3)
        self.pixels = random.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
        self.classes = None if classes is None else tuple(classes)

    def __len__(self) -> int:
        return len(self.pixels)

    def fingerprint(self) -> str:
        return "memory"

    def label(self, i: int) -> int | None:
        return None if self.classes is None else i % len(self.classes)

    def read(self, start: int, stop: int) -> Iterator[Sample]:
        for i in range(start, min(stop, len(self))):
            yield Sample(i, f"{i}.png", self.label(i), Image.fromarray(self.pixels[i]))

    def batches(self, model, sizes: Sequence[int], ids: Sequence[int] | None = None) -> Iterator[Batch]:
        """Some of the pictures, or all, in batches of these sizes by turns."""
        left, turn = list(range(len(self)) if ids is None else ids), 0
        while left:
            size = sizes[turn % len(sizes)]
            some, left, turn = left[:size], left[size:], turn + 1
            images = [next(self.read(i, i + 1)).image for i in some]
            labels = [-1 if self.classes is None else i % len(self.classes) for i in some]
            pixels: Tensor = torch.cat([model.preprocessing(image) for image in images])
            yield Batch(pixels, torch.tensor(some), torch.tensor(labels))
