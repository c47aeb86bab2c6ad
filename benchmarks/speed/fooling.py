"""Targeted fooling to a saved and verified file, against foolbox's DDN with 100 steps, on the same photographs.

The targets are classes that the network thinks little of, another for each photograph. Both write PNG files and read
them again, which is in their time; foolbox gets the network as its own library makes it, and so computes gradients of
its weights too (frozen by hand, it takes 0.65 to 0.83 of its time). `minimal` looks for the smallest distance, as DDN
does; `ascent` ends as soon as the file fools. They take turns, batch by batch, once through: a run is some hundred
gradients long.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

import pixelgrad as pg
from benchmarks.frame import Curve, Row
from benchmarks.setting import Setting, plain

STEPS = 100  # of DDN
BATCH = 8
FOOLBOX = 0.2  # goal, of its time
OWN = ("minimal", "ascent")

# pixels, goals -> fooling pictures, whether each fools in floats, gradients that each took
Attack = Callable[[Tensor, Sequence[int]], tuple[Tensor, Sequence[bool], Sequence[int]]]


@dataclass
class Tally:
    """What an attack came to: seconds, and of each picture whether it fools in floats and on file, its L2 distance, and
    the gradients that it took."""

    seconds: float = 0.0
    floats: list[bool] = field(default_factory=list)
    files: list[bool] = field(default_factory=list)
    far: list[float] = field(default_factory=list)
    gradients: list[int] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{sum(self.files)} of {len(self.files)} fool as files ({sum(self.floats)} before), "
            f"median L2 {statistics.median(self.far):.3f}, gradients {statistics.mean(self.gradients):.0f}"
        )


def rows(setting: Setting) -> Iterator[Row | Curve]:
    """Both methods on each network."""
    foolbox = setting.peer("foolbox")
    if foolbox is None:
        return
    for model in setting.networks:
        pixels = pg.open_images(setting.files(setting.images), model)
        with torch.no_grad():
            said = model(pixels).argmax(1)
        goals = [(int(y) + 500 + i) % 1000 for i, y in enumerate(said)]
        attacks = {name: own(model, name) for name in OWN} | {"DDN": ddn(model, foolbox)}
        found = contest(model, attacks, pixels, goals, BATCH)
        theirs = found["DDN"]
        for name in OWN:
            yield Row(
                "fooling",
                f"fooling files of {len(pixels)}, {name}",
                model.name,
                f"foolbox DDN-{STEPS}",
                (found[name].seconds,),
                (theirs.seconds,),
                FOOLBOX,
                f"{found[name]}; foolbox: {theirs}",
            )


def contest(
    model: pg.Classifier, attacks: dict[str, Attack], pixels: Tensor, goals: Sequence[int], batch: int
) -> dict[str, Tally]:
    """Batch by batch, so that a busy machine slows all alike."""
    found = {name: Tally() for name in attacks}
    for start in range(0, len(pixels), batch):
        part, aims = pixels[start : start + batch], goals[start : start + batch]
        for name, attack in attacks.items():
            tally, begin = found[name], time.perf_counter()
            fooled, wins, gradients = attack(part, aims)
            tally.files += on_file(model, fooled, aims)
            tally.seconds += time.perf_counter() - begin
            tally.floats += map(bool, wins)
            tally.far += (fooled - part).flatten(1).norm(dim=1).tolist()
            tally.gradients += gradients
    return found


def own(model: pg.Classifier, method: str) -> Attack:
    """pixelgrad's."""

    def attack(pixels: Tensor, goals: Sequence[int]) -> tuple[Tensor, Sequence[bool], Sequence[int]]:
        found = pg.make("follow/fooling", target=tuple(goals), method=method).run(model, pixels)
        facts = found.report["images"]
        return found.pixels, [f["success"] for f in facts], [f["gradients"] for f in facts]

    return attack


def ddn(model: pg.Classifier, foolbox: ModuleType) -> Attack:
    """foolbox's."""
    normalise = {"mean": list(model.mean), "std": list(model.std), "axis": -3}
    wrapped = foolbox.PyTorchModel(plain(model), bounds=(0, 1), preprocessing=normalise)
    method = foolbox.attacks.DDNAttack(steps=STEPS)

    def attack(pixels: Tensor, goals: Sequence[int]) -> tuple[Tensor, Sequence[bool], Sequence[int]]:
        criterion = foolbox.criteria.TargetedMisclassification(torch.tensor(goals))
        _, fooled, success = method(wrapped, pixels, criterion, epsilons=None)
        return fooled, success.tolist(), [STEPS] * len(goals)

    return attack


def on_file(
    model: pg.Classifier, pictures: Tensor, goals: Sequence[int], own_size: bool = False
) -> list[bool]:
    """Which of the pictures, saved as PNG and read again, get their target."""
    wins = []
    with tempfile.TemporaryDirectory() as folder:
        for picture, goal in zip(pictures, goals, strict=True):
            path = Path(folder) / "fooled.png"
            pg.images.save(pg.images.to_image(picture), path)
            again = pg.open_image(path, model if own_size else None)
            wins.append(model.top(again, 1)[0][0].index == goal)
    return wins
