"""Saliency of a batch against Captum's, in one process, interleaved: the ratio of the medians.

    python benchmarks/saliency.py [--images 16] [--rounds 9] [--squeezenet WEIGHTS]

Captum gets the network as its own library makes it, and, in a second row, the very module that pixelgrad uses
(whose convolutions are laid out channels-last). Both compute the same maps; that is checked first.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time

import captum.attr
import torch

import pixelgrad as pg


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--squeezenet", metavar="WEIGHTS", help="weights of torchvision's squeezenet1_0")
    options = parser.parse_args()
    models = [pg.load("efficientnet_lite0")]
    if options.squeezenet:
        models.append(pg.load("squeezenet1_0", weights=options.squeezenet))
    print(
        f"{options.images} pictures of 224×224, {torch.get_num_threads()} threads, medians of {options.rounds}"
    )
    for model in models:
        compare(model, options.images, options.rounds)


def compare(model: pg.Classifier, images: int, rounds: int) -> None:
    pixels = torch.cat([pg.open_image(f"sample:{name}", model) for name in ("cat", "coffee", "astronaut")])
    pixels = pixels.repeat(-(-images // 3), 1, 1, 1)[:images]
    pixels = (pixels + 0.02 * torch.rand_like(pixels)).clamp(0, 1)
    target = model(pixels).argmax(1)
    saliency = pg.make("show/saliency", target=tuple(target.tolist()))
    plain = copy.deepcopy(model.module).to(memory_format=torch.contiguous_format).requires_grad_(True)
    ways = {
        "pixelgrad": lambda: saliency.run(model, pixels).pixels,
        "Captum": captum_maps(model, plain, pixels, target),
        "Captum, same module": captum_maps(model, model.module, pixels, target),
        "two forward passes": lambda: (model(pixels), model(pixels)),
    }
    ours, theirs = ways["pixelgrad"](), ways["Captum"]()
    error = float((ours - theirs).abs().max() / theirs.abs().max())
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(t) for name, t in times.items()}
    print(f"\n{model.name}: largest difference from Captum's map {error:.1e} of its maximum")
    for name, median in medians.items():
        print(f"  {name:22} {median:7.3f} s   pixelgrad takes {medians['pixelgrad'] / median:.2f} of it")


def captum_maps(model, module, pixels, target):
    """Captum's maps per unit of pixel: its input is normalised beforehand."""
    method = captum.attr.Saliency(module)
    std = torch.tensor(model.std)[:, None, None]

    def run():
        x = ((pixels - torch.tensor(model.mean)[:, None, None]) / std).requires_grad_()
        return (method.attribute(x, target=target) / std).amax(1)

    return run


if __name__ == "__main__":
    main()
