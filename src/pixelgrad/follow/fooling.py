"""Fooling images (Szegedy 2014): a picture x' like x that the network takes for another class t.

    ascent     x ← x + lr · g/‖g‖₂ with g = ∂s_t/∂x, until the network says t (CS231n)
    minimal    the smallest distance found in so many steps (DDN, Rony 2019)
    fgsm, pgd  within a radius: one step (Goodfellow 2015), or many (Madry 2018)

A picture has 8 bits, and rounding undoes most small attacks. So score and gradient are always taken at the rounded
picture, while the unrounded one moves: every forward pass then verifies what will be saved. In the same way the
network is shown what comes out of the real resize and crop of a photograph at its own size, or of a real JPEG file,
while the gradient goes through their differentiable versions. Distances are of pixels in [0, 1].
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from .. import distortion, images, jpeg
from ..ascent import Constraint, Outcome, Seen, Verdict, ascend
from ..attacks import Bounded, Shrinking, distance
from ..canvases import PixelCanvas
from ..classifier import LOGITS, Classifier
from ..errors import SettingError
from ..gradient import Work, logits_of
from ..objectives.base import Objective
from ..objectives.log_probability import LogProbability
from ..objectives.logit import Logit
from ..objectives.margin import Margin, margin
from ..objectives.of_class import Target, classes, indices
from ..registry import setting, technique
from ..result import Result
from ..saved import EightBits, View, eight_bits
from ..steps import NormalizedGradient, Rule
from ..technique import Technique, need_pixels

QUALITIES = (95, 85, 75)
STEPS = {"ascent": 100, "minimal": 33, "fgsm": 1, "pgd": 40}
RADIUS = {"l2": 2.0, "linf": 4 / 255}
# a logit that leads by less may lose the lead in another batch, whose sums are rounded in another order
LEAD = 1e-3
MISSED = 1e6  # a picture that does not fool is worse than any distance, the less so the nearer it came


@technique
class Fooling(Technique):
    """A picture that looks the same and that the network takes for something else."""

    one_by_one: ClassVar[bool] = True

    target: Target = setting(None, help="class to be taken for; default: any other than now")
    method: Literal["ascent", "minimal", "fgsm", "pgd"] = setting(
        "ascent", help="until it fools; the smallest distance; or within a radius, in one or many steps"
    )
    norm: Literal["l2", "linf"] = setting("l2", help="how distance is measured, but for ascent")
    radius: float | None = setting(
        None, lo=0, hi=1000, help="of fgsm and pgd; default: 2 in l2, 4/255 in linf"
    )
    steps: int | None = setting(
        None, lo=1, hi=10_000, help="at most; default: 100 for ascent, 33 for minimal, 40 for pgd"
    )
    lr: float = setting(0.25, lo=1e-6, hi=100, help="step of ascent: L2 length, of pixels in [0, 1]")
    resolution: Literal["model", "original"] = setting(
        "model", help="the picture as the network is given it, or the photograph at its own size"
    )
    robust: Literal["none", "jpeg"] = setting(
        "none", help="jpeg: the picture fools after a JPEG file of quality 75 as well"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.radius is not None and self.radius < (1 / 255 if self.norm == "linf" else 1e-3):
            least = "1/255, one step of 8 bits" if self.norm == "linf" else "0.001"
            raise SettingError(f"radius is at least {least}; got {self.radius:g}")

    @property
    def own_size(self) -> bool:
        """The photographs themselves, or as the network is given them."""
        return self.resolution == "original"

    def apply(self, model: Classifier, pixels: Tensor | None, work: Work) -> Result:
        """Fooling images (n, 3, h, w), of 8 bits."""
        original = eight_bits(need_pixels(self, pixels))
        view = View(model, self.own_size, self.robust == "jpeg")
        before = logits_of(model, view.prepared(original))
        target = self._target(model, before)
        objective, judge = self._goal(model, target, view, original)
        rule, constrain = self._way(original)
        outcome = ascend(
            model,
            objective,
            EightBits(PixelCanvas(original)),
            rule,
            self.steps or STEPS[self.method],
            transform=lambda x, _: view.seen(x),
            constrain=constrain,
            judge=judge,
            keep=[LOGITS],
            work=work,
            key=f"{self!r} {model.name} {model.weights} {original.double().sum():.9f}",
        )
        return self._result(model, original, before, target, view, outcome)

    def _target(self, model: Classifier, before: Tensor) -> Tensor:
        """The class of each image (n,) that it shall get; without a target, the one that it shall lose."""
        chosen = classes(before, indices(self.target, model))
        if self.target is not None and bool((chosen == before.argmax(1)).all()):
            name = model.label_of(int(chosen[0]))
            raise SettingError(f"{model.name} says {name!r} already; choose another target")
        return chosen

    def _goal(self, model: Classifier, target: Tensor, view: View, original: Tensor) -> tuple[Objective, Any]:
        """What is climbed, and who says how far it is: a success is as good as its distance, for the minimal method,
        and otherwise the end."""
        goal = tuple(target.tolist())
        if self.target is None:
            objective: Objective = -Margin(goal)
        else:
            objective = Logit(goal) if self.method == "ascent" else LogProbability(goal)
        away = self.target is None
        norm = self.norm

        def judge(seen: Seen) -> Verdict:
            rows = seen.rows
            lead = leads(seen.activations[LOGITS], target[rows], away)
            if view.robust:  # what was shown is the JPEG file; the picture itself has to fool as well
                plain = logits_of(model, view.prepared(seen.pixels))
                lead = torch.minimum(lead, leads(plain, target[rows], away))
            fools = lead > LEAD
            far = distance(seen.pixels - (original if len(rows) == len(original) else original[rows]), norm)
            minimal = self.method == "minimal"
            value = torch.where(fools, far if minimal else torch.zeros_like(far), MISSED - lead.to(far))
            finished = torch.zeros_like(fools) if minimal else fools
            return Verdict(value, finished, {"fools": fools})

        return objective, judge

    def _way(self, original: Tensor) -> tuple[Rule, Constraint | None]:
        """The step rule, and what keeps the picture within bounds."""
        if self.method == "ascent":
            return NormalizedGradient(self.lr), lambda z, rows, step: z.clamp(0, 1)
        if self.method == "minimal":
            return Shrinking(self.norm, self.steps or STEPS["minimal"]), None
        radius = self.radius or RADIUS[self.norm]
        if self.norm == "linf":
            radius = int(radius * 255 + 1e-6) / 255  # rounding to 8 bits would leave the cube otherwise
        lr = radius if self.method == "fgsm" else radius / 4
        bounded = Bounded(original, self.norm, radius, lr)
        return bounded, bounded.constrain

    def _result(
        self,
        model: Classifier,
        original: Tensor,
        before: Tensor,
        target: Tensor,
        view: View,
        outcome: Outcome,
    ) -> Result:
        """Verified on the bytes of a PNG file, and of JPEG files."""
        away = self.target is None
        asked = before.argmax(1) if away else target
        whole = torch.cat([images.to_pixels(images.to_image(fooled), "PNG") for fooled in outcome.pixels])
        afters = logits_of(model, view.prepared(whole.to(original)))
        survived = {}
        for quality in QUALITIES:
            shown = view.prepared(jpeg.saved(whole, quality).to(original))
            survived[str(quality)] = leads(logits_of(model, shown), target, away) > 0
        facts, titles = [], []
        for i, file in enumerate(whole):
            after = afters[i : i + 1]
            y = int(asked[i])
            told = int(after.argmax(1))
            facts.append(
                {
                    "success": bool(leads(after, target[i : i + 1], away) > 0),
                    "class": model.label_of(y),
                    "before": model.label_of(int(before[i].argmax())),
                    "after": model.label_of(told),
                    "confidence_before": float(before[i].softmax(0)[y]),
                    "confidence_after": float(after[0].softmax(0)[y]),
                    "gradients": int(outcome.gradients[i]),
                    **distortion.facts(file.to(original.dtype), original[i].cpu()),
                    "jpeg": {quality: bool(wins[i]) for quality, wins in survived.items()},
                }
            )
            says = f"{model.label_of(told)} {float(after[0].softmax(0)[told]):.1%}"
            titles.append(says if facts[-1]["success"] else f"{says} (not fooled)")
        difference = outcome.pixels - original
        size = difference.abs().amax((1, 2, 3), keepdim=True).clamp_min(1 / 255)
        report = {
            "gradients": float(outcome.gradients.double().mean()),
            "success": sum(f["success"] for f in facts) / len(facts),
            "images": facts,
            "interrupted": outcome.interrupted,
        }
        return Result(
            technique=self,
            model=model.name,
            pixels=outcome.pixels,
            score=outcome.score,
            inputs=original,
            titles=tuple(titles),
            shown=(0.5 + difference / (2 * size),),
            report=report,
            frames=outcome.frames,
        )


def leads(logits: Tensor, target: Tensor, away: bool) -> Tensor:
    """How far a picture is from failing, (n,): the margin of its target, or, `away` from it, that margin's negative."""
    lead = margin(logits, target)
    return -lead if away else lead
