"""Several runs of the loop, one after the other, that are watched, interrupted and gone on with like one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .ascent import Outcome
from .checkpoint import load, save
from .gradient import Step, Work


def series(run: Callable[[int, Work], Outcome], count: int, work: Work, key: str) -> list[Outcome]:
    """The outcomes of run(0, …) to run(count − 1, …), each of as many steps; the last may be interrupted.

    The checkpoint holds the runs that are finished; the one at work has a file of its own beside it.
    """
    state = load(work.checkpoint, key, ["found"])
    found = [Outcome(**one) for one in state["found"]] if state else []
    now = None if work.checkpoint is None else work.checkpoint.with_name(f"{work.checkpoint.name}-now")
    if now is not None and state is None:
        now.unlink(missing_ok=True)  # left over from a run that was given up
    while len(found) < count and (not found or found[-1].interrupted is None):
        if work.checkpoint is not None:
            save(work.checkpoint, key, {"found": [vars(one) for one in found]})
        try:
            outcome = run(len(found), Work(_shifted(work, len(found), count), now, work.frames))
        except BaseException:
            if not found:  # nothing is lost
                _remove(work.checkpoint, now)
            raise
        found.append(outcome)
    if found[-1].interrupted is None:
        _remove(work.checkpoint, now)
    return found


def _shifted(work: Work, i: int, count: int) -> Callable[[Step], None] | None:
    """Where a run is, as where the whole is."""
    progress = work.progress
    if progress is None:
        return None
    return lambda step: progress(step._replace(done=step.done + i * step.total, total=count * step.total))


def _remove(*files: Path | None) -> None:
    for file in files:
        if file is not None:
            file.unlink(missing_ok=True)
