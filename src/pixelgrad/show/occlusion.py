"""Occlusion (Zeiler & Fergus 2014, §4.2): a grey square slides over the picture; where it hides what counts, the
probability of the class falls.

    M(pixel) = mean of p_y(picture with the square) over the squares that cover the pixel        shape (n, h, w)

p_y is the probability of class y, by default the predicted one; in place of a class, any other objective's own score.
The squares lie `stride` apart, the last ones at the border, and cover every pixel. Beside M goes what the network
says instead: at each pixel the class predicted under the square whose centre is nearest.
"""

from __future__ import annotations

import math
from collections import Counter
from itertools import islice, product
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import Tensor

from .. import images, pictures
from ..classifier import LOGITS, Classifier
from ..errors import SettingError
from ..gradient import Step, Work, activations_of, several_of
from ..objectives.base import Objective
from ..objectives.logit import Logit
from ..objectives.of_class import Target, at_target, fixed
from ..registry import setting, technique
from ..result import Result
from ..technique import Technique, aim, describe, need_pixels

ALONG = 13  # positions of the default square along a side
SIDES = ("rows", "columns")


@technique
class Occlusion(Technique):
    """What happens to a class where a grey square hides a part of the picture: dark is what it depends on."""

    low_counts: ClassVar[bool] = True

    target: Target = setting(
        None,
        help="class to look for, by name or index; default: the one predicted for each picture",
    )
    objective: Objective | None = setting(
        None, help="score to look for in place of the probability of a class: \"Logit('tabby')\""
    )
    size: int | None = setting(
        None, lo=1, unit="px", help="side of the square; default: a fifth of the picture's"
    )
    stride: int | None = setting(
        None, lo=1, unit="px", help="from one square to the next; default: so that 13 cover a side"
    )
    grey: float = setting(0.5, lo=0, hi=1, help="brightness of the square")

    def apply(self, model: Classifier, pixels: Tensor | None, work: Work) -> Result:
        """Maps (n, h, w) from one forward pass per square and image."""
        pixels = need_pixels(self, pixels)
        asked = aim(self.target, self.objective).resolve(model)
        seen = activations_of(model, pixels, (*asked.needs, LOGITS))
        score, objective = asked(seen), fixed(asked, seen[LOGITS])
        n, (h, w) = len(pixels), pixels.shape[2:]
        side = max(1, round(min(h, w) / 5)) if self.size is None else self.size
        if side > min(h, w):
            raise SettingError(f"size is at most that of the picture, {min(h, w)} px; got {side}")
        sparse = max(1, math.ceil((max(h, w) - side) / (ALONG - 1)))
        stride = min(side, sparse) if self.stride is None else self.stride
        if stride > side:
            raise SettingError(
                f"stride is at most the size, {side} px, so that every pixel is covered; got {stride}"
            )
        rows, columns = starts(h, side, stride), starts(w, side, stride)
        places = [(slice(r, r + side), slice(c, c + side)) for r, c in product(rows, columns)]

        total, covers = seen[LOGITS].new_zeros(n, h, w), pixels.new_zeros(h, w)
        answers: list[Tensor] = []
        left, several = iter(places), several_of(pixels)
        with model.borrowed():
            while block := list(islice(left, several)):
                hidden = pixels.repeat(len(block), 1, 1, 1)
                for part, (y, x) in zip(hidden.chunk(len(block)), block, strict=True):
                    part[:, :, y, x] = self.grey
                found = activations_of(model, hidden, (*objective.needs, LOGITS))
                values = self._values(objective.select([*range(n)] * len(block)), found)
                for value, (y, x) in zip(values.chunk(len(block)), block, strict=True):
                    total[:, y, x] += value[:, None, None]
                    covers[y, x] += 1
                answers += found[LOGITS].argmax(1).chunk(len(block))
                if work.progress is not None:
                    work.progress(Step(len(answers), len(places)))
        titles, facts = describe(model, asked, score, seen[LOGITS])
        grids = torch.stack(answers, 1).reshape(n, len(rows), len(columns))
        for fact, grid in zip(facts, grids.tolist(), strict=True):
            fact |= _said(model, grid)
        report = {"gradients": 0, "forwards": len(places) + 1, "size": side, "rows": rows, "columns": columns}
        return Result(
            technique=self,
            model=model.name,
            pixels=total / covers.to(total),
            score=score,
            inputs=pixels,
            titles=titles,
            report={**report, "images": facts},
            draw=self.draw,
        )

    def draw(self, result: Result) -> Image.Image:
        """For each picture the map of the score, and that of the predicted classes with their colours."""
        blocks = []
        report, inputs = result.report, need_pixels(self, result.inputs)
        drawn = result.maps()
        for i, values in enumerate(result.pixels):
            fact = report["images"][i]
            near = [
                nearest(report[key], report["size"], n) for key, n in zip(SIDES, values.shape, strict=True)
            ]
            grid = torch.tensor(fact["map"])[near[0]][:, near[1]]
            row = [
                pictures.enlarged(images.to_image(inputs[i])),
                drawn[i],
                pictures.classes(grid, fact["classes"]),
            ]
            blocks.append(pictures.sheet([row], result.titles[i : i + 1]))
        return pictures.stack(blocks)

    def _values(self, objective: Objective, found: dict[str, Tensor]) -> Tensor:
        """What is mapped, for each picture: the probability of its class, or the objective that was asked for."""
        if self.objective is not None or not isinstance(objective, Logit):
            return objective(found)
        return at_target(found[LOGITS].softmax(1), objective.target)


def starts(side: int, square: int, stride: int) -> list[int]:
    """Where squares begin along a side: `stride` apart, the last one at the end."""
    return [*range(0, side - square, stride), side - square]


def _said(model: Classifier, grid: list[list[int]]) -> dict[str, Any]:
    """The classes predicted under the squares, the most frequent first, and which of them under each."""
    counts = Counter(y for row in grid for y in row)
    order = sorted(counts, key=lambda y: (-counts[y], y))
    return {
        "classes": [model.label_of(y) for y in order],
        "map": [[order.index(y) for y in row] for row in grid],
    }


def nearest(begins: list[int], square: int, side: int) -> Tensor:
    """For each pixel along a side the square whose centre is nearest, (side,)."""
    centres = torch.tensor(begins) + (square - 1) / 2
    return (torch.arange(side)[:, None] - centres).abs().argmin(1)
