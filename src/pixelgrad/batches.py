"""The pictures of a data set as batches, read, decoded and resized in threads while the network works.

Pictures come in their order, a bounded number of them ahead, so memory does not grow with the data.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import torch
from torch import Tensor

from .classifier import Classifier
from .data import Data
from .errors import DataError
from .images import quiet
from .preprocessing import Preprocessing
from .survey import Batch

TASK = 8  # pictures that a thread takes at a time


class Unreadable(NamedTuple):
    """A picture that could not be read: its place in the data set, what it is called there, and why."""

    id: int
    name: str
    reason: str


class Read(NamedTuple):
    """Some pictures: pixels, places and classes of those that could be read, and the others."""

    pixels: list[Tensor]
    ids: list[int]
    labels: list[int]
    unreadable: list[Unreadable]


def batches(
    data: Data,
    rows: range,
    model: Classifier,
    size: int,
    labels: tuple[int, ...],
    unreadable: list[Unreadable],
    report: Callable[[int], None],
) -> Generator[Batch]:
    """The pictures of some consecutive places, `size` together. labels: the network's class for each of the data's.
    What cannot be read is added to `unreadable`; `report` is told how many pictures more were gone through."""
    # now, since the survey may compute on one thread while it goes through the batches
    threads = max(2, torch.get_num_threads())
    return _batches(data, rows, model, size, labels, unreadable, report, threads)


def _batches(
    data: Data,
    rows: range,
    model: Classifier,
    size: int,
    labels: tuple[int, ...],
    unreadable: list[Unreadable],
    report: Callable[[int], None],
    threads: int,
) -> Generator[Batch]:
    starts = deque(range(rows.start, rows.stop, TASK))
    ahead = -(-size // TASK) + 2 * threads
    pool = ThreadPoolExecutor(threads)
    waiting: deque[Future[Read]] = deque()
    ready = Read([], [], [], [])
    lost = 0
    try:
        with quiet():
            while starts or waiting:
                while starts and len(waiting) < ahead:
                    start = starts.popleft()
                    stop = min(start + TASK, rows.stop)
                    waiting.append(pool.submit(_read, data, start, stop, model.preprocessing, labels))
                found = waiting.popleft().result()
                ready.pixels.extend(found.pixels)
                ready.ids.extend(found.ids)
                ready.labels.extend(found.labels)
                ready.unreadable.extend(found.unreadable)
                while len(ready.ids) >= size or (ready.ids and not waiting and not starts):
                    yield _cut(ready, size, model.device)
                    report(min(size, len(ready.ids)))
                    for have in ready[:3]:
                        del have[:size]
                report(len(ready.unreadable) - lost)
                lost = len(ready.unreadable)
    finally:
        pool.shutdown(cancel_futures=True)
        unreadable += ready.unreadable


def _cut(ready: Read, size: int, device: torch.device) -> Batch:
    pixels = torch.cat(ready.pixels[:size]).to(device)
    return Batch(pixels, torch.tensor(ready.ids[:size]), torch.tensor(ready.labels[:size]))


def _read(data: Data, start: int, stop: int, prepare: Preprocessing, labels: tuple[int, ...]) -> Read:
    found = Read([], [], [], [])
    try:
        for sample in data.read(start, stop):
            if isinstance(sample.image, str):
                found.unreadable.append(Unreadable(sample.id, sample.name, sample.image))
                continue
            try:
                found.pixels.append(prepare(sample.image))
            except (
                ValueError,
                RuntimeError,
                MemoryError,
            ) as error:  # a strip so long that no resizing does it
                reason = f"cannot be resized: {error}".partition("\n")[0]
                found.unreadable.append(Unreadable(sample.id, sample.name, reason))
                continue
            found.ids.append(sample.id)
            found.labels.append(-1 if sample.label is None else labels[sample.label])
    except OSError as error:  # not a picture's fault: the storage is gone
        raise DataError(f"{data.root} cannot be read: {(error.strerror or str(error)).lower()}") from error
    return found
