"""Class visualizations of 16 classes: does the network itself see the class, and does another network?

    python benchmarks/class_visualization.py --squeezenet WEIGHTS [--preset course:200 robust] [--out FOLDER]

The pictures of each of the two networks are judged, as saved with 8 bits, by both. A preset may be given its number
of steps. Also printed: the time of a step over that of two forward passes of the same network on the same batch.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from pathlib import Path

import torch

import pixelgrad as pg

CLASSES = (1, 76, 78, 113, 130, 187, 281, 340, 366, 387, 404, 482, 504, 751, 817, 933)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--squeezenet", metavar="WEIGHTS", required=True, help="weights of torchvision's squeezenet1_0"
    )
    parser.add_argument("--preset", nargs="+", default=["course:200", "robust"], metavar="NAME[:STEPS]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder for the sheets of pictures")
    options = parser.parse_args()
    lite0 = pg.load("efficientnet_lite0")
    squeezenet = pg.load("squeezenet1_0", weights=options.squeezenet)
    print(f"{len(CLASSES)} classes, {torch.get_num_threads()} threads")
    for model, judge, weights in (
        (lite0, "squeezenet1_0", options.squeezenet),
        (squeezenet, "efficientnet_lite0", None),
    ):
        for preset in options.preset:
            show(model, judge, weights, preset, options)


def show(model, judge, weights, preset, options) -> None:
    name, _, steps = preset.partition(":")
    settings = {"steps": int(steps)} if steps else {}
    technique = pg.make(
        "follow/class-visualization",
        target=CLASSES,
        preset=name,
        seed=options.seed,
        judge=judge,
        judge_weights=weights,
        **settings,
    )
    ticks = [time.perf_counter()]
    found = technique.run(model, progress=lambda step: ticks.append(time.perf_counter()))
    each = statistics.median(b - a for a, b in itertools.pairwise(ticks))
    forward = statistics.median(timed(model, found.pixels) for _ in range(3))
    facts = found.report["images"]
    own = sum(f["predicted"] == f["class"] for f in facts)
    ranks = [f["judge_rank"] for f in facts]
    print(
        f"\n{model.name}, {preset}: itself says the class for {own} of {len(facts)}, "
        f"{judge} has it in its top 5 for {sum(r <= 5 for r in ranks)} and first for {ranks.count(1)}\n"
        f"  {found.report['seconds']:.0f} s, {each:.2f} s a step, {each / (2 * forward):.2f} of two forward passes",
        flush=True,
    )
    for fact, rank in zip(facts, ranks, strict=True):
        print(
            f"  {fact['class']:28} itself {fact['class_probability']:6.1%}  "
            f"{judge} {fact['judge_probability']:6.1%}  rank {rank}"
        )
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        found.save(options.out / f"{model.name}-{preset.replace(':', '-')}.png")


@torch.no_grad()
def timed(model, pixels) -> float:
    start = time.perf_counter()
    model(pixels)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
