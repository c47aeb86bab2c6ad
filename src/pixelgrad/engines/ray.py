"""The shards of a survey on a Ray cluster (extra `scale`): actors that each load the network once.

    address=None     a Ray of its own on this machine, started and stopped with the run
    address="auto"   the cluster that this machine is a node of; or its address, HOST:6379

Every worker writes its parts into the run's folder, which must lie on storage that all nodes share, as must the data.
What a lost node was doing is done again by another. Ray runs without dashboard and usage statistics, and asks for a
token: on clusters the one in ~/.ray/auth_token, the same on every node (docs/scale.md).
"""

from __future__ import annotations

import copy
import dataclasses
import logging
import os
import warnings
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..classifier import Classifier
from ..errors import EngineError, PixelgradError
from .base import Job, Watch

TRIES = 3
PATIENCE = 60  # seconds without a worker until that is said


class Ray:
    """workers: how many actors, by default one for each CPU of the cluster, or GPU where the device is one."""

    def __init__(self, workers: int | None = None, address: str | None = None) -> None:
        self.workers, self.address = workers, address
        if find_spec("ray") is None:
            raise EngineError("the engine ray needs the scale extra: pip install 'pixelgrad[scale]'")

    def run(self, job: Job, model: Classifier, missing: Sequence[int], watch: Watch) -> None:
        """Do the missing shards."""
        job = _from_anywhere(job)
        gpu = job.device.startswith("cuda")
        with _cluster(self.address) as ray:
            there = ray.cluster_resources().get("GPU" if gpu else "CPU", 0)
            if there < 1:
                raise EngineError(f"the cluster has no {'GPU' if gpu else 'CPU'} to give")
            count = min(self.workers or int(there), len(missing))
            actor = ray.remote(num_cpus=1, num_gpus=1 if gpu else 0)(_Actor)
            _spread(ray, actor, ray.put(job), count, deque(missing), watch)


def _from_anywhere(job: Job) -> Job:
    """With whole paths: workers are in other folders than the one who leads them."""
    data = copy.copy(job.data)
    data.root = os.path.abspath(data.root)
    weights = None if job.weights is None else os.path.abspath(job.weights)
    return dataclasses.replace(job, folder=Path(os.path.abspath(job.folder)), data=data, weights=weights)


class _Actor:
    """A worker: the network, loaded once. What it returns is what went wrong, in one line."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def ready(self) -> str:
        try:
            self.model = self.job.network()
        except PixelgradError as error:
            return str(error)
        return ""

    def do(self, number: int) -> str:
        try:
            self.job.do(self.model, number, lambda more: None)
        except PixelgradError as error:
            return str(error)
        return ""


def _spread(ray: Any, actor: Any, job: Any, count: int, waiting: deque[int], watch: Watch) -> None:
    """Give shards to actors until all are done."""
    tries = Counter[int]()
    running: dict[
        Any, tuple[Any, int | None]
    ] = {}  # by the promise: the actor, and its shard (None: it begins)
    left = len(waiting)

    def begin() -> None:
        fresh = actor.remote(job)
        running[fresh.ready.remote()] = fresh, None

    try:
        for _ in range(count):
            begin()
        while left:
            done, _ = ray.wait(list(running), timeout=PATIENCE)
            if not done and all(number is None for _, number in running.values()):
                warnings.warn("no worker could begin yet: the cluster has no room", stacklevel=2)
            for promise in done:
                worker, number = running.pop(promise)
                try:
                    problem = ray.get(promise)
                except ray.exceptions.RayActorError:
                    begin()
                    if number is not None:
                        _again(tries, number)
                        waiting.appendleft(number)
                    continue
                if problem:
                    raise PixelgradError(problem)
                if number is not None:
                    watch.part(number)
                    left -= 1
                if waiting:
                    number = waiting.popleft()
                    running[worker.do.remote(number)] = worker, number
    finally:
        for worker, _ in running.values():
            ray.kill(worker)


def _again(tries: Counter[int], number: int) -> None:
    tries[number] += 1
    if tries[number] == TRIES:
        raise EngineError(f"part {number} has lost {TRIES} workers; is memory too small?")
    warnings.warn(f"a worker was lost in part {number}; another one does it again", stacklevel=3)


@contextmanager
def _cluster(address: str | None) -> Iterator[Any]:
    """Ray, started here or joined; left as it was found."""
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    if ray.is_initialized():
        yield ray
        return
    own: dict[str, Any] = {"include_dashboard": False} if address is None else {}
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **own)
    except Exception as error:  # a cluster that is not there, a token that is not its own: each in its way
        reason = str(error).strip().partition("\n")[0]
        raise EngineError(f"no Ray cluster at {address or 'this machine'}: {reason}") from error
    try:
        yield ray
    finally:
        ray.shutdown()
