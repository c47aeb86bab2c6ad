"""The shards of a survey on this machine: in this process, or in several that have a network each.

A worker that is killed is replaced, and what it was doing is done again, at most TRIES times. Workers end when the
process that leads them does, however that ends.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
import warnings
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait

import torch

from ..classifier import Classifier
from ..errors import EngineError, PixelgradError
from .base import Job, Watch

TRIES = 3


class Local:
    """workers: how many processes; 1 is this one."""

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers

    def run(self, job: Job, model: Classifier, missing: Sequence[int], watch: Watch) -> None:
        """Do the missing shards."""
        count = min(self.workers, len(missing))
        if count > 1:
            _several(job, count, deque(missing), watch)
            return
        for number in missing:
            job.do(model, number, watch.pictures)
            watch.part(number)


class Worker:
    """A process with a network of its own, the shard that it is doing, and how many pictures of that it has done."""

    def __init__(self, job: Job, device: str, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(job, device, threads, theirs), daemon=True)
        self.process.start()
        theirs.close()  # so that the pipe ends when the process does
        self.number: int | None = None
        self.pictures = 0

    def take(self, number: int) -> None:
        """Begin a shard."""
        self.number, self.pictures = number, 0
        with suppress(OSError):  # it is gone: that is noticed when it is listened to
            self.pipe.send(number)

    def end(self) -> None:
        """Whatever it is doing."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _several(job: Job, count: int, waiting: deque[int], watch: Watch) -> None:
    threads = max(1, torch.get_num_threads() // count)
    tries = Counter[int]()
    workers: dict[int, Worker] = {}
    try:
        while waiting or workers:
            for place in range(count):
                if waiting and place not in workers:
                    workers[place] = Worker(job, _device(job.device, place), threads)
                    workers[place].take(waiting.popleft())
            wait([worker.pipe for worker in workers.values()])
            for place, worker in list(workers.items()):
                if not worker.pipe.poll():
                    continue
                alive = _listen(worker, watch)
                if not alive:
                    _again(worker, tries, waiting, watch)
                elif worker.number is None and waiting:
                    worker.take(waiting.popleft())
                if worker.number is None:
                    workers.pop(place).end()
    finally:
        for worker in workers.values():
            worker.end()


def _listen(worker: Worker, watch: Watch) -> bool:
    """Hear one thing from a worker; False where it is no more."""
    try:
        kind, value = worker.pipe.recv()
    except (EOFError, OSError):
        return False
    if kind == "pictures":
        worker.pictures += value
        watch.pictures(value)
    elif kind == "warning":
        warnings.warn(value, stacklevel=2)
    elif kind == "part":
        watch.part(value)
        worker.number = None
    else:
        raise (PixelgradError if kind == "error" else RuntimeError)(value)
    return True


def _again(worker: Worker, tries: Counter[int], waiting: deque[int], watch: Watch) -> None:
    """What a lost worker was doing goes to another one."""
    worker.process.join()
    code, number = worker.process.exitcode or 0, worker.number
    assert number is not None  # one that has nothing to do is ended
    how = f"was killed (signal {-code})" if code < 0 else f"ended (exit code {code})"
    tries[number] += 1
    if tries[number] == TRIES:
        raise EngineError(f"part {number} has lost {TRIES} workers, the last {how}: is memory too small?")
    warnings.warn(f"a worker {how} in part {number}; another one does it again", stacklevel=2)
    watch.pictures(-worker.pictures)
    waiting.appendleft(number)
    worker.number = None


def _device(device: str, place: int) -> str:
    """The device of a worker: all GPUs in turn, where the first is meant."""
    return f"cuda:{place % torch.cuda.device_count()}" if device in ("cuda", "cuda:0") else device


def _work(job: Job, device: str, threads: int, pipe: Connection) -> None:
    """What a worker does: shard after shard, until it is ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one who leads is interrupted, and ends the others
    threading.Thread(target=_end_with_leader, daemon=True).start()
    torch.set_num_threads(threads)
    warnings.showwarning = lambda message, *_, **__: pipe.send(("warning", str(message)))
    try:
        model = job.network(device)
        while True:
            number = pipe.recv()
            job.do(model, number, lambda more: pipe.send(("pictures", more)))
            pipe.send(("part", number))
    except PixelgradError as error:
        pipe.send(("error", str(error)))
    except Exception:
        pipe.send(("fault", f"a worker failed:\n{traceback.format_exc()}"))


def _end_with_leader() -> None:
    leader = multiprocessing.parent_process()
    assert leader is not None
    leader.join()
    os._exit(1)
