"""One piece of work, and where it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .store import new_id

if TYPE_CHECKING:
    from ..gradient import Progress

FINAL = ("done", "failed", "cancelled")


class Stopped(BaseException):
    """Ends the work on a job. Not an Exception, nor Cancelled: a technique would keep the best so far."""


class Job:
    """One piece of work, and where it is. `perform` is given it and gives the id of its result."""

    def __init__(self, perform: Callable[[Job], str], visitor: str, stay: bool = False) -> None:
        self.id, self.perform, self.visitor, self.stay = new_id(), perform, visitor, stay
        self.state, self.position = "queued", 0
        self.done = self.total = 0
        self.before = 0  # steps that an earlier job has done
        self.of: str | None = None  # the class that is followed, if it is one
        self.curve: list[
            tuple[float, ...]
        ] = []  # step, and the class's probability and logit, or else the score
        self.frame: tuple[int, bytes] | None = None  # step and JPEG
        self.error: str | None = None
        self.field: str | None = None
        self.result: str | None = None
        self.cancelled = self.paused = False
        self.cut = False  # ended early, for those who wait
        self.started: float | None = None
        self.ended: float | None = None
        self.rested = 0.0  # seconds in pauses
        self.readers, self.seen = 0, time.monotonic()
        self.listeners: list[Callable[[], None]] = []
        self.between: Progress = lambda step: None

    def look(self) -> None:
        """Somebody asks about it."""
        self.seen = time.monotonic()

    def changed(self) -> None:
        """Tell whoever watches."""
        for listener in tuple(self.listeners):
            with suppress(RuntimeError):  # the listener's loop is closed
                listener()

    def finish(self, state: str) -> None:
        """The last state; the first one that is final counts."""
        if self.state not in FINAL:
            self.ended, self.state = time.monotonic(), state
            self.changed()

    @property
    def seconds(self) -> float:
        """How long it has been at work, without its pauses."""
        return 0.0 if self.started is None else (self.ended or time.monotonic()) - self.started - self.rested

    def snapshot(self) -> dict[str, Any]:
        """Where it is, as the page is told."""
        seconds = self.seconds
        latest = self.curve[-1][1:] if self.curve else ()
        confidence, logit = latest if len(latest) == 2 else (None, None)
        new = self.done - self.before
        running = self.state in ("running", "paused") and new > 0
        return {
            "id": self.id,
            "state": self.state,
            "position": self.position,
            "done": self.done,
            "total": self.total,
            "seconds": round(seconds, 3),
            "left": round(seconds / new * (self.total - self.done), 1) if running else None,
            "class": self.of,
            "confidence": confidence,
            "logit": logit,
            "score": latest[0] if len(latest) == 1 else None,
            "cut": self.cut,
            "error": self.error,
            "field": self.field,
            "result": self.result,
        }
