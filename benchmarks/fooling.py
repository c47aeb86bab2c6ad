"""Targeted minimal fooling against foolbox's DDN (100 steps), in one process: success in floats, success as saved PNG
files read back, distance, gradients and time.

    python benchmarks/fooling.py PHOTOS.csv [--squeezenet WEIGHTS] [--images N]

The CSV has the columns filename and target_index; the pictures lie in `photos/` beside it. foolbox gets the network
as its own library makes it. Besides: PGD at 4/255, and the photographs at their own size, through the real resize.
"""

from __future__ import annotations

import argparse
import copy
import csv
import statistics
import tempfile
import time
from pathlib import Path

import foolbox
import torch

import pixelgrad as pg


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("csv", type=Path)
    parser.add_argument("--squeezenet", metavar="WEIGHTS", help="weights of torchvision's squeezenet1_0")
    parser.add_argument("--images", type=int, default=None)
    parser.add_argument("--batch", type=int, default=16)
    options = parser.parse_args()
    models = [pg.load("efficientnet_lite0")]
    if options.squeezenet:
        models.append(pg.load("squeezenet1_0", weights=options.squeezenet))
    with options.csv.open() as file:
        rows = list(csv.DictReader(file))[: options.images]
    paths = [options.csv.parent / "photos" / row["filename"] for row in rows]
    targets = [int(row["target_index"]) for row in rows]
    for model in models:
        print(f"\n{model.name}, {len(rows)} photographs, {torch.get_num_threads()} threads")
        compare(model, paths, targets, options.batch)
        others(model, paths, targets, options.batch)


def compare(model: pg.Classifier, paths: list[Path], targets: list[int], batch: int) -> None:
    """Batch by batch, so that a busy machine slows both alike."""
    module = copy.deepcopy(model.module).to(memory_format=torch.contiguous_format)
    normalise = {"mean": list(model.mean), "std": list(model.std), "axis": -3}
    theirs = foolbox.PyTorchModel(module, bounds=(0, 1), preprocessing=normalise)
    attack = foolbox.attacks.DDNAttack(steps=100)
    ours = [0.0, 0, 0, [], []]  # seconds, success in floats, on file, L2, gradients
    foes = [0.0, 0, 0, [], []]
    for start in range(0, len(paths), batch):
        part, goals = paths[start : start + batch], targets[start : start + batch]
        pixels = pg.open_images(part, model)
        begin = time.perf_counter()
        found = pg.make("follow/fooling", target=tuple(goals), method="minimal").run(model, pixels)
        ours[0] += time.perf_counter() - begin
        begin = time.perf_counter()
        criterion = foolbox.criteria.TargetedMisclassification(torch.tensor(goals))
        _, fooled, success = attack(theirs, pixels, criterion, epsilons=None)
        foes[0] += time.perf_counter() - begin
        facts = found.report["images"]
        for tally, pictures, wins in (
            (ours, found.pixels, [f["success"] for f in facts]),
            (foes, fooled, success),
        ):
            tally[1] += sum(map(bool, wins))
            tally[2] += on_file(model, pictures, goals)
            tally[3] += (pictures - pixels).flatten(1).norm(dim=1).tolist()
        ours[4] += [f["gradients"] for f in facts]
        foes[4] += [100] * len(goals)
    n = len(paths)
    for name, (seconds, floats, files, far, gradients) in (
        ("pixelgrad minimal", ours),
        ("foolbox DDN", foes),
    ):
        print(
            f"  {name:18} floats {floats}/{n}  as PNG files {files}/{n}  median L2 {statistics.median(far):.3f}"
            f"  gradients {max(gradients)}  {seconds:.1f} s"
        )
    print(f"  pixelgrad takes {ours[0] / foes[0]:.3f} of foolbox's time")


def others(model: pg.Classifier, paths: list[Path], targets: list[int], batch: int) -> None:
    """PGD, and photographs at their own size."""
    files, gradients = 0, []
    for start in range(0, len(paths), batch):
        goals = targets[start : start + batch]
        technique = pg.make("follow/fooling", target=tuple(goals), method="pgd", norm="linf", radius=4 / 255)
        found = technique.run(model, pg.open_images(paths[start : start + batch], model))
        files += on_file(model, found.pixels, goals)
        gradients += [f["gradients"] for f in found.report["images"]]
    median = statistics.median(gradients)
    print(
        f"  PGD at 4/255: as PNG files {files}/{len(paths)}, gradients {median:g} (median), {max(gradients)} at most"
    )
    files = 0
    for path, goal in zip(paths, targets, strict=True):
        technique = pg.make("follow/fooling", target=goal, resolution="original")
        found = technique.run(model, pg.open_image(path))
        files += on_file(model, found.pixels, [goal], own_size=True)
    print(f"  at their own size, through the real resize and crop: {files}/{len(paths)}")


def on_file(model: pg.Classifier, pictures: torch.Tensor, goals: list[int], own_size: bool = False) -> int:
    """How many of the pictures, saved as PNG and read again, get their target."""
    wins = 0
    with tempfile.TemporaryDirectory() as folder:
        for picture, goal in zip(pictures, goals, strict=True):
            path = Path(folder) / "fooled.png"
            pg.images.save(pg.images.to_image(picture), path)
            again = pg.open_image(path, model if own_size else None)
            wins += model.top(again, 1)[0][0].index == goal
    return wins


if __name__ == "__main__":
    main()
