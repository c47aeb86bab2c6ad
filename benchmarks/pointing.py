"""The pointing game (Zhang 2016): does the highest pixel of an attribution map lie on the object?

    python -m benchmarks.pointing DATA [--images 200] [--model efficientnet_lite0]

DATA is a folder of TinyImageNet. Its validation pictures, 64×64, are enlarged to the network's size, and those count
that the network takes for what they are. A method has to beat pointing at the centre. "Small" are the objects whose box
is under a quarter of the picture. The error is the standard error of the share of hits.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from timm.data import ImageNetInfo

import pixelgrad as pg
from pixelgrad.datasets.tiny_imagenet import SIZE, Picture, TinyImageNet, load
from pixelgrad.gradient import logits_of
from pixelgrad.methods import strength
from pixelgrad.pointing import Box, area, centres, highest, hits, scaled

METHODS = {
    "saliency": {},
    "smoothgrad": {},
    "input-x-gradient": {},
    "integrated-gradients": {"steps": 32, "tolerance": 1e9},
    "guided-backprop": {},
    "grad-cam": {},
}
BATCH = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument(
        "--model", default="efficientnet_lite0", help="of ImageNet's 1,000 classes, or tinynet"
    )
    options = parser.parse_args()
    model = pg.load(options.model)
    found: dict[str, list[bool]] = {name: [] for name in ("centre", *METHODS)}
    seconds = dict.fromkeys(METHODS, 0.0)
    small: list[bool] = []
    share = 0.0
    for pixels, target, boxes in recognised(model, TinyImageNet(options.data), options.images):
        whole = pixels.shape[2] * pixels.shape[3]
        small += [area(box) < whole / 4 for box in boxes]
        share += sum(area(box) for box in boxes) / whole
        found["centre"] += hits(centres(pixels[:, 0]), boxes)
        for name, settings in METHODS.items():
            start = time.perf_counter()
            maps = strength(pg.make(f"show/{name}", target=target, **settings).run(model, pixels))
            seconds[name] += time.perf_counter() - start
            found[name] += hits(highest(maps), boxes)
    n = len(small)
    print(
        f"{model.name}: {n} pictures, {sum(small)} with a small object; a box has {share / n:.1%} of its picture"
    )
    for name, hit in found.items():
        of_small = [h for h, s in zip(hit, small, strict=True) if s]
        took = f"   {seconds[name] / n:.2f} s per picture" if name in seconds else ""
        print(f"  {name:22} {rate(hit)}   small: {rate(of_small)}{took}")


def recognised(
    model: pg.Classifier, data: TinyImageNet, wanted: int
) -> Iterator[tuple[torch.Tensor, tuple[int, ...], list[Box]]]:
    """Pictures that the network takes for what they are, in an order drawn once, some at a time: pixels, class, box."""
    ids = data.wnids if model.labels == data.names else ImageNetInfo().label_names()
    pictures = data.val()
    random.Random(0).shuffle(pictures)
    height, width = model.preprocessing.size or (224, 224)
    if height != width:
        raise SystemExit(f"{model.name} is for {height}×{width}; a square picture is needed")
    for start in range(0, len(pictures), BATCH):
        part: list[Picture] = pictures[start : start + BATCH]
        pixels = F.interpolate(load(part).float() / 255, (height, width), mode="bicubic", antialias=True)
        pixels = pixels.clamp(0, 1)
        truth = [ids.index(data.wnids[p.label]) for p in part]
        logits = logits_of(model, pixels)
        kept = [i for i, y in enumerate(logits.argmax(1).tolist()) if y == truth[i]][:wanted]
        wanted -= len(kept)
        if kept:
            boxes = [scaled(part[i].box, width / SIZE) for i in kept]
            yield pixels[kept], tuple(truth[i] for i in kept), boxes
        if not wanted:
            return


def rate(hit: list[bool]) -> str:
    """The share of hits with its standard error."""
    if not hit:
        return "    –       "
    p = sum(hit) / len(hit)
    return f"{p:6.1%} ± {(p * (1 - p) / len(hit)) ** 0.5:.1%}"


if __name__ == "__main__":
    main()
