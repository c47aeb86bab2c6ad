"""DeepDream (Google 2015): whatever a layer sees in a photograph, more of it.

    x ← x + lr · g / mean|g|,  g = ∂/∂x ½‖Φ_l(x)‖²        x within [0, 1]; the mean is over the whole picture

The gradient is the activations sent back (CS231n). The picture grows in octaves: some steps at a small size, then what
they have added is enlarged and added to the photograph at the next (octaves.py). Every step it is rolled at random by
up to ±jitter, and large pictures are taken in tiles (tiles.py). With a guide G, a second picture at the same layer,
every position p is drawn to what is most like it there: Σ_p max_q Φ(x)_p · G_q.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from .. import images, tiles
from ..ascent import Outcome, ascend
from ..classifier import PIXELS, Classifier
from ..errors import ModelError, SettingError
from ..gradient import Evaluation, Work
from ..grids import spatial
from ..objectives.base import Objective
from ..objectives.channel import Channel
from ..objectives.squared_norm import SquaredNorm
from ..octaves import Masked, Octaves, Size, resized, sizes
from ..registry import setting, technique
from ..result import Result
from ..stages import middle
from ..steps import MeanGradient, Rule
from ..technique import Technique, need_pixels
from ..transforms import Draw, Roll

AT_ONCE = 2**24  # products of a picture's and a guide's positions in memory


@technique
class Deepdream(Technique):
    """A photograph with more and more of what a layer sees in it."""

    one_by_one: ClassVar[bool] = True

    layer: str | tuple[str, ...] | None = setting(
        None, help="layer that dreams; several: their sum; default: the middle stage of the network"
    )
    channel: int | None = setting(None, lo=0, help="only this channel of the layer: its mean")
    guide: str | None = setting(
        None, help="picture to dream of: every place becomes what is most like it there", role="picture"
    )
    objective: Objective | None = setting(
        None, help="score in place of a layer: \"SquaredNorm('blocks.2') + 9 * Channel('blocks.4', 12)\""
    )
    octaves: int = setting(4, lo=1, hi=20, help="sizes that it dreams at, the last the photograph's own")
    ratio: float = setting(1.4, lo=1.01, hi=10, help="of each size to the one before")
    steps: int = setting(10, lo=1, hi=10_000, help="how often the gradient is followed at each size")
    lr: float = setting(0.006, lo=1e-6, hi=1, help="how far a pixel in [0, 1] moves in a step, on average")
    jitter: int = setting(
        32,
        lo=0,
        hi=tiles.SIDE,
        unit="px",
        help=f"rolled by ± at most that, every step; where a side is over {tiles.SIDE} px, by ± {tiles.SIDE}",
    )
    mask: str | None = setting(
        None, help="picture that is white where it dreams, black where it does not", role="picture"
    )
    zoom: int = setting(
        0,
        lo=0,
        hi=10_000,
        help="pictures of a flight into the dream, after it; an animation shows them",
        role="count",
    )
    seed: int = setting(0, lo=0, hi=2**63 - 1, help="of the jitter; the same seed gives the same picture")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layer == ():
            raise SettingError("layer is the name of a layer, or several; got none")
        single = {"layer": self.layer, "channel": self.channel, "guide": self.guide}
        other = [name for name, value in single.items() if value is not None]
        if self.objective is not None and other:
            raise SettingError(f"give {other[0]} or objective, not both")
        if self.channel is not None and self.guide is not None:
            raise SettingError("give channel or guide, not both: a guide is matched in all channels")
        if self.mask is not None and self.zoom:
            raise SettingError("give mask or zoom, not both: a mask stays where it is")

    @property
    def own_size(self) -> bool:
        """Always."""
        return True

    def apply(self, model: Classifier, pixels: Tensor | None, work: Work) -> Result:
        """Dreams (n, 3, h, w)."""
        pixels = need_pixels(self, pixels).to(model.device)
        model.activations(pixels, [PIXELS])  # says what is no picture
        guide = None if self.guide is None else images.open_image(self.guide, model)
        objective = self._goal(model, guide).resolve(model)
        mask = None if self.mask is None else _mask(self.mask, pixels)
        levels = self._levels(model, objective, pixels)
        canvas = Octaves(pixels, levels, self.steps, mask)
        rule: Rule = MeanGradient(self.lr)
        dreamt = len(levels) * self.steps
        before = tiles.score_tiles(model, objective, pixels)
        outcome = ascend(
            model,
            objective,
            canvas,
            rule if mask is None else Masked(rule, mask),
            dreamt + self.zoom * self.steps,
            transform=self._rolled,
            enter=canvas.enter,
            constrain=lambda z, *_: z.clamp_(0, 1),
            measure=_measure,
            seed=self.seed,
            work=work,
            frame=(lambda step: step >= dreamt and step % self.steps == 0) if self.zoom else None,
            key=f"{self!r} {objective!r} {model.name} {model.weights} {_sums(pixels, mask, guide)}",
        )
        dream = canvas.grown(outcome.pixels, levels[-1])  # interrupted, it may be smaller
        return self._result(model, objective, canvas, before, dream, outcome)

    def _goal(self, model: Classifier, guide: Tensor | None) -> Objective:
        if self.objective is not None:
            return self.objective
        layers = (middle(model),) if self.layer is None else self.layer
        goals: list[Objective] = []
        for layer in (layers,) if isinstance(layers, str) else layers:
            if guide is not None:
                goals.append(_Guided(str(self.guide), model.layer(layer), _vectors(model, guide, layer)))
            else:
                goals.append(SquaredNorm(layer) if self.channel is None else Channel(layer, self.channel))
        return sum(goals[1:], goals[0])

    def _levels(self, model: Classifier, objective: Objective, pixels: Tensor) -> tuple[Size, ...]:
        """The octaves, but for the smallest ones that the network does not take."""
        levels = sizes(tuple(pixels.shape[-2:]), self.octaves, self.ratio)
        while len(levels) > 1:
            try:
                tiles.score_tiles(model, objective, resized(pixels[:1], levels[0]))
                break
            except ModelError:
                levels = levels[1:]
        return levels

    def _rolled(self, pixels: Tensor, draw: Draw) -> Tensor:
        """The jitter; where there are tiles, by so much that their seams may be anywhere."""
        most = tiles.SIDE if tiles.tiled(pixels) else self.jitter
        return Roll(most, -most)(pixels, draw)

    def _result(
        self,
        model: Classifier,
        objective: Objective,
        canvas: Octaves,
        before: Tensor,
        dream: Tensor,
        outcome: Outcome,
    ) -> Result:
        score = tiles.score_tiles(model, objective, dream)
        facts = [
            {"objective": repr(objective), "octaves": len(canvas.sizes), "score_before": a, "score_after": b}
            for a, b in zip(before.tolist(), score.tolist(), strict=True)
        ]
        report: dict[str, Any] = {
            "gradients": int(outcome.gradients[0]),
            "octaves": [list(size) for size in canvas.sizes],
            "images": facts,
        }
        if outcome.interrupted is not None:
            report["interrupted"] = outcome.interrupted
        return Result(
            technique=self,
            model=model.name,
            pixels=dream,
            score=score,
            inputs=canvas.photo,
            titles=tuple(f"{objective!r}: {f['score_before']:.4g} → {f['score_after']:.4g}" for f in facts),
            report=report,
            frames=outcome.frames,
        )


@dataclass(frozen=True, eq=False, repr=False)
class _Guided(Objective):
    """Σ_p max_q Φ(x)_p · G_q, with the vectors of the guide G (q, c)."""

    guide: str
    layer: str
    vectors: Tensor

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({PIXELS, self.layer})

    def __call__(self, activations: Mapping[str, Tensor]) -> Tensor:
        values = _positions(activations, self.layer)
        with torch.no_grad():
            best = [
                self.vectors[(row @ self.vectors.T).argmax(1)]
                for image in values
                for row in image.split(max(1, AT_ONCE // len(self.vectors)))
            ]
        return (values * torch.cat(best).reshape(values.shape)).flatten(1).sum(1)

    def __repr__(self) -> str:
        return f"guide {self.guide!r} at {self.layer!r}"


@torch.no_grad()
def _vectors(model: Classifier, guide: Tensor, layer: str) -> Tensor:
    """G (q, c): what a layer says at each position of the guide."""
    layer = model.layer(layer)
    return _positions(model.activations(guide, [PIXELS, layer]), layer)[0]


def _positions(activations: Mapping[str, Tensor], layer: str) -> Tensor:
    """The activations (n, p, c) of a layer at every position p of the picture."""
    height, width = activations[PIXELS].shape[-2:]
    return spatial(activations[layer], (height, width), layer).flatten(2).transpose(1, 2)


def _measure(model: Classifier, objective: Objective, pixels: Tensor, keep: object, step: int) -> Evaluation:
    return tiles.evaluate_tiles(model, objective, pixels)


def _mask(file: str, pixels: Tensor) -> Tensor:
    """The brightness (1, 1, h, w) of a picture, at the size of others."""
    mask = resized(images.open_image(file).mean(1, keepdim=True).to(pixels), tuple(pixels.shape[-2:]))
    if not bool((mask > 0).any()):
        raise SettingError(
            f"the mask {file} is black everywhere: nothing would dream; white is where it does"
        )
    return mask


def _sums(*pictures: Tensor | None) -> list[float | None]:
    """Numbers that differ where pictures do."""
    return [None if x is None else float(x.sum(dtype=torch.float64)) for x in pictures]
