"""The events of a job as a stream (server-sent events): always the latest state; who reads slowly skips frames."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from .job import FINAL, Job

EVERY = 0.05  # seconds between two events, at least
STILL = 10.0  # seconds after which a state is sent again though nothing changed: who is gone is found out


async def stream(job: Job, closing: Callable[[], bool]) -> AsyncIterator[str]:
    """The states of a job until the last one, with what is new of its curve, and its latest frame."""
    loop, woken = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        loop.call_soon_threadsafe(woken.set)

    points, shown = 0, None
    job.readers += 1
    job.listeners.append(wake)
    try:
        yield "retry: 1000\n\n"
        while True:
            woken.clear()
            final = job.state in FINAL  # before the rest is read
            state: dict[str, Any] = job.snapshot()
            curve = job.curve[points:]
            points += len(curve)
            if curve:
                state["curve"] = curve
            if job.frame is not None and job.frame is not shown:
                shown = job.frame
                jpeg = base64.b64encode(shown[1]).decode()
                state["frame"] = {"index": shown[0], "url": f"data:image/jpeg;base64,{jpeg}"}
            yield f"event: {'end' if final else 'state'}\ndata: {json.dumps(state)}\n\n"
            if final or closing():
                return
            sent = time.monotonic()
            with suppress(TimeoutError):
                await asyncio.wait_for(woken.wait(), STILL)
            if job.state not in FINAL:
                await asyncio.sleep(max(0.0, EVERY - (time.monotonic() - sent)))
    finally:
        job.readers -= 1
        job.seen = time.monotonic()
        with suppress(ValueError):
            job.listeners.remove(wake)
