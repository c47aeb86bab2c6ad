"""Published ways of making a picture of a class, one of our own, and what each of their numbers does.

course   Stanford CS231n, Network Visualization: pixels in the network's normalisation, from N(0, 1); L2 1e-3,
         step 25·g/‖g‖₂, rolled by up to 16 pixels, clipped, blurred with σ = 0.5 every 10th step; 100 steps
lucid    Olah 2017, Lucid's defaults: Fourier canvas; grey frame of 12, moved by 8, scaled by 0.9 to 1.1,
         turned by up to 10°, moved by 4; Adam with 0.05, 512 steps
maco     Fel 2023: only the phases of a spectrum; crops of 50 % falling to 5 %, noise 0.08; NAdam with 1, 256 steps
robust   from trials with two networks that judge each other's pictures: Lucid's canvas with far stronger
         changes (moved by up to 24, scaled by 0.55 to 1.45, turned by up to 15°, noise 0.1) and total variation
         0.03; Adam with 0.07, falling to nothing over the last third of 256 steps
quick    a first look: Lucid's settings, but 64 steps, and at most 128 pixels where the network takes that

Pixels are those of a picture of 224×224.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from PIL import Image
from torch import Tensor

from .ascent import Constraint
from .canvases import Canvas, FourierCanvas, MacoCanvas, PixelCanvas, magnitudes, noise
from .classifier import Classifier
from .errors import ModelError
from .objectives.base import Objective
from .objectives.energy import Energy
from .objectives.variation import Variation
from .steps import Adam, Cooling, NormalizedGradient, Rule
from .transforms import Chain, Noise, Roll, Transform, Turn, Views, Zoom, blur

BLUR_EVERY = 10
VIEWS = 8  # crops that MACO looks at in each step; Fel takes 32

Size = tuple[int, int]


@dataclass(frozen=True)
class Preset:
    """canvas and rule; the other names are those of the technique's settings, which explain them."""

    canvas: Literal["pixels", "fourier", "maco"]
    rule: Rule
    steps: int
    l2: float = 0.0
    variation: float = 0.0
    jitter: int = 0
    scale: float = 0.0
    rotation: float = 0.0
    noise: float = 0.0
    blur: float = 0.0
    cools: bool = False
    widest: int | None = None

    def follow(self) -> Rule:
        """The rule; where it cools, its steps fall to nothing towards the end."""
        return Cooling(self.rule, self.steps) if self.cools else self.rule

    def at(self, side: int) -> Preset:
        """The same for pictures of another side than 224: moved by the same share of it."""
        return replace(self, jitter=round(self.jitter * side / 224))

    def size(self, model: Classifier) -> Size:
        """Of the pictures: the network's own size, of maco twice that; or `widest`, where the network takes that."""
        height, width = model.preprocessing.size or (224, 224)
        if self.canvas == "maco":
            return 2 * height, 2 * width
        if self.widest is None or max(height, width) <= self.widest:
            return height, width
        try:
            model.layers(self.widest)
        except (ModelError, RuntimeError):
            return height, width
        return self.widest, self.widest

    def objective(self, score: Objective) -> Objective:
        """score − λ·energy − λ_TV·variation."""
        objective = score
        if self.l2:
            objective -= self.l2 * Energy(None, None)
        if self.variation:
            objective -= self.variation * Variation(2.0)
        return objective

    def start(
        self, model: Classifier, n: int, size: Size, seed: int, photographs: Iterable[Image.Image]
    ) -> tuple[Canvas, Constraint | None]:
        """The canvas for pixels (n, 3, h, w), and what keeps it within bounds. A network of less precision than float32
        is shown pictures of float32: small steps would be lost, and no spectrum has less."""
        dtype = torch.promote_types(model.dtype, torch.float32)
        like = torch.zeros(n, 3, *size, dtype=dtype, device=model.device)
        if self.canvas == "fourier":
            return FourierCanvas(like, seed), None
        if self.canvas == "maco":
            return MacoCanvas(like, magnitudes(crops(photographs, like)), seed), None
        mean, std = (like.new_tensor(values)[:, None, None] for values in (model.mean, model.std))
        first = mean + std * noise(seed, *like.shape[1:]).to(like)
        canvas = PixelCanvas(first.clamp(0, 1).repeat(len(like), 1, 1, 1), model.mean, model.std)

        def constrain(z: Tensor, rows: Tensor, step: int) -> Tensor:
            z = canvas.clip(z)
            return blur(z, self.blur) if self.blur and step % BLUR_EVERY == 0 else z

        return canvas, constrain

    def transform(self, seen: Size) -> Transform:
        """How the network is shown a picture; MACO's crops are of the size `seen` by the network."""
        parts: list[Transform] = []
        before = after = 0
        if self.canvas == "maco":
            parts.append(Zoom(seen))
        if self.canvas == "pixels":
            parts.append(Roll(self.jitter))
        else:  # two thirds before the turn and one after it, as in Lucid
            before = round(self.jitter * 2 / 3)
            after = self.jitter - before
        if self.scale or self.rotation or self.canvas == "fourier":
            parts.append(Turn(self.scale, self.rotation, before, after))
        parts.append(Noise(self.noise))
        return Views(VIEWS, Chain(tuple(parts))) if self.canvas == "maco" else Chain(tuple(parts))


LUCID = Preset("fourier", Adam(0.05), 512, jitter=12, scale=0.1, rotation=10)
PRESETS = {
    "course": Preset("pixels", NormalizedGradient(25), 100, l2=1e-3, jitter=16, blur=0.5),
    "lucid": LUCID,
    "robust": Preset(
        "fourier", Adam(0.07), 256, variation=0.03, jitter=48, scale=0.45, rotation=15, noise=0.1, cools=True
    ),
    "maco": Preset("maco", Adam(1.0, nesterov=True), 256, noise=0.08),
    "quick": replace(LUCID, steps=64, widest=128),
}


def crops(photographs: Iterable[Image.Image], like: Tensor) -> Tensor:
    """Pixels (10 for each photograph, 3, h, w): its corners and centre, and those of its mirror image."""
    from torchvision.transforms import functional as F  # takes a second, so only when it is wanted

    size = list(like.shape[-2:])
    found = []
    for photo in photographs:
        photo = F.resize(photo, [round(1.25 * max(size))])
        found += [F.pil_to_tensor(crop) for crop in F.ten_crop(photo, size)]
    return torch.stack(found).to(like) / 255
