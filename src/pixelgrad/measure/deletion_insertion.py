"""Deletion and insertion (Petsiuk 2018, RISE, §4.3): how fast the class goes when what counts is taken away.

    deletion     p_y of the picture, its pixels blurred from the most to the least important (of equal ones the first)
    insertion    p_y of the blurred picture, its pixels brought back in the same order
    area         ∫ p_y over the share of pixels, by the trapezoid rule: low for deletion, high for insertion is good

Blurred is the picture under a Gaussian of a twentieth of its shorter side, for both (RISE deletes to grey): the curves
have the same ends, and no map is rewarded for edges that grey squares would make. Beside the map stand two orders that
know nothing of the network: a random one (its insertion is its deletion backwards), and Sobel's edges. A map that does
no better than edges says no more than they do. y stays the class predicted for the picture itself.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from .. import curves, images, pictures
from ..classifier import LOGITS, Classifier
from ..gradient import Progress, Step, Work, activations_of, several_of
from ..methods import METHOD, aimed, attribute
from ..objectives.logit import Logit
from ..objectives.of_class import Target, at_target
from ..ranks import edges, order
from ..registry import setting, technique
from ..result import Result
from ..technique import Technique, describe, need_pixels
from ..transforms import blur

BLUR = 0.05  # standard deviation, of the picture's shorter side
WAYS = ("deletion", "insertion")
ORDERS = ("random", "edges")  # after the method


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
        random = torch.rand(pixels.shape[2:], generator=torch.Generator().manual_seed(self.seed))
        ways = [order(maps), order(random[None]).to(maps.device).expand(maps.shape), order(edges(pixels))]
        counts = shares(maps[0].numel(), self.points)
        found = trace(model, pixels, target, ways, counts, work.progress)
        areas = torch.trapezoid(found.double(), torch.tensor(counts).to(found) / maps[0].numel())
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


def shares(whole: int, points: int) -> list[int]:
    """How many of the pixels are changed at each step: none at first, all at last."""
    return [round(k * whole / points) for k in range(points + 1)]


def trace(
    model: Classifier,
    pixels: Tensor,
    target: tuple[int, ...],
    ways: list[Tensor],
    counts: list[int],
    progress: Progress | None = None,
) -> Tensor:
    """p_y (n, 2, orders, steps), by the places of the pixels (n, h, w) in each order. The second order is random: what
    is left of the picture is then as good as what was taken, and insertion is deletion backwards."""
    n, base = len(pixels), blur(pixels, BLUR * min(pixels.shape[2:]))
    inner = range(1, len(counts) - 1)
    tasks = [(w, o, k) for o in range(len(ways)) for w in range(2) for k in inner if (w, o) != (1, 1)]
    ends = torch.cat([pixels, base])
    whole, none = _probabilities(model, ends, target * 2).chunk(2)
    found = whole.new_zeros(n, 2, len(ways), len(counts))
    found[:, 0, :, 0] = found[:, 1, :, -1] = whole[:, None]
    found[:, 0, :, -1] = found[:, 1, :, 0] = none[:, None]
    left, several, done = iter(tasks), several_of(pixels), 0
    with model.borrowed():
        while block := list(islice(left, several)):
            variants = []
            for w, o, k in block:
                taken = (ways[o] < counts[k])[:, None]
                variants.append(torch.where(taken, *((pixels, base) if w else (base, pixels))))
            values = _probabilities(model, torch.cat(variants), target * len(block))
            for (w, o, k), value in zip(block, values.chunk(len(block)), strict=True):
                found[:, w, o, k] = value
            done += len(block)
            if progress is not None:
                progress(Step(done, len(tasks)))
    found[:, 1, 1] = found[:, 0, 1].flip(-1)
    return found


def _probabilities(model: Classifier, pixels: Tensor, target: tuple[int, ...]) -> Tensor:
    return at_target(activations_of(model, pixels, [LOGITS])[LOGITS].softmax(1), target)
