"""What every benchmark of speed has in common: ways that take turns, medians, and what a comparison says.

The machine is never as fast as a minute ago, so numbers are only compared that were measured in turns.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Way = Callable[[], object]
Times = dict[str, tuple[float, ...]]

LEAST = 3  # rounds, however long they take


@dataclass(frozen=True)
class Row:
    """pixelgrad's values, one for each round, and those of something else; or only pixelgrad's.

    goal: the most that the ratio of the medians, or the median itself, may be. note: what else was seen.
    """

    benchmark: str
    what: str
    network: str
    against: str
    own: tuple[float, ...]
    other: tuple[float, ...] = ()
    goal: float | None = None
    note: str = ""
    unit: str = "s"

    @property
    def figure(self) -> float:
        """The ratio of the medians; where there is nothing to compare with, pixelgrad's median."""
        own = statistics.median(self.own)
        return own / statistics.median(self.other) if self.other else own

    @property
    def met(self) -> bool | None:
        """Whether the goal is; None where there is none."""
        return None if self.goal is None else self.figure <= self.goal

    @property
    def title(self) -> str:
        """What is compared with what."""
        what = f"{self.what} : {self.against}" if self.against else self.what
        return f"{self.network}  {what}" if self.network else what

    def __str__(self) -> str:
        goal = "" if self.goal is None else f" (goal {self.goal:.2f}: {'met' if self.met else 'missed'})"
        values = [statistics.median(v) for v in (self.own, self.other) if v]
        each = " : ".join(f"{value:.3g} {self.unit}" for value in values)
        note = f"; {self.note}" if self.note else ""
        return f"{self.figure:6.2f}{goal}  {self.title}   {each}{note}"


@dataclass(frozen=True)
class Curve:
    """How something grows: `values` in `unit` at each of the numbers `at` of `along`."""

    benchmark: str
    what: str
    network: str
    along: str
    at: tuple[float, ...]
    values: tuple[float, ...]
    unit: str = "s"

    def __str__(self) -> str:
        points = "  ".join(f"{x:g}: {y:.3g}" for x, y in zip(self.at, self.values, strict=True))
        return f"        {self.network}  {self.what} in {self.unit}, by {self.along}   {points}"


def turns(
    ways: Mapping[str, Way],
    rounds: int,
    seconds: float = 20.0,
    clock: Callable[[], float] = time.perf_counter,
) -> Times:
    """Seconds that each way took in each round, after one run of each that does not count. The ways take turns, in
    every other round from the last to the first. Once `seconds` have gone, LEAST rounds are enough."""
    for way in ways.values():
        way()
    times: dict[str, list[float]] = {name: [] for name in ways}
    begin = clock()
    for i in range(rounds):
        if i >= LEAST and clock() - begin > seconds:
            break
        for name in list(ways)[:: -1 if i % 2 else 1]:
            times[name].append(timed(ways[name], clock))
    return {name: tuple(found) for name, found in times.items()}


def alongside(
    run: Callable[[Callable[[Any], None]], object],
    others: Mapping[str, Way],
    clock: Callable[[], float] = time.perf_counter,
) -> Times:
    """Seconds of each step of a technique, "own", and of other ways, each of which has its turn after every step.

    run: runs the technique with a progress callback. The first step, which has what comes before it, does not count.
    """
    times: dict[str, list[float]] = {name: [] for name in ("own", *others)}
    last: list[float] = []

    def progress(_: Any) -> None:
        now = clock()
        if last:
            times["own"].append(now - last[-1])
        for name, way in others.items():
            took = timed(way, clock)
            if last:
                times[name].append(took)
        last.append(clock())

    run(progress)
    return {name: tuple(found) for name, found in times.items()}


def timed(way: Way, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds that it takes once."""
    start = clock()
    way()
    return clock() - start
