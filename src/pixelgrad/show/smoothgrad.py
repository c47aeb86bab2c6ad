"""SmoothGrad (Smilkov 2017): the gradient of noisy copies of a picture, averaged; so is its speckle.

    mean        M = max over colours of |1/N Σ_k g_k|                   g_k = ∂s_y/∂x at x + ε_k
    squared     M = max over colours of 1/N Σ_k g_k²                    (Hooker 2019, SmoothGrad-Squared)
    variance    M = max over colours of 1/N Σ_k (g_k − 1/N Σ_j g_j)²    (Adebayo 2018, VarGrad)

M has shape (n, h, w) and is never negative. ε_k is normal noise of standard deviation noise · (max x − min x), for all
pictures the same but for that range; the copies are not clipped. y stays the class that is predicted for the picture
without noise, whose score is reported.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from ..classifier import LOGITS, Classifier
from ..gradient import Step, Work, activations_of, evaluate_each, several_of
from ..objectives.base import Objective
from ..objectives.of_class import Target, fixed
from ..registry import setting, technique
from ..result import Result
from ..technique import Technique, aim, describe, need_pixels


@technique
class SmoothGrad(Technique):
    """Which pixels matter for a class, with less speckle: the gradient averaged over noisy copies of the picture."""

    target: Target = setting(
        None,
        help="class to look for, by name or index; default: the one predicted for each picture",
    )
    objective: Objective | None = setting(
        None, help="score to look for in place of a class: \"LogProbability('tabby')\""
    )
    kind: Literal["mean", "squared", "variance"] = setting(
        "mean", help="of the gradients: their mean, the mean of their squares, or their variance"
    )
    samples: int = setting(32, lo=1, help="noisy copies of each picture")
    noise: float = setting(0.15, lo=0, help="standard deviation of the noise", unit="of the picture's range")
    seed: int = setting(0, lo=0, help="of the noise")

    def apply(self, model: Classifier, pixels: Tensor | None, work: Work) -> Result:
        """Maps (n, h, w) from `samples` gradients per image."""
        pixels = need_pixels(self, pixels)
        asked = aim(self.target, self.objective).resolve(model)
        seen = activations_of(model, pixels, (*asked.needs, LOGITS))
        score, objective = asked(seen), fixed(asked, seen[LOGITS])
        mean, squares = torch.zeros_like(pixels), torch.zeros_like(pixels)
        with model.borrowed():
            each = evaluate_each(model, objective, self._copies(pixels), several_of(pixels))
            for k, (_, gradient) in enumerate(each, 1):
                off = gradient - mean  # Welford: no difference of two large sums
                mean += off / k
                squares += (gradient - mean) * off if self.kind == "variance" else gradient.square()
                if work.progress is not None:
                    work.progress(Step(k, self.samples))
        found = mean.abs() if self.kind == "mean" else squares / self.samples
        titles, facts = describe(model, asked, score, seen[LOGITS])
        return Result(
            technique=self,
            model=model.name,
            pixels=found.amax(1),
            score=score,
            inputs=pixels,
            titles=titles,
            report={"gradients": self.samples, "images": facts},
        )

    def _copies(self, pixels: Tensor) -> Iterator[Tensor]:
        """The noisy copies (n, 3, h, w), one after the other."""
        random = torch.Generator().manual_seed(self.seed)
        size = pixels.amax((1, 2, 3), keepdim=True) - pixels.amin((1, 2, 3), keepdim=True)
        for _ in range(self.samples):
            yield pixels + self.noise * size * torch.randn(pixels.shape[1:], generator=random).to(pixels)
