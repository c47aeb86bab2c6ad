"""Max-sensitivity (Yeh 2019, §3): how much a map changes where the picture hardly does.

    S = max over δ of ‖M(x + δ) − M(x)‖₂ / ‖M(x)‖₂         δ uniform in [−0.02, 0.02] for each pixel and colour

The maximum is over a few random δ, the same for all pictures, so S is a lower bound. y stays the class predicted for x.
0: the map does not change (that of a linear network); 1: as much as the map is large. None where M(x) is zero.
"""

from __future__ import annotations

import math

import torch
from PIL import Image
from torch import Tensor

from .. import images, pictures
from ..classifier import Classifier
from ..gradient import Work
from ..heatmaps import heat
from ..methods import METHOD, aimed, attribute
from ..noise import RADIUS, change, furthest
from ..objectives.logit import Logit
from ..objectives.of_class import Target, at_target
from ..registry import setting, technique
from ..result import Result
from ..technique import Technique, describe, need_pixels


@technique
class Sensitivity(Technique):
    """Whether a map is the same for a picture with noise that nobody sees: its largest change."""

    method: str = setting("saliency", help=METHOD)
    target: Target = setting(
        None, help="class to look for, by name or index; default: the one predicted for each picture"
    )
    samples: int = setting(10, lo=1, help="noises that are tried")
    seed: int = setting(0, lo=0, help="of the noise")

    def apply(self, model: Classifier, pixels: Tensor | None, work: Work) -> Result:
        """Maps (n, 2, h, w): of the picture, and of it with the noise that changed the map most."""
        pixels = need_pixels(self, pixels)
        target, logits = aimed(model, pixels, self.target)
        own, gradients = attribute(self.method, model, pixels, target)
        with model.any_range():
            worst = furthest(
                lambda x: attribute(self.method, model, x, target).maps,
                pixels,
                own,
                self.samples,
                self.seed,
                work.progress,
            )
        score = at_target(logits, target)
        titles, facts = describe(model, Logit(target), score, logits)
        for fact, share in zip(facts, change(own, worst).tolist(), strict=True):
            fact["sensitivity"] = None if math.isnan(share) else share
        words = (
            "the map is zero everywhere" if fact["sensitivity"] is None else f"{fact['sensitivity']:.3g}"
            for fact in facts
        )
        return Result(
            technique=self,
            model=model.name,
            pixels=torch.stack([own, worst], 1),
            score=score,
            inputs=pixels,
            titles=tuple(
                f"{t}; max-sensitivity of {self.method}: {w}" for t, w in zip(titles, words, strict=True)
            ),
            report={"gradients": gradients * (self.samples + 1), "radius": RADIUS, "images": facts},
            draw=self.draw,
        )

    def draw(self, result: Result) -> Image.Image:
        """For each picture a row: itself, its map, and the map that is furthest from it."""
        blocks = []
        for x, maps, title in zip(
            need_pixels(self, result.inputs), result.pixels, result.titles, strict=True
        ):
            row = [pictures.enlarged(images.to_image(x))]
            row += [
                pictures.captioned(heat(values), words)
                for values, words in zip(maps, ("its map", "with noise, the furthest"), strict=True)
            ]
            blocks.append(pictures.sheet([row], [title]))
        return pictures.stack(blocks)
