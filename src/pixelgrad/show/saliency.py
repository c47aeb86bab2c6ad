"""Saliency (Simonyan, Vedaldi & Zisserman 2014, §3.1): which pixels, changed least, change the score most.

    M = max over colours of |∂s_y/∂x|         shape (n, h, w), never negative

s_y is the logit of class y, by default the predicted one, or any other objective. x are pixels in [0, 1], so M
is in units of score per full range of a pixel.
"""

from __future__ import annotations

from torch import Tensor

from ..classifier import LOGITS, Classifier
from ..gradient import Work, evaluate
from ..objectives.base import Objective
from ..objectives.of_class import Target
from ..registry import setting, technique
from ..result import Result
from ..technique import Technique, aim, describe, need_pixels


@technique
class Saliency(Technique):
    """Which pixels matter for a class: the size of the score's gradient at each of them."""

    target: Target = setting(
        None,
        help="class to look for, by name or index; default: the one predicted for each picture",
    )
    objective: Objective | None = setting(
        None, help="score to look for in place of a class: \"LogProbability('tabby')\""
    )

    def apply(self, model: Classifier, pixels: Tensor | None, work: Work) -> Result:
        """Maps (n, h, w) from one gradient per image."""
        pixels = need_pixels(self, pixels)
        objective = aim(self.target, self.objective)
        score, gradient, kept = evaluate(model, objective, pixels, keep=[LOGITS], progress=work.progress)
        titles, facts = describe(model, objective, score, kept[LOGITS])
        return Result(
            technique=self,
            model=model.name,
            pixels=gradient.abs().amax(1),
            score=score,
            inputs=pixels,
            titles=titles,
            report={"gradients": 1, "images": facts},
        )
