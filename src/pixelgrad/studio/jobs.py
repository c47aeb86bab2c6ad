"""The queue of a device, and its one thread: a network is used by nobody else.

Jobs wait in one queue. Small questions (the best guesses, a list of layers) are answered between the steps of the job
at work. A job that is paused lets others go before it: they run between two of its steps. One that has had its share
of time while others wait is ended: what follows a gradient gives what it has so far, and anything else is cancelled.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from ..errors import Cancelled, PixelgradError
from .job import FINAL, Job, Stopped
from .words import public

if TYPE_CHECKING:
    from ..gradient import Progress, Step

WAITING, PER_VISITOR = 32, 4
SHARE = 180.0  # seconds of work after which a job is ended, if others wait
QUESTIONS = 256  # that wait for an answer
REMEMBERED = 500  # jobs that are over
LEFT = 5.0  # seconds without a reader after which a job is given up
DEEP = 4  # paused jobs with others running in their pauses


class Full(PixelgradError):
    """The queue takes no more, in all or of this visitor."""


class Desk:
    """The queue of a device and its thread."""

    def __init__(self, waiting: int = WAITING, per_visitor: int = PER_VISITOR) -> None:
        self.most, self.per_visitor = waiting, per_visitor
        self.jobs: OrderedDict[str, Job] = OrderedDict()
        self._waiting: deque[Job] = deque()
        self._running: list[Job] = []  # the last one at work, those before it paused
        self._questions: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._idle: dict[str, Callable[[Progress], object]] = {}
        self._wake = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._loop, name="pixelgrad-device", daemon=True)
        self._thread.start()

    # ------------------------------------------------------------------ from any thread

    def submit(self, job: Job) -> None:
        """Put a job into the queue. Raises Full."""
        with self._wake:
            self._room(job.visitor)
            self._waiting.append(job)
            self.jobs[job.id] = job
            over = [key for key, old in self.jobs.items() if old.state in FINAL]
            for key in over[: max(0, len(over) - REMEMBERED)]:
                del self.jobs[key]
            self._count()
            self._wake.notify_all()

    def room(self, visitor: str) -> None:
        """Raises Full where a job of this visitor would not be taken."""
        with self._wake:
            self._room(visitor)

    def _room(self, visitor: str) -> None:
        mine = sum(job.visitor == visitor for job in (*self._waiting, *self._running))
        if len(self._waiting) >= self.most:
            raise Full(f"queue full: {self.most} jobs are waiting; try again in a while")
        if mine >= self.per_visitor:
            raise Full(f"queue full: {mine} jobs of yours are not done; wait, or cancel one")

    def ask(self, question: Callable[[], Any]) -> Future[Any]:
        """The answer to a small question, between the steps of whatever is at work. Raises Full."""
        future: Future[Any] = Future()
        with self._wake:
            if len(self._questions) >= QUESTIONS or self._closing:
                raise Full("queue full: too many questions; try again in a while")
            self._questions.append((future, question))
            self._wake.notify_all()
        return future

    def later(self, work: Callable[[Progress], object], key: str) -> None:
        """Work for when there is nothing else to do; it begins again when something came between."""
        with self._wake:
            self._idle.setdefault(key, work)
            self._wake.notify_all()

    def cancel(self, job: Job) -> None:
        """Stop a job, wherever it is."""
        with self._wake:
            job.cancelled = True
            if job in self._waiting:
                self._waiting.remove(job)
                self._count()
            elif job in self._running and job.state != "paused":
                self._wake.notify_all()
                return  # its thread says when it has stopped
            self._wake.notify_all()
        job.finish("cancelled")

    def pause(self, job: Job, paused: bool = True) -> None:
        """Let a job rest between two steps, or go on."""
        with self._wake:
            job.paused = paused
            self._wake.notify_all()

    def give_up(self) -> None:
        """Cancel the jobs whose visitors have left."""
        now = time.monotonic()
        for job in tuple(self.jobs.values()):
            if job.state not in FINAL and not job.stay and not job.readers and now - job.seen > LEFT:
                self.cancel(job)

    def close(self, seconds: float = 2.0) -> None:
        """Stop everything."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        for job in tuple(self.jobs.values()):
            self.cancel(job)
        self._thread.join(seconds)

    # ------------------------------------------------------------------ in the device's thread

    def _loop(self) -> None:
        while not self._closing:
            with self._wake:
                while not (self._questions or self._waiting or self._idle or self._closing):
                    self._wake.wait()
            self._answer()
            if not self._next() and self._idle:
                self._use_idleness(next(iter(self._idle)))

    def _next(self) -> bool:
        """Do the next job, if there is one."""
        with self._wake:
            if not self._waiting or self._closing:
                return False
            job = self._waiting.popleft()
            self._running.append(job)
            self._count()
        job.between = lambda step: self._between(job, step)
        job.state, job.started = "running", time.monotonic()
        job.changed()
        state = "failed"
        try:
            from ..gradient import pulsed  # of torch, which the page does not wait for

            with pulsed(lambda: self._pulse(job)):
                job.result = job.perform(job)
            state = "done"
        except Stopped:
            state = "cancelled"
        except Cancelled as error:
            state, job.error = "cancelled", str(error)
        except PixelgradError as error:
            job.error, job.field = public(error), getattr(error, "field", None)
        except Exception as error:
            traceback.print_exc()
            job.error = f"something went wrong here: {type(error).__name__}"
        with self._wake:
            self._running.remove(job)
            self._count()
        job.finish(state)
        job.perform = _nothing  # which holds pictures and settings
        return True

    def _between(self, job: Job, step: Step) -> None:
        """Between two steps of a job: answer, rest, stop."""
        job.done, job.total = step.done, step.total
        if job.paused and not job.cancelled:
            self._rest(job)
        self._pulse(job)
        job.changed()

    def _pulse(self, job: Job) -> None:
        """Between two passes through a network: answer, stop, end what has had its share."""
        self._answer()
        if job.cancelled or self._closing:
            raise Stopped
        finished = job.total > 0 and job.done >= job.total  # what comes then is only its result
        if job.seconds > SHARE and not (finished or job.cut) and self._others(job):
            job.cut = True
            raise Cancelled(f"ended after {SHARE / 60:.0f} minutes of work, because others are waiting")

    def _others(self, job: Job) -> bool:
        """Whether others wait, in the queue or to go on after a rest."""
        return bool(self._waiting) or any(not one.paused for one in self._running if one is not job)

    def _rest(self, job: Job) -> None:
        start, job.state = time.monotonic(), "paused"
        job.changed()
        while job.paused and not (job.cancelled or self._closing):
            self._answer()
            if len(self._running) > DEEP or not self._next():
                with self._wake:
                    if job.paused and not (self._questions or self._waiting or job.cancelled):
                        self._wake.wait(1.0)
        job.rested += time.monotonic() - start
        if not job.cancelled:
            job.state = "running"

    def _answer(self) -> None:
        while self._questions:
            future, question = self._questions.popleft()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(question())
                except Exception as error:
                    future.set_exception(error)

    def _use_idleness(self, key: str) -> None:
        def watch(step: Step) -> None:
            self._answer()
            if self._waiting or self._closing:
                raise Stopped

        try:
            self._idle[key](watch)
        except Stopped:
            return
        except Exception:
            traceback.print_exc()
        del self._idle[key]

    def _count(self) -> None:
        """Tell the jobs that wait how many are before them."""
        for i, job in enumerate(self._waiting):
            job.position = i + len(self._running)
            job.changed()
        for job in self._running:
            job.position = 0


def _nothing(job: Job) -> str:
    raise AssertionError("a job is done once")
