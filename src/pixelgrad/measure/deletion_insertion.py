"""Deletion and insertion (Petsiuk 2018, RISE, §4.3): how fast the class goes when what counts is taken away.

    deletion     ∫ p_y while the picture's pixels are blurred, the most important first: low is good
    insertion    ∫ p_y while they are brought back into the blurred picture, in the same order: high is good

Beside the map stand a random order and Sobel's edges (deletion.py has the details). y stays the class predicted for the
picture itself.
"""

from __future__ import annotations

from typing import Any

from PIL import Image
from torch import Tensor

from .. import curves, images, pictures
from ..classifier import Classifier
from ..deletion import ORDERS, WAYS, measured
from ..gradient import Work
from ..methods import METHOD, aimed, attribute
from ..objectives.logit import Logit
from ..objectives.of_class import Target, at_target
from ..registry import setting, technique
from ..result import Result
from ..technique import Technique, describe, need_pixels


@technique
class DeletionInsertion(Technique):
    """Whether a map finds what the class depends on: its pixels blurred, or brought back, the most important first."""

    method: str = setting("saliency", help=METHOD)
    target: Target = setting(
        None, help="class to look for, by name or index; default: the one predicted for each picture"
    )
    points: int = setting(32, lo=2, hi=1000, help="steps from the whole picture to the blurred one")
    seed: int = setting(0, lo=0, help="of the random order")

    def apply(self, model: Classifier, pixels: Tensor | None, work: Work) -> Result:
        """Curves (n, 2, 3, points + 1): deletion and insertion; by the map, at random, by edges."""
        pixels = need_pixels(self, pixels)
        target, logits = aimed(model, pixels, self.target)
        maps, gradients = attribute(self.method, model, pixels, target)
        found, areas, counts = measured(model, pixels, target, [maps], self.points, self.seed, work.progress)
        score = at_target(logits, target)
        titles, facts = describe(model, Logit(target), score, logits)
        names = (self.method, *ORDERS)
        for fact, own, curve in zip(facts, areas.tolist(), found, strict=True):
            fact["blurred_probability"] = float(curve[0, 0, -1])
            fact |= {way: dict(zip(names, row, strict=True)) for way, row in zip(WAYS, own, strict=True)}
        return Result(
            technique=self,
            model=model.name,
            pixels=found,
            score=score,
            inputs=pixels,
            titles=tuple(f"{t}; {said(fact)}" for t, fact in zip(titles, facts, strict=True)),
            report={"gradients": gradients, "pixels": counts, "images": facts},
            draw=self.draw,
        )

    def draw(self, result: Result) -> Image.Image:
        """For each picture a row: itself, its deletion, its insertion."""
        blocks, inputs = [], need_pixels(self, result.inputs)
        counts = result.report["pixels"]
        share = [count / counts[-1] for count in counts]
        for x, both, fact, title in zip(
            inputs, result.pixels.tolist(), result.report["images"], result.titles, strict=True
        ):
            row = [pictures.enlarged(images.to_image(x))]
            for way, lines in zip(WAYS, both, strict=True):
                named = zip(fact[way].items(), lines, strict=True)
                drawn = [curves.Curve(f"{name}: area {area:.3f}", share, y) for (name, area), y in named]
                about = f"{way}: {'lower' if way == 'deletion' else 'higher'} is better"
                x_label = f"share of pixels {'blurred' if way == 'deletion' else 'brought back'}"
                row.append(curves.draw(drawn, about, x_label, (340, 240), (0, 1)))
            blocks.append(pictures.sheet([row], [title]))
        return pictures.stack(blocks)


def said(fact: dict[str, Any]) -> str:
    """The areas in words."""
    return "; ".join(f"{way} {', '.join(f'{k} {v:.3f}' for k, v in fact[way].items())}" for way in WAYS)
