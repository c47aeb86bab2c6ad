"""Grad-CAM (Selvaraju 2017): where a layer sees what speaks for a class.

    M = max(0, Σ_k w_k A_k)        w_k = mean over positions of ∂s_y/∂A_k        shape (n, h, w), never negative

A_k are the channels of a layer, by default the last one that has positions; a transformer's tokens lie on their grid.
The map has the layer's size and is enlarged bilinearly to that of the picture. Guided (§3): the enlarged M times the
gradient of guided backpropagation, shape (n, 3, h, w), signed: the fine lines, only where the class is.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from .. import heatmaps
from ..classifier import LOGITS, Classifier
from ..errors import ModelError, SettingError
from ..gradient import Progress, Step, Work, at_layer, evaluate
from ..grids import spatial
from ..objectives.base import Objective
from ..objectives.of_class import Target
from ..registry import setting, technique
from ..result import Result
from ..rules import BackwardRule
from ..stages import last_spatial
from ..technique import Technique, aim, describe, need_pixels

Box = tuple[int, int]


@technique
class GradCam(Technique):
    """Where in the picture the network sees a class: coarse, from a deep layer."""

    target: Target = setting(
        None,
        help="class to look for, by name or index; default: the one predicted for each picture",
    )
    objective: Objective | None = setting(
        None, help="score to look for in place of a class: \"LogProbability('tabby')\""
    )
    layer: str | None = setting(
        None,
        help="layer, as `pixelgrad layers` lists them; default: the last one with positions that the score depends on",
    )
    guided: bool = setting(False, help="the fine lines in the map: its product with guided backpropagation")

    def apply(self, model: Classifier, pixels: Tensor | None, work: Work) -> Result:
        """Maps (n, h, w) from one gradient per image, which ends at the layer; guided (n, 3, h, w), from two."""
        pixels = need_pixels(self, pixels)
        model.activations(pixels, ())  # says what is wrong with them
        size = (pixels.shape[2], pixels.shape[3])
        objective = aim(self.target, self.objective)
        layer = deepest(model, size) if self.layer is None else model.layer(self.layer)
        maps, scores, logits = [], [], []
        progress = half(work.progress, 0) if self.guided else work.progress
        for part in at_layer(model, objective, pixels, layer, [LOGITS], progress):
            small = cam(positions(part.activations, size, layer), spatial(part.gradient, size, layer))
            maps.append(F.interpolate(small[:, None], size, mode="bilinear")[:, 0])
            scores.append(part.score)
            logits.append(part.kept[LOGITS])
        if not maps:
            raise ModelError("no images: pixels are (0, 3, height, width)")
        score, found = torch.cat(scores), torch.cat(maps)
        report: dict[str, Any] = {"gradients": 1, "layer": layer, "grid": list(small.shape[1:])}
        if self.guided:
            rule, progress = BackwardRule("guided"), half(work.progress, len(pixels))
            found = found[:, None] * evaluate(model, objective, pixels, progress=progress, rule=rule).gradient
            report |= {"gradients": 2, **rule.report()}
        titles, facts = describe(model, objective, score, torch.cat(logits))
        return Result(
            technique=self,
            model=model.name,
            pixels=found,
            score=score,
            inputs=pixels,
            titles=titles,
            report={**report, "images": facts},
            each=draw if self.guided else None,
        )


def draw(result: Result) -> list[Image.Image]:
    """Each guided map around mid grey."""
    assert result.inputs is not None
    return heatmaps.greys(result.pixels, result.inputs, result.view)


def half(progress: Progress | None, before: int) -> Progress | None:
    """The progress of one of two passes over the pictures, when so many went through in the pass before."""
    if progress is None:
        return None
    return lambda step: progress(Step(before + step.done, 2 * step.total))


def cam(activations: Tensor, gradient: Tensor) -> Tensor:
    """The map (n, h, w) at the layer's size, of its activations and their gradient (n, c, h, w)."""
    weights = gradient.mean((2, 3), keepdim=True)
    return (weights * activations).sum(1).clamp(min=0)


def positions(activations: Tensor, size: Box, layer: str) -> Tensor:
    """Activations (n, c, h, w). Raises SettingError where the layer has but one position."""
    found = spatial(activations, size, layer)
    if found.shape[2:] == (1, 1):
        raise SettingError(f"layer {layer!r} has one position for the whole picture; choose an earlier one")
    return found


def deepest(model: Classifier, size: Box) -> str:
    """The deepest layer whose positions the logits depend on: the end of the last stage, unless from there only the
    class token of a transformer goes on; then the last layer of the same shape before that."""
    layer = last_spatial(model)
    listed = model.layers(size)
    shape = next(x.shape for x in listed if x.name == layer)
    if len(shape) != 2:
        return layer
    names = [layer, *(x.name for x in reversed(listed) if x.shape == shape)]
    noise = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode(False), torch.enable_grad(), model.borrowed():
        x = noise.to(model.device, model.dtype).requires_grad_()
        found = model.activations(x, (*names, LOGITS))
        values = [found[name] for name in names]
        grads = torch.autograd.grad(found[LOGITS].amax(), values, allow_unused=True)
    used = (n for n, g in zip(names, grads, strict=True) if g is not None and spatial(g, size).any())
    return next(used, layer)
