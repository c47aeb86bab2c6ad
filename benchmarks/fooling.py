"""Targeted minimal fooling against foolbox's DDN (100 steps), in one process: success in floats, success as saved PNG
files read back, distance, gradients and time.

    python -m benchmarks.fooling PHOTOS.csv [--squeezenet WEIGHTS] [--images N]

The CSV has the columns filename and target_index; the pictures lie in `photos/` beside it. foolbox gets the network
as its own library makes it. Besides: PGD at 4/255, and the photographs at their own size, through the real resize.
"""

from __future__ import annotations

import argparse
import csv
import statistics
from pathlib import Path

import foolbox
import torch

import pixelgrad as pg
from benchmarks.speed.fooling import contest, ddn, on_file, own


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
        attacks = {"pixelgrad minimal": own(model, "minimal"), "foolbox DDN": ddn(model, foolbox)}
        found = contest(model, attacks, pg.open_images(paths, model), targets, options.batch)
        for name, tally in found.items():
            print(f"  {name:18} {tally}, {tally.seconds:.1f} s")
        others(model, paths, targets, options.batch)


def others(model: pg.Classifier, paths: list[Path], targets: list[int], batch: int) -> None:
    """PGD, and photographs at their own size."""
    files, gradients = 0, []
    for start in range(0, len(paths), batch):
        goals = targets[start : start + batch]
        technique = pg.make("follow/fooling", target=tuple(goals), method="pgd", norm="linf", radius=4 / 255)
        found = technique.run(model, pg.open_images(paths[start : start + batch], model))
        files += sum(on_file(model, found.pixels, goals))
        gradients += [f["gradients"] for f in found.report["images"]]
    median = statistics.median(gradients)
    print(
        f"  PGD at 4/255: as PNG files {files}/{len(paths)}, gradients {median:g} (median), {max(gradients)} at most"
    )
    files = 0
    for path, goal in zip(paths, targets, strict=True):
        technique = pg.make("follow/fooling", target=goal, resolution="original")
        found = technique.run(model, pg.open_image(path))
        files += sum(on_file(model, found.pixels, [goal], own_size=True))
    print(f"  at their own size, through the real resize and crop: {files}/{len(paths)}")


if __name__ == "__main__":
    main()
