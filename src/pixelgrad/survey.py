"""What is done over a whole data set: shard by shard, in any order and on any machine, put together at the end.

    part      what one shard of the pictures gives          tensors
    merge     of parts, and of what was merged              tensors of the same kind
    finish    what a person looks at, made from the whole

`merge` is associative and commutative, so shards may be spread over any number of workers, and after an interruption
only those that are missing are done.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, NamedTuple, Self

from torch import Tensor

from .classifier import Classifier
from .data import Data
from .declared import Declared
from .gradient import Progress

Tensors = dict[str, Tensor]


class Batch(NamedTuple):
    """Pictures of a data set: pixels (n, 3, h, w) as the network takes them, their places in the data set (n,), and
    their classes as the network counts them (n,), −1 where they are not known."""

    pixels: Tensor
    ids: Tensor
    labels: Tensor


class Survey(Declared):
    """A frozen set of settings. A subclass declares them with `setting()`, is registered by `@survey`, and writes
    `part`, `merge` and `finish`."""

    needs_labels: ClassVar[bool] = False  # whether it says nothing of pictures whose class is not known
    costly: ClassVar[bool] = (
        False  # whether a picture takes so long that no interruption is to lose many of them
    )

    def prepare(self, model: Classifier) -> Self:
        """The same with what the network decides filled in (default layers by their names), so that runs can be
        told apart by their settings. Raises what is wrong with them before the work."""
        return self

    def part(self, model: Classifier, batches: Iterable[Batch]) -> Tensors:
        """What the pictures of one shard give. No result depends on how they are cut into batches."""
        raise NotImplementedError

    def merge(self, parts: Iterable[Tensors]) -> Tensors:
        """Several parts as one."""
        raise NotImplementedError

    def finish(
        self, model: Classifier, data: Data, whole: Tensors, folder: Path, progress: Progress | None = None
    ) -> tuple[str, ...]:
        """Write what a person looks at into the folder, and say in sentences what was found."""
        raise NotImplementedError
