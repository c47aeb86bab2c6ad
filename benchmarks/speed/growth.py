"""How cost grows: time with pictures and with steps, the most memory with pictures and with their size.

Time is linear if a picture of many takes as long as one of few. Memory is bounded if further pictures, beyond those
that go through the network together, add little more than they are themselves; each of its points is a process of its
own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from statistics import median

import torch

import pixelgrad as pg
from benchmarks.frame import Curve, Row, turns
from benchmarks.setting import ROOT, Setting, most

NETWORK = "efficientnet_lite0"
COUNTS = (1, 2, 4, 8, 16, 32, 64)
STEPS = (1, 2, 4, 8, 16, 32)
SIDES = (112, 224, 448, 672)
LINEAR = 1.1  # goal, of a picture's time, or a step's
BOUNDED = 0.1  # goal, of a picture's memory while all go through the network together


def rows(setting: Setting) -> Iterator[Row | Curve]:
    """Up to four times as many pictures as elsewhere, up to twice as many steps."""
    model = pg.load(NETWORK)
    counts = tuple(n for n in COUNTS if n <= 4 * setting.images)
    steps = tuple(n for n in STEPS if n <= 2 * setting.images)
    pixels = setting.pictures(model, counts[-1])
    yield from linear(
        "images", counts, lambda n: lambda: pg.make("show/saliency").run(model, pixels[:n]), setting
    )
    yield from linear("steps", steps, lambda n: lambda: visualization(model, n), setting)
    yield from memory(counts, setting)


def linear(
    along: str, counts: tuple[int, ...], way: Callable[[int], Callable[[], object]], setting: Setting
) -> Iterator[Row | Curve]:
    """The curve, and the cost of one of the most over that of one of a quarter as many."""
    times = turns({str(n): way(n) for n in counts}, min(setting.rounds, 3))
    what = {"images": "saliency", "steps": "class visualization"}[along]
    values = tuple(median(times[str(n)]) for n in counts)
    yield Curve("growth", what, NETWORK, along, counts, values)
    few, many = counts[max(0, len(counts) - 3)], counts[-1]
    each = {n: tuple(t / n for t in times[str(n)]) for n in (few, many)}
    yield Row(
        "growth", f"{what}, one of {many} {along}", NETWORK, f"one of {few}", each[many], each[few], LINEAR
    )


def visualization(model: pg.Classifier, steps: int) -> object:
    return pg.make("follow/class-visualization", target=(1, 76), preset="course", steps=steps).run(model)


def memory(counts: tuple[int, ...], setting: Setting) -> Iterator[Row | Curve]:
    """The most memory of saliency, over that of a process that has only loaded the network."""
    nothing = peak(0, 224)
    by_count = {n: peak(n, 224) - nothing for n in counts}
    yield Curve("growth", "memory of saliency", NETWORK, "images", counts, tuple(by_count.values()), "MiB")
    n = min(16, setting.images)
    by_size = tuple(peak(n, side) - nothing for side in SIDES)
    yield Curve("growth", f"memory of saliency of {n}", NETWORK, "side in pixels", SIDES, by_size, "MiB")
    if counts[-1] >= 32:
        within = (by_count[8] - by_count[1]) / 7
        beyond = (by_count[counts[-1]] - by_count[16]) / (counts[-1] - 16)
        yield Row(
            "growth",
            f"memory, each picture from 16 to {counts[-1]}",
            NETWORK,
            "each from 1 to 8",
            (beyond,),
            (within,),
            BOUNDED,
            "pixels and map of one are 0.8 MiB",
            "MiB",
        )


def peak(n: int, side: int) -> float:
    """MiB, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.speed.growth", str(n), str(side)]
    found = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    return float(json.loads(found.stdout))


def main() -> None:
    n, side = map(int, sys.argv[1:])
    model = pg.load(NETWORK)
    pg.make("show/saliency").run(model, torch.rand(1, 3, 32, 32))
    if n:
        pg.make("show/saliency").run(model, torch.rand(n, 3, side, side))
    print(most())


if __name__ == "__main__":
    main()
