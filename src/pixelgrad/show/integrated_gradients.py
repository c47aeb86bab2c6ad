"""Integrated gradients (Sundararajan 2017): the gradient along the way from a baseline x' to the picture, summed up.

    A = (x − x') · ∫₀¹ ∂s_y/∂x (x' + α(x − x')) dα        shape (n, 3, h, w), with signs

Complete: Σ A = s_y(x) − s_y(x'). The integral is a sum over N points, by Gauss and Legendre's rule or the trapezoid
rule (whose weights are 1/(N−1), at the ends half of that); N is doubled until the residual
|Σ A − (s_y(x) − s_y(x'))| / |s_y(x) − s_y(x')| is within the tolerance, for each picture by itself, up to 512
points. The picture shows |Σ A over colours|, as the paper does; the raw values are A. y stays the class predicted
for x.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .. import heatmaps
from ..classifier import LOGITS, Classifier
from ..gradient import Progress, Step, Work, activations_of, evaluate_each, several_of
from ..objectives.base import Objective
from ..objectives.of_class import Target, fixed
from ..registry import setting, technique
from ..result import Result
from ..technique import Technique, aim, describe, need_pixels
from ..transforms import blur

MOST = 512  # points, unless more are asked for
BLUR = 0.05  # standard deviation of the blurred baseline, of the picture's shorter side


@technique
class IntegratedGradients(Technique):
    """What each pixel adds to a class's score, against a picture that shows nothing; all together make up the score."""

    target: Target = setting(
        None,
        help="class to look for, by name or index; default: the one predicted for each picture",
    )
    objective: Objective | None = setting(
        None, help="score to look for in place of a class: \"LogProbability('tabby')\""
    )
    baseline: Literal["black", "grey", "blur", "noise"] = setting(
        "black", help="the picture that shows nothing: black, mid grey, the picture blurred, or even noise"
    )
    rule: Literal["gauss-legendre", "trapezoid"] = setting(
        "gauss-legendre", help="how the integral is summed"
    )
    steps: int = setting(32, lo=2, hi=4096, help="points on the way, at first")
    tolerance: float = setting(
        0.01, lo=0, help="residual with which the points are enough; above, they are doubled, up to 512"
    )
    seed: int = setting(0, lo=0, help="of the noise as baseline")

    def apply(self, model: Classifier, pixels: Tensor | None, work: Work) -> Result:
        """Attributions (n, 3, h, w) from `steps` gradients per image, or more."""
        pixels = need_pixels(self, pixels)
        asked = aim(self.target, self.objective).resolve(model)
        seen = activations_of(model, pixels, (*asked.needs, LOGITS))
        score, objective = asked(seen), fixed(asked, seen[LOGITS])
        base = self._baseline(pixels)
        rise = (score - objective(activations_of(model, base, objective.needs))).double()
        found, residual = torch.zeros_like(pixels), torch.zeros_like(rise)
        used, steps = [0] * len(pixels), self.steps
        gradients = 0
        todo = list(range(len(pixels)))
        while todo:
            rows = objective.select(todo)
            found[todo] = self._integral(
                model, rows, pixels[todo], base[todo], steps, gradients, work.progress
            )
            gradients += steps
            residual[todo] = _residual(found[todo], rise[todo])
            for i in todo:
                used[i] = steps
            todo = [i for i in todo if residual[i] > self.tolerance]  # not where it is no number
            steps *= 2
            if steps > MOST:
                break
        titles, facts = describe(model, asked, score, seen[LOGITS])
        for fact, r, n in zip(facts, residual.tolist(), used, strict=True):
            fact |= {"residual": r, "steps": n, "complete": r <= self.tolerance}
        titles = tuple(
            title
            if fact["complete"]
            else f"{title}; off by {fact['residual']:.1%} after {fact['steps']} steps"
            for title, fact in zip(titles, facts, strict=True)
        )
        return Result(
            technique=self,
            model=model.name,
            pixels=found,
            score=score,
            inputs=pixels,
            titles=titles,
            report={"gradients": gradients, "images": facts},
            each=draw,
        )

    def _integral(
        self,
        model: Classifier,
        objective: Objective,
        pixels: Tensor,
        base: Tensor,
        steps: int,
        before: int,
        progress: Progress | None,
    ) -> Tensor:
        way, mean = pixels - base, torch.zeros_like(pixels)
        places, weights = points(self.rule, steps)
        with model.borrowed():
            each = evaluate_each(model, objective, (base + a * way for a in places), several_of(pixels))
            for k, (weight, (_, gradient)) in enumerate(zip(weights, each, strict=True), before + 1):
                mean += weight * gradient
                if progress is not None:
                    progress(Step(k, before + steps))
        return way * mean

    def _baseline(self, pixels: Tensor) -> Tensor:
        if self.baseline == "noise":
            random = torch.Generator().manual_seed(self.seed)
            return torch.rand(pixels.shape[1:], generator=random).to(pixels).expand_as(pixels)
        if self.baseline == "blur":
            return torch.cat([blur(x[None], BLUR * min(x.shape[1:])) for x in pixels])
        return torch.full_like(pixels, 0.5 if self.baseline == "grey" else 0)


def points(rule: str, steps: int) -> tuple[list[float], list[float]]:
    """Where in [0, 1] a rule of integration looks, and the weights of its points, which sum to 1."""
    if rule == "trapezoid":
        weights = np.full(steps, 1 / (steps - 1))
        weights[[0, -1]] /= 2
        return np.linspace(0, 1, steps).tolist(), weights.tolist()
    places, weights = np.polynomial.legendre.leggauss(steps)
    return ((1 + places) / 2).tolist(), (weights / 2).tolist()


def _residual(found: Tensor, rise: Tensor) -> Tensor:
    """How far the attributions are from adding up, as a share of what they should add up to; (n,)."""
    off = (found.double().flatten(1).sum(1) - rise).abs()
    return off / rise.abs().clamp(min=torch.finfo(rise.dtype).tiny) * (off > 0)


def draw(result: Result) -> list[Image.Image]:
    """The size of what each pixel adds, its colours together."""
    return heatmaps.heats(result.pixels.sum(1).abs(), result.inputs, result.view)
