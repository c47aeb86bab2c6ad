"""Parameter randomization (Adebayo 2018, §3.1): does a map change when the network forgets what it has learned?

    ρ_k = Spearman's rank correlation of M and M_k         SSIM_k = SSIM of both as they are drawn

M is the map of the trained network, M_k that of a copy whose last k of 8 or fewer groups of layers have random weights
again: cascading, from the output down, at last all of them. The class stays the one that the trained network predicts.
A map that stays alike though nothing is left of what was learned shows the picture, not the network. How layers are
reset is in forgetting.py. The ranks of a constant map are undefined: None.
"""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor

from .. import curves, images, pictures
from ..classifier import Classifier
from ..forgetting import cascade, stages
from ..gradient import Step, Work
from ..methods import METHOD, aimed, attribute
from ..objectives.logit import Logit
from ..objectives.of_class import Target, at_target
from ..ranks import seen_alike, spearman
from ..registry import setting, technique
from ..result import Result
from ..technique import Technique, describe, need_pixels

TILE = 80  # side of a map in the picture


@technique
class Randomization(Technique):
    """Whether a map is of the network or only of the picture: how it changes as layer after layer forgets."""

    method: str = setting("saliency", help=METHOD)
    target: Target = setting(
        None, help="class to look for, by name or index; default: the one predicted for each picture"
    )
    seed: int = setting(0, lo=0, help="of the random weights")

    def apply(self, model: Classifier, pixels: Tensor | None, work: Work) -> Result:
        """Maps (n, stages + 1, h, w): of the trained network, and after each stage of forgetting."""
        pixels = need_pixels(self, pixels)
        target, logits = aimed(model, pixels, self.target)
        own, gradients = attribute(self.method, model, pixels, target)
        groups = stages(model, (pixels.shape[2], pixels.shape[3]))
        maps, randomized = [own], []
        for done, _, twin in cascade(model, groups, self.seed):
            maps.append(attribute(self.method, twin, pixels, target).maps)
            randomized.append(done)
            if work.progress is not None:
                work.progress(Step(len(randomized), len(groups)))
        found = torch.stack(maps, 1)
        score = at_target(logits, target)
        titles, facts = describe(model, Logit(target), score, logits)
        for fact, series in zip(facts, found, strict=True):
            fact["rank_correlation"] = [spearman(series[0], values) for values in series]
            fact["ssim"] = [seen_alike(series[0], values) for values in series]
        ends = (said(fact["rank_correlation"][-1], fact["ssim"][-1]) for fact in facts)
        report = {
            "gradients": gradients * len(maps),
            "stages": [group[0] or model.name for group in groups],
            "randomized": [0, *randomized],
        }
        return Result(
            technique=self,
            model=model.name,
            pixels=found,
            score=score,
            inputs=pixels,
            titles=tuple(f"{t}; {self.method}, all random: {w}" for t, w in zip(titles, ends, strict=True)),
            report={**report, "images": facts},
            draw=self.draw,
        )

    def draw(self, result: Result) -> Image.Image:
        """For each picture: itself and the curves, and under them the maps."""
        blocks = []
        names = ["trained", *result.report["stages"]]
        for x, maps, fact, title in zip(
            need_pixels(self, result.inputs),
            result.pixels,
            result.report["images"],
            result.titles,
            strict=True,
        ):
            places = range(len(names))
            both = (("rank correlation", fact["rank_correlation"]), ("SSIM", fact["ssim"]))
            lines = [curves.Curve(name, places, values) for name, values in both]
            low = min([0.0, *(v for _, values in both for v in values if v is not None)])
            about = f"likeness of the maps of {self.method}"
            graph = curves.draw(
                lines, about, "random from the output down to", (560, 280), (low - 0.05, 1.05), names
            )
            drawn = [
                pictures.colour(m, *pictures.scale(m)).resize((TILE, TILE * m.shape[0] // m.shape[1]))
                for m in maps
            ]
            top = pictures.sheet([[pictures.enlarged(images.to_image(x)), graph]], [title])
            labels = [name if len(name) <= 13 else f"…{name[-12:]}" for name in names]
            row = [pictures.tiles([m], [label]) for m, label in zip(drawn, labels, strict=True)]
            blocks += [top, pictures.sheet([row])]
        return pictures.stack(blocks)


def said(correlation: float | None, similarity: float | None) -> str:
    """The likeness in words."""
    ranks = (
        "no rank correlation, a map is constant"
        if correlation is None
        else f"rank correlation {correlation:.2f}"
    )
    return ranks + ("" if similarity is None else f", SSIM {similarity:.2f}")
