"""Input × gradient (Shrikumar 2016): what each pixel adds to the score, where the score is taken for linear.

    A = (x − μ) · ∂s_y/∂x        shape (n, 3, h, w), with signs

x are pixels in [0, 1] and μ is the mean of the network's normalisation, so that A is the product of what the network is
given, (x − μ)/σ, and the gradient with respect to that: a pixel of colour μ is zero to the network and adds nothing.
The picture shows |Σ A over colours|; the raw values are A.
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
from ..technique import Technique, aim, describe, need_pixels


@technique
class InputXGradient(Technique):
    """What each pixel adds to a class's score, by the gradient alone: pixel times slope."""

    target: Target = setting(
        None,
        help="class to look for, by name or index; default: the one predicted for each picture",
    )
    objective: Objective | None = setting(
        None, help="score to look for in place of a class: \"LogProbability('tabby')\""
    )

    def apply(self, model: Classifier, pixels: Tensor | None, work: Work) -> Result:
        """Attributions (n, 3, h, w) from one gradient per image."""
        pixels = need_pixels(self, pixels)
        objective = aim(self.target, self.objective)
        score, gradient, kept = evaluate(model, objective, pixels, keep=[LOGITS], progress=work.progress)
        titles, facts = describe(model, objective, score, kept[LOGITS])
        return Result(
            technique=self,
            model=model.name,
            pixels=(pixels - pixels.new_tensor(model.mean)[:, None, None]) * gradient,
            score=score,
            inputs=pixels,
            titles=titles,
            report={"gradients": 1, "images": facts},
            each=draw,
        )


def draw(result: Result) -> list[Image.Image]:
    """The size of what each pixel adds, its colours together."""
    return heatmaps.heats(result.pixels.sum(1).abs(), result.inputs, result.view)
