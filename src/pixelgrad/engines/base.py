"""What an engine is, and what it gives its workers: one job, of which each does some shards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..allocator import freed_memory_kept
from ..batches import Unreadable, batches
from ..classifier import Classifier
from ..data import Data
from ..errors import EngineError
from ..models import load
from ..parts import Span, weights_of, write
from ..survey import Survey


@dataclass(frozen=True)
class Job:
    """All that a worker needs to know, plain enough to be sent to another process or machine. weights_hash: of the
    network's numbers; labels: the network's class for each of the data's; key: of the run."""

    survey: Survey
    data: Data
    model: str
    weights: str | None
    weights_hash: str
    device: str
    labels: tuple[int, ...]
    folder: Path
    key: str
    shard: int
    batch: int

    def network(self, device: str | None = None) -> Classifier:
        """The network, loaded by its name; once per worker."""
        model = load(self.model, self.weights, device or self.device)
        if weights_of(model) != self.weights_hash:
            raise EngineError(
                f"{self.model} has other weights in a worker than here; several workers load it by its name: "
                "say weights=FILE, or use workers=1"
            )
        return model

    def do(self, model: Classifier, number: int, report: Callable[[int], None]) -> None:
        """Do a shard and write its part."""
        rows = range(number * self.shard, min((number + 1) * self.shard, len(self.data)))
        unreadable: list[Unreadable] = []
        given = batches(self.data, rows, model, self.batch, self.labels, unreadable, report)
        with freed_memory_kept(), closing(given) as pictures:
            tensors = self.survey.part(model, pictures)
        write(self.folder, self.key, Span(number, number), tensors, unreadable)


class Watch(Protocol):
    """Who watches an engine at work, in the process that leads it."""

    def pictures(self, more: int) -> None:
        """So many pictures more are gone through; fewer where a part is begun again."""
        ...

    def part(self, number: int) -> None:
        """This part is written."""
        ...


class Engine(Protocol):
    """`run` does the shards that are missing, in any order, and comes back when all parts are written."""

    def run(self, job: Job, model: Classifier, missing: Sequence[int], watch: Watch) -> None: ...
