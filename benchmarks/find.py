"""How fast a survey goes through a data set, against the network alone; and that its memory stays flat.

    python -m benchmarks.find DATA [--pictures 5000] [--models tinynet,efficientnet_lite0] [--no-memory]

DATA is a folder of pictures, such as TinyImageNet's `train`. Bare: the same network on tensors that are ready in
memory, on all cores at once, the faster of two sizes of batch. Engine: pictures from disk, decoded and resized, through
the network in a worker per core, in a survey that only asks for the logits; then find/patches with its defaults. Rates
are from the first part that is written to the last, so they are without the start of the workers (named apart); both
are measured in turns in one run, and the best counts. Memory is the most that a process ever had.
"""

from __future__ import annotations

import argparse
import dataclasses
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

import pixelgrad as pg
from benchmarks.setting import most
from pixelgrad.batches import batches
from pixelgrad.blocks import blocks, steady
from pixelgrad.classifier import LOGITS
from pixelgrad.data import Data
from pixelgrad.datasets import open_data
from pixelgrad.survey import Batch, Survey, Tensors

ROUNDS = 2


@dataclasses.dataclass(frozen=True)
class Forward(Survey):
    """Only the logits: what reading and the engine cost, without a survey's own work."""

    name = "find/forward"

    def part(self, model: pg.Classifier, batches: Iterable[Batch]) -> Tensors:
        with steady(model):
            return {"n": torch.tensor([sum(len(block.ids) for block in blocks(model, batches, [LOGITS]))])}

    def merge(self, parts: Iterable[Tensors]) -> Tensors:
        return {"n": torch.stack([part["n"] for part in parts]).sum(0)}

    def finish(
        self, model: Any, data: Data, whole: Tensors, folder: Path, progress: Any = None
    ) -> tuple[str, ...]:
        return ()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data")
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--models", default="tinynet,efficientnet_lite0")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)  # this many pictures in this process
    options = parser.parse_args()
    data = open_data(options.data)
    if options.measure:
        print(peak(data, options.measure))
        return
    print(f"{torch.get_num_threads()} cores, {options.pictures:,} pictures of {options.data}")
    for name in options.models.split(","):
        speed(name, few(data, options.pictures))
    if not options.no_memory:
        for n in (1_000, min(50_000, len(data))):
            command = [sys.executable, "-m", "benchmarks.find", options.data, "--measure", str(n)]
            found = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
            print(f"memory of find/patches of tinynet over {n:6,} pictures, one worker: {found} MiB")


def speed(name: str, data: Data) -> None:
    """Print pictures per second, bare and through the engine."""
    model = pg.load(name)
    size = model.preprocessing.size
    assert size is not None
    ready = torch.cat([b.pixels for b in batches(data, range(512), model, 64, labels(data), [], ignore)])
    bare, engine, patches, start = 0.0, 0.0, 0.0, 0.0
    for _ in range(ROUNDS):
        bare = max(bare, *(forward(model, ready, len(data), b) for b in (8, 64)))
        rate, start = through(Forward(), model, data)
        engine = max(engine, rate)
        patches = max(patches, through(pg.make("find/patches"), model, data)[0])
    print(f"{name}, {size[0]}×{size[1]}: bare {bare:.0f}/s")
    print(
        f"  engine        {engine:.0f}/s   {engine / bare:.0%} of bare; {start:.1f} s until the first picture"
    )
    print(f"  find/patches  {patches:.0f}/s   {patches / bare:.0%} of bare")


def forward(model: pg.Classifier, ready: torch.Tensor, n: int, size: int) -> float:
    """Pictures per second of the network alone, on all cores."""
    parts = ready.split(size)
    with torch.no_grad(), model.borrowed():
        for part in parts[:2]:
            model(part)
        done, start = 0, time.perf_counter()
        while done < n:
            for part in parts:
                model(part)
                done += len(part)
    return done / (time.perf_counter() - start)


def through(survey: Survey, model: pg.Classifier, data: Data) -> tuple[float, float]:
    """Pictures per second of a survey on all cores, and the seconds before its first picture."""
    begin, seen = time.perf_counter(), list[tuple[float, int]]()

    def progress(step: Any) -> None:
        if step.total == len(data):
            seen.append((time.perf_counter() - begin, step.done))

    with tempfile.TemporaryDirectory() as folder:
        pg.run_over(survey, model, data, folder, workers=torch.get_num_threads(), progress=progress)
    first = next(i for i, (_, done) in enumerate(seen) if done > 0)
    last = next(i for i, (_, done) in enumerate(seen) if done == len(data))
    return (seen[last][1] - seen[first][1]) / (seen[last][0] - seen[first][0]), seen[first][0]


def peak(data: Data, n: int) -> int:
    """The most memory of this process, in MiB, after find/patches over n pictures."""
    with tempfile.TemporaryDirectory() as folder:
        pg.run_over(pg.make("find/patches"), pg.load("tinynet"), few(data, n), folder)
    return round(most())


def few(data: Any, n: int) -> Data:
    """n pictures, spread evenly over a data set of files."""
    step = len(data) / n
    names = [data.names[int(i * step)] for i in range(n)]
    return type(data)(Path(data.root), names, dict.fromkeys(names, 0), ("one",))


def labels(data: Data) -> tuple[int, ...]:
    return (0,) * len(data.classes or ())


def ignore(more: int) -> None:
    pass


if __name__ == "__main__":
    main()
