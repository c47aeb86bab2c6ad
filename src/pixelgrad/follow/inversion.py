"""Feature inversion (Mahendran & Vedaldi 2015): what a layer remembers of a picture.

    x* = argmin L(x),  L = ‖Φ_l(x) − Φ_l(x₀)‖² / ‖Φ_l(x₀)‖² + λ_TV · TV^β(x) + λ_α · ‖x − ½‖_α^α
    error = √(‖Φ_l(x*) − Φ_l(x₀)‖² / ‖Φ_l(x₀)‖²)

from noise, which knows nothing of x₀. What is followed is log L: it has the same minimum, and its gradient does not
fade as L does. Adam moves a spectrum with decorrelated colours (Olah 2017), its step falling from 0.4/s^¾ to nothing
along half a cosine, with s the layer's stride: the pictures look like photographs with hardly any regulariser, and
errors are far below those of pixels. `momentum` moves pixels as the paper does: 0.9, the step a tenth after each
third.

The network is shown the picture rounded to 8 bits, so that the error is that of the picture as saved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from PIL import Image
from torch import Tensor

from .. import images, pictures
from ..ascent import Constraint, Outcome, Seen, Verdict, ascend
from ..canvases import Canvas, FourierCanvas, PixelCanvas, noise
from ..classifier import Classifier
from ..distortion import l2
from ..errors import ModelError, SettingError
from ..gradient import Work, activations_of
from ..grids import grid
from ..objectives.alpha_norm import AlphaNorm
from ..objectives.base import Objective, WeightedSum
from ..objectives.variation import Variation
from ..registry import setting, technique
from ..result import Result
from ..saved import EightBits
from ..series import series
from ..stages import stages
from ..steps import Adam, HalfCosine, Momentum, Rule, Stairs
from ..technique import Technique, need_pixels
from ..transforms import Roll


@technique
class Inversion(Technique):
    """What a layer remembers: a picture from noise that the layer takes for the photograph."""

    layer: str | tuple[str, ...] | None = setting(
        None, help="layer to invert, or several: a strip from shallow to deep; default: the network's stages"
    )
    optimizer: Literal["adam", "momentum"] = setting(
        "adam", help="adam on a spectrum, or momentum on pixels, as published"
    )
    steps: int = setting(400, lo=1, hi=100_000, help="how often the gradient is followed, for each layer")
    error: float = setting(0.0, lo=0, hi=1, help="a picture with no more than this error is finished")
    lr: float | None = setting(
        None,
        lo=1e-6,
        hi=1e6,
        help="first step; default: by the layer's stride (adam), a thousandth of the numbers (momentum)",
    )
    variation: float = setting(3e-6, lo=0, hi=1e3, help="λ_TV: how much differing neighbours cost")
    beta: float = setting(2.0, lo=1, hi=4, help="exponent of the variation: 1 keeps edges, 2 smooths them")
    alpha_norm: float = setting(0.0, lo=0, hi=1e3, help="λ_α: how much colours far from grey cost")
    alpha: float = setting(6.0, lo=1, hi=20, help="exponent of that cost")
    jitter: int = setting(
        0, lo=0, hi=1024, unit="px", help="both pictures rolled by at most that, every step"
    )
    seed: int = setting(0, lo=0, hi=2**63 - 1, help="of the noise; the same seed gives the same picture")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layer == ():
            raise SettingError("layer is the name of a layer, or several; got none")

    def apply(self, model: Classifier, pixels: Tensor | None, work: Work) -> Result:
        """Reconstructions (n, 3, h, w) of one layer, or (n, layers, 3, h, w) of several."""
        pixels = need_pixels(self, pixels)
        asked = stages(model) if self.layer is None else self.layer
        layers = tuple(model.layer(name) for name in ((asked,) if isinstance(asked, str) else asked))
        key = f"{self!r} {layers} {model.name} {model.weights} {pixels.double().sum():.9f}"

        def run(i: int, part: Work) -> Outcome:
            return self._invert(model, pixels, layers[i], part, f"{key} {i}")

        found = series(run, len(layers), work, key)
        return self._result(model, pixels, layers[: len(found)], found)

    def _invert(self, model: Classifier, pixels: Tensor, layer: str, work: Work, key: str) -> Outcome:
        """The pictures (n, 3, h, w) with the lowest error at one layer."""
        wanted = activations_of(model, pixels, [layer])[layer]
        size = l2(wanted)
        if bool((size == 0).any()):
            raise ModelError(
                f"layer {layer!r} of {model.name} is zero everywhere: it remembers nothing of it"
            )
        costs = ((self.variation, Variation(self.beta)), (self.alpha_norm, AlphaNorm(self.alpha)))
        penalty = WeightedSum(tuple((weight, cost) for weight, cost in costs if weight))
        canvas, rule, constrain = self._way(pixels, _stride(wanted, pixels))

        def judge(seen: Seen) -> Verdict:
            goal = wanted if len(seen.rows) == len(wanted) else wanted[seen.rows]
            error = l2(seen.activations[layer] - goal) / size[seen.rows]
            return Verdict(error, error <= self.error)

        return ascend(
            model,
            _LogLoss(layer, wanted, size, penalty),
            EightBits(canvas),
            rule,
            self.steps,
            transform=Roll(self.jitter) if self.jitter else None,
            constrain=constrain,
            judge=judge,
            keep=[layer],
            seed=self.seed,
            work=work,
            key=key,
        )

    def _way(self, like: Tensor, stride: float) -> tuple[Canvas, Rule, Constraint | None]:
        """What moves, how, and within which bounds."""
        if self.optimizer == "adam":
            rule: Rule = HalfCosine(Adam(self.lr or 0.4 / stride**0.75, beta1=0.8), self.steps)
            return FourierCanvas(like, self.seed), rule, None
        first = 0.5 + 0.1 * noise(self.seed, *like.shape[1:]).to(like)
        canvas = PixelCanvas(first.clamp(0, 1).repeat(len(like), 1, 1, 1))
        rule = Stairs(Momentum(self.lr or like[0].numel() / 1000), self.steps)
        return canvas, rule, lambda z, rows, step: canvas.clip(z)

    def _result(
        self, model: Classifier, pixels: Tensor, layers: tuple[str, ...], found: list[Outcome]
    ) -> Result:
        """Measured on the pictures as they are saved."""
        errors = []
        for layer, outcome in zip(layers, found, strict=True):
            files = torch.cat([images.to_pixels(images.to_image(x), "PNG") for x in outcome.pixels])
            wanted, got = (activations_of(model, x.to(pixels), [layer])[layer] for x in (pixels, files))
            errors.append(l2(got - wanted) / l2(wanted))
        error = torch.stack(errors, 1)  # (n, layers)
        gradients = torch.stack([outcome.gradients for outcome in found], 1)
        facts = [
            {
                "error": dict(zip(layers, row.tolist(), strict=True)),
                "gradients": dict(zip(layers, used.tolist(), strict=True)),
            }
            for row, used in zip(error, gradients, strict=True)
        ]
        table = tuple(
            {"image": i, "layer": layer, "error": fact["error"][layer], "gradients": fact["gradients"][layer]}
            for i, fact in enumerate(facts)
            for layer in layers
        )
        last = found[-1].interrupted
        whole = torch.stack([outcome.pixels for outcome in found], 1)
        return Result(
            technique=self,
            model=model.name,
            pixels=whole[:, 0] if len(layers) == 1 else whole,
            score=-error[:, -1],
            inputs=pixels,
            titles=tuple(", ".join(f"{k} {e:.1%}" for k, e in fact["error"].items()) for fact in facts),
            report={
                "gradients": float(gradients.double().sum(1).mean()),
                "images": facts,
                "interrupted": None if last is None else (len(found) - 1) * self.steps + last,
            },
            frames=_together([outcome.frames for outcome in found]),
            draw=None if len(layers) == 1 else self.strip,
            table=table,
        )

    def strip(self, result: Result) -> Image.Image:
        """The photograph, and what each layer remembers of it, from shallow to deep, with its error."""
        layers = list(dict.fromkeys(row["layer"] for row in result.table))
        errors = [row["error"] for row in result.table]
        rows = []
        for i, remembered in enumerate(result.pixels):
            cells = [
                pictures.captioned(images.to_image(x), f"error {errors[i * len(layers) + k]:.1%}")
                for k, x in enumerate(remembered)
            ]
            photo = [] if result.inputs is None else [pictures.enlarged(images.to_image(result.inputs[i]))]
            rows.append(photo + cells)
        return pictures.sheet(rows, layers if result.inputs is None else ["photograph", *layers])


@dataclass(frozen=True, eq=False, repr=False)
class _LogLoss(Objective):
    """−log L, of a layer and what it is to give, (n, …), with its length (n,)."""

    layer: str
    wanted: Tensor
    size: Tensor
    penalty: WeightedSum

    @property
    def needs(self) -> frozenset[str]:
        return self.penalty.needs | {self.layer}

    def __call__(self, activations: Mapping[str, Tensor]) -> Tensor:
        share = (l2(activations[self.layer] - self.wanted) / self.size).square()
        loss = share + self.penalty(activations) if self.penalty.terms else share
        return -loss.clamp_min(1e-20).log()  # at 0 nothing is left to do, and there is no gradient

    def select(self, rows: slice | Sequence[int]) -> _LogLoss:
        if rows == list(range(len(self.wanted))):  # all of them, without a copy
            return self
        return replace(self, wanted=self.wanted[rows], size=self.size[rows])

    def __repr__(self) -> str:
        return f"inversion of {self.layer!r}"


def _stride(values: Tensor, pixels: Tensor) -> float:
    """How many pixels there are to a position, along a side."""
    box = grid(values.shape[1:], (pixels.shape[2], pixels.shape[3])) or (1, 1)
    return float(((pixels.shape[2] * pixels.shape[3]) / (box[0] * box[1])) ** 0.5)


def _together(frames: list[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """The frames of several runs, side by side; one that was finished earlier keeps its last."""
    longest = max(map(len, frames))
    if len(frames) == 1 or not longest:
        return frames[0]
    runs = [[*run, *run[-1:] * (longest - len(run))] for run in frames if run]
    return tuple(torch.stack(at, 1) for at in zip(*runs, strict=True))
