"""Feature inversion: what the stages of two networks remember of photographs.

    python -m benchmarks.inversion PHOTO… [--squeezenet WEIGHTS] [--steps 400] [--out FOLDER]

The error √(‖Φ−Φ₀‖²/‖Φ₀‖²) is that of the pictures as saved.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import torch

import pixelgrad as pg


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("photos", nargs="+", metavar="PHOTO")
    parser.add_argument("--squeezenet", metavar="WEIGHTS", help="weights of torchvision's squeezenet1_0")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--out", type=Path, help="folder for the strips")
    options = parser.parse_args()
    models = [pg.load("efficientnet_lite0")]
    if options.squeezenet:
        models.append(pg.load("squeezenet1_0", weights=options.squeezenet))
    print(f"{len(options.photos)} photographs, {torch.get_num_threads()} threads")
    for model in models:
        pixels = pg.open_images(options.photos, model)
        errors(model, pixels, options)


def errors(model, pixels, options) -> None:
    found = pg.make("follow/inversion", steps=options.steps).run(model, pixels)
    facts = [fact["error"] for fact in found.report["images"]]
    print(f"\n{model.name}: error after {options.steps} steps, {found.report['seconds']:.0f} s")
    for layer in facts[0]:
        row = [fact[layer] for fact in facts]
        print(f"  {layer:12}", "  ".join(f"{e:6.1%}" for e in row), f"  median {statistics.median(row):.1%}")
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        found.save(options.out / f"{model.name}.png")


if __name__ == "__main__":
    main()
