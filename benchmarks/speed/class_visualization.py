"""Class visualization per step: against two of the fastest forward passes, the course's loop, and Lucent.

A quarter of the pictures, each of another class. The course's loop is CS231n's create_class_visualization in plain
PyTorch, for a whole batch: roll, gradient of s_y − λ‖x‖², step along it by its length, roll back, clip, blur every
tenth time. All of those have their turn after every step of ours. Lucent, in its own environment and process, makes
pictures from the same parameters as our preset `lucid`, with its own transforms; it takes turns with ours, run by
run. What comes out of those transforms is larger than the picture: in one row it is shown to the network so, in the
other, which has the goal, at the picture's size, as ours is. Our first 16 steps, of 100 to 512, also look for dead
rectifiers and do not count, but stand in a note. Lucent gets the network as its library makes it, and so computes
gradients of its weights too (frozen by hand, it takes 0.68 to 0.87 of its time). Either's steps are timed in its own
process, without import and start.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Any

import torch
from torch import Tensor

import pixelgrad as pg
from benchmarks.frame import Curve, Row, Way, alongside
from benchmarks.setting import Setting, plain
from benchmarks.speed import limit
from benchmarks.speed.lucent import Lucent, Missing
from pixelgrad.revive import FIRST_STEPS
from pixelgrad.transforms import blur

CLASSES = (1, 76, 78, 113, 130, 187, 281, 340, 366, 387, 404, 482, 504, 751, 817, 933)
PRESETS = ("course", "lucid", "robust")
STEPS = 10  # that count
FORWARDS, LUCENT = 1.2, 0.6  # goals, of two of the fastest forward passes and of Lucent's time


def rows(setting: Setting) -> Iterator[Row | Curve]:
    """Each preset against the limit; two of them against those that do the same."""
    n = max(1, setting.images // 4)
    target = tuple(itertools.islice(itertools.cycle(CLASSES), n))
    for model in setting.networks:
        yield from beside_forwards(model, target)
    try:
        with Lucent([(model.name, model.weights) for model in setting.networks]) as lucent:
            for model in setting.networks:
                yield from beside_lucent(model, lucent, target, setting.rounds)
    except Missing as missing:
        setting.say(f"Lucent is left out: {missing}")


def beside_forwards(model: pg.Classifier, target: tuple[int, ...]) -> Iterator[Row | Curve]:
    """Step by step, with two forward passes, and the course's loop beside the preset of that name."""
    size = model.preprocessing.size
    assert size is not None
    two = limit.two(model, torch.rand(len(target), 3, *size))
    for preset in PRESETS:
        others: dict[str, Way] = {"limit": two}
        if preset == "course":
            others["course"] = course(model, target, size)
        whole = alongside(run_of(model, preset, target), others)
        times = {name: seconds[FIRST_STEPS - 1 :] for name, seconds in whole.items()}
        first = f"the first {FIRST_STEPS} take {median(whole['own'][: FIRST_STEPS - 1]):.3f} s"
        what = f"step of {len(target)}, preset {preset}"
        yield row(what, model, "two best forward passes", times["own"], times["limit"], FORWARDS, first)
        if preset == "course":
            yield row(what, model, "the course's loop", times["own"], times["course"])


def beside_lucent(
    model: pg.Classifier, lucent: Lucent, target: tuple[int, ...], rounds: int
) -> Iterator[Row | Curve]:
    """Run by run."""
    size = model.preprocessing.size
    assert size is not None
    run = run_of(model, "lucid", target)
    own: list[float] = []
    same: list[float] = []
    larger: list[float] = []
    for _ in range(min(rounds, 3)):
        own += alongside(run, {})["own"][FIRST_STEPS - 1 :]
        same += lucent.steps(model.name, target, STEPS, size[0], shown=size[0])
        larger += lucent.steps(model.name, target, STEPS, size[0], shown=None)
    what = f"step of {len(target)}, preset lucid"
    yield row(what, model, "Lucent", own, same, LUCENT)
    yield row(what, model, "Lucent, larger as by default", own, larger)


def row(
    what: str,
    model: pg.Classifier,
    against: str,
    own: Sequence[float],
    other: Sequence[float],
    goal: float | None = None,
    note: str = "",
) -> Row:
    return Row("class_visualization", what, model.name, against, tuple(own), tuple(other), goal, note)


def run_of(
    model: pg.Classifier, preset: str, target: tuple[int, ...]
) -> Callable[[Callable[[Any], None]], object]:
    """The technique, as alongside wants it."""
    steps = FIRST_STEPS + STEPS
    technique = pg.make("follow/class-visualization", target=target, preset=preset, steps=steps)
    return lambda progress: technique.run(model, progress=progress)


def course(model: pg.Classifier, target: tuple[int, ...], size: tuple[int, int]) -> Way:
    """A step of the course's loop, by hand."""
    module, y = plain(model).requires_grad_(False), torch.tensor(target)  # as the course does
    mean, std = (torch.tensor(values)[:, None, None] for values in (model.mean, model.std))
    low, high = -mean / std, (1 - mean) / std
    picture = torch.randn(len(target), 3, *size, generator=torch.Generator().manual_seed(0))
    count = itertools.count()
    dice = random.Random(0)

    def step() -> None:
        nonlocal picture
        down, right = dice.randint(0, 16), dice.randint(0, 16)
        x: Tensor = picture.roll((down, right), (2, 3)).requires_grad_()
        score = module(x).gather(1, y[:, None]).sum() - 1e-3 * x.square().sum()
        score.backward()
        assert x.grad is not None
        with torch.no_grad():
            length = x.grad.flatten(1).norm(dim=1)[:, None, None, None]
            moved = (x + 25 * x.grad / length).roll((-down, -right), (2, 3)).clamp(low, high)
            picture = blur(moved, 0.5) if next(count) % 10 == 0 else moved

    return step
