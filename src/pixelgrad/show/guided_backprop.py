"""Guided backpropagation (Springenberg 2015, §3.4): the fine lines in a picture that speak for a class.

    G = ∂s_y/∂x, but that a rectifier with input a lets max(R, 0) · [a > 0] of the gradient R through
                                                                   shape (n, 3, h, w), signed

s_y is the logit of class y, by default the predicted one, or any other objective; G is in units of score per full
range of a pixel. Sharp, but it says little about the class: mostly what is an edge in any case (Adebayo 2018).
"""

from __future__ import annotations

from PIL import Image
from torch import Tensor

from .. import heatmaps
from ..classifier import LOGITS, Classifier
from ..gradient import Work, evaluate
from ..objectives.base import Objective
from ..objectives.of_class import Target
from ..registry import setting, technique
from ..result import Result
from ..rules import BackwardRule
from ..technique import Technique, aim, describe, need_pixels


@technique
class GuidedBackprop(Technique):
    """The fine lines that speak for a class: its gradient, with only what is positive on the way."""

    target: Target = setting(
        None,
        help="class to look for, by name or index; default: the one predicted for each picture",
    )
    objective: Objective | None = setting(
        None, help="score to look for in place of a class: \"LogProbability('tabby')\""
    )

    def apply(self, model: Classifier, pixels: Tensor | None, work: Work) -> Result:
        """Signed maps (n, 3, h, w) from one gradient per image."""
        pixels = need_pixels(self, pixels)
        objective, rule = aim(self.target, self.objective), BackwardRule("guided")
        score, gradient, kept = evaluate(
            model, objective, pixels, keep=[LOGITS], progress=work.progress, rule=rule
        )
        titles, facts = describe(model, objective, score, kept[LOGITS])
        return Result(
            technique=self,
            model=model.name,
            pixels=gradient,
            score=score,
            inputs=pixels,
            titles=titles,
            report={"gradients": 1, "images": facts, **rule.report()},
            each=self.draw,
        )

    def draw(self, result: Result) -> list[Image.Image]:
        """Each map around mid grey."""
        return heatmaps.greys(result.pixels, need_pixels(self, result.inputs), result.view)
