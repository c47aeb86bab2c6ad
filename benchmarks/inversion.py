"""Feature inversion and DeepDream: what the stages of two networks remember of photographs, and what a step costs.

    python benchmarks/inversion.py PHOTO… [--squeezenet WEIGHTS] [--steps 400] [--out FOLDER]

The error √(‖Φ−Φ₀‖²/‖Φ₀‖²) is that of the pictures as saved. The time of a step is given over that of two forward
passes of the part of the network up to the layer, and of the whole network, medians, interleaved in one process.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from pathlib import Path

import torch

import pixelgrad as pg
from pixelgrad.stages import stages


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("photos", nargs="+", metavar="PHOTO")
    parser.add_argument("--squeezenet", metavar="WEIGHTS", help="weights of torchvision's squeezenet1_0")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--cost", action="store_true", help="only the cost of a step")
    parser.add_argument("--out", type=Path, help="folder for the strips")
    options = parser.parse_args()
    models = [pg.load("efficientnet_lite0")]
    if options.squeezenet:
        models.append(pg.load("squeezenet1_0", weights=options.squeezenet))
    print(f"{len(options.photos)} photographs, {torch.get_num_threads()} threads")
    for model in models:
        pixels = pg.open_images(options.photos, model)
        cost(model, pixels)
        if not options.cost:
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


def cost(model, pixels, rounds: int = 7) -> None:
    print(f"\n{model.name}: time of a step over two forward passes, to the layer and whole")
    for layer in stages(model):
        times: dict[str, list[float]] = {"inversion": [], "dream": [], "to the layer": [], "whole": []}
        for _ in range(rounds):
            times["inversion"].append(step("follow/inversion", model, pixels, layer))
            times["dream"].append(step("follow/deepdream", model, pixels, layer, octaves=1))
            times["to the layer"].append(timed(lambda layer=layer: model.activations(pixels, [layer])))
            times["whole"].append(timed(lambda: model(pixels)))
        medians = {name: statistics.median(t) for name, t in times.items()}
        part, whole = 2 * medians["to the layer"], 2 * medians["whole"]
        ratios = "; ".join(
            f"{name} {medians[name] / part:.2f} of the part, {medians[name] / whole:.2f} of the whole"
            for name in ("inversion", "dream")
        )
        print(f"  {layer:12} the part is {part / whole:.2f} of the whole; {ratios}")


def step(name, model, pixels, layer, **settings) -> float:
    """The median time of a step."""
    ticks: list[float] = []
    technique = pg.make(name, layer=layer, steps=6, **settings)
    technique.run(model, pixels, progress=lambda _: ticks.append(time.perf_counter()))
    return statistics.median(b - a for a, b in itertools.pairwise(ticks))


@torch.no_grad()
def timed(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
