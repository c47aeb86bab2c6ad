"""Class visualizations of 16 classes: does the network itself see the class, and does another network?

    python -m benchmarks.class_visualization --squeezenet WEIGHTS [--preset course:200 robust] [--out FOLDER]

The pictures of each of the two networks are judged, as saved with 8 bits, by both. A preset may be given its number
of steps.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import pixelgrad as pg
from benchmarks.speed.class_visualization import CLASSES


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
    found = technique.run(model)
    facts = found.report["images"]
    own = sum(f["predicted"] == f["class"] for f in facts)
    ranks = [f["judge_rank"] for f in facts]
    print(
        f"\n{model.name}, {preset}: itself says the class for {own} of {len(facts)}, "
        f"{judge} has it in its top 5 for {sum(r <= 5 for r in ranks)} and first for {ranks.count(1)}\n"
        f"  {found.report['seconds']:.0f} s",
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


if __name__ == "__main__":
    main()
