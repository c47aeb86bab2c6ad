"""What an attack changed in a method's map: the original against the changed picture, for the same class, in one scale.

    M_y(x), M_y(x'), M_y(x') − M_y(x)         y: the class of the original x, and the class of the changed picture x'

The maps of a class have one scale, and so has their difference, blue where the map lost and red where it gained. The
class of the original is the one that is asked for, by default the one predicted for it; that of the changed picture the
one that is predicted. The change is ‖M(x') − M(x)‖₂ / ‖M(x)‖₂.
"""

from __future__ import annotations

import math
import time
from functools import partial
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from . import distortion, heatmaps, images, noise, pictures
from .classifier import Classifier
from .errors import SettingError
from .gradient import Progress, Step, logits_of
from .methods import aimed, attribute, of_class, target_of
from .objectives.of_class import at_target
from .ranks import spearman
from .result import Result
from .technique import Technique

PAIR = ("original", "changed")


def change(
    technique: Technique,
    model: Classifier,
    before: Tensor,
    after: Tensor,
    progress: Progress | None = None,
) -> Result:
    """Maps (n, 2, 2, h, w) by a method of `show`: for the class of the original and that of the changed picture, on the
    original and on the changed picture. Raises SettingError: no such method, or pictures of another size."""
    start, technique = time.perf_counter(), of_class(technique)
    if before.shape != after.shape:
        shapes = " and ".join(str(tuple(x.shape)) for x in (before, after))
        raise SettingError(f"each picture is compared with one of its size; got {shapes}")
    target, logits = aimed(model, before, target_of(technique))
    changed = logits_of(model, after)
    goal = tuple(changed.argmax(1).tolist())
    both, found, gradients = torch.cat([before, after]), [], 0
    for k, y in enumerate((target, goal), 1):
        own, used = attribute(technique, model, both, y * 2)
        found.append(torch.stack(list(own.chunk(2)), 1))
        gradients += 2 * used
        if progress is not None:
            progress(Step(k, 2))
    maps = torch.stack(found, 1)
    facts = [
        _facts(model, row, pair, x, other)
        for row, pair, x, other in zip(
            maps,
            zip(target, goal, strict=True),
            zip(before, after, strict=True),
            zip(logits, changed, strict=True),
            strict=True,
        )
    ]
    return Result(
        technique=technique,
        model=model.name,
        pixels=maps,
        score=at_target(changed, target) - at_target(logits, target),
        inputs=before,
        titles=tuple(_title(fact) for fact in facts),
        report={"gradients": gradients, "images": facts, "seconds": time.perf_counter() - start},
        weights=model.weights,
        draw=partial(draw, after),
    )


def _facts(
    model: Classifier,
    maps: Tensor,
    pair: tuple[int, int],
    pixels: tuple[Tensor, Tensor],
    logits: tuple[Tensor, Tensor],
) -> dict[str, Any]:
    """What one picture was and became, and how much its maps changed."""
    probability = [row.double().softmax(0) for row in logits]
    classes = []
    for y, (own, other) in zip(dict.fromkeys(pair), maps, strict=False):
        moved = float(noise.change(own[None], other[None]))
        classes.append(
            {
                "class": model.label_of(y),
                **{f"probability_{name}": float(p[y]) for name, p in zip(PAIR, probability, strict=True)},
                "change": None if math.isnan(moved) else moved,
                "rank_correlation": spearman(own, other),
            }
        )
    return {
        **{name: model.label_of(int(p.argmax())) for name, p in zip(PAIR, probability, strict=True)},
        "classes": classes,
        **distortion.facts(pixels[1], pixels[0]),
    }


def _title(fact: dict[str, Any]) -> str:
    moved = []
    for of in fact["classes"]:
        share = "zero on the original" if of["change"] is None else f"changed by {of['change']:.0%}"
        moved.append(f"the map of {of['class']} is {share}")
    return f"{fact['original']} → {fact['changed']}: {', '.join(moved)}"


def draw(after: Tensor, result: Result) -> Image.Image:
    """For each picture a block: original, changed picture and their difference; under them, for either class, the maps
    and what they gained and lost."""
    assert result.inputs is not None
    blocks = []
    for before, x, maps, fact, title in zip(
        result.inputs, after, result.pixels, result.report["images"], result.titles, strict=True
    ):
        rows = [_photographs(before, x, fact)]
        for of, pair in zip(fact["classes"], maps, strict=False):
            drawn = heatmaps.heats(
                pair, torch.stack([before, x]), heatmaps.View(result.view.overlay, "common")
            )
            drawn.append(heatmaps.difference(pair[1] - pair[0], pictures.scale(pair)[1]))
            words = [f"for {of['class']} {of[f'probability_{name}']:.1%}" for name in PAIR]
            rows.append(
                [
                    pictures.captioned(p, w)
                    for p, w in zip(drawn, (*words, "lost (blue), gained (red)"), strict=True)
                ]
            )
        blocks.append(pictures.sheet(rows, [title]))
    return pictures.stack(blocks)


def _photographs(before: Tensor, after: Tensor, fact: dict[str, Any]) -> list[Image.Image]:
    off = (after - before).detach().cpu().double()
    largest = float(off.abs().amax())
    factor = 0.5 / largest if largest else 1.0
    times = f"difference × {factor:.3g}, around grey" if largest else "no difference"
    words = (f"original: {fact['original']}", f"changed: {fact['changed']}", times)
    drawn = (images.to_image(before), images.to_image(after), images.to_image(0.5 + factor * off))
    return [pictures.captioned(p, w) for p, w in zip(drawn, words, strict=True)]
