"""Filters (Krizhevsky 2012, figure 3; Zeiler & Fergus 2014, figure 6): what the first convolution looks for.

    picture of filter k = ½ + w_k / (2 max|w_k|)        shape (3, h, w); mid grey is zero

w are the weights of the first convolution over colours that runs, each filter scaled on its own. They act on pixels
that are already normalised. Only in that layer are a unit's weights a picture; the score of a filter is ‖w_k‖₂.
"""

from __future__ import annotations

from typing import ClassVar

from PIL import Image
from torch import Tensor, nn

from .. import images, pictures
from ..classifier import Classifier
from ..errors import ModelError
from ..gradient import Step, Work
from ..registry import technique
from ..result import Result
from ..technique import Technique

SIDE = 64  # about that of a filter in the picture


@technique
class Filters(Technique):
    """The patterns that a network looks for first: the weights of its first convolution, as pictures."""

    needs_pixels: ClassVar[bool] = False

    def apply(self, model: Classifier, pixels: Tensor | None, work: Work) -> Result:
        """Filters (k, 3, h, w), as they are; of pictures only the size counts, at which the network is run."""
        size = None
        if pixels is not None:
            model.activations(pixels, ())  # says what is wrong with them
            size = (pixels.shape[2], pixels.shape[3])
        layer, weight = first_convolution(model, size)
        if work.progress is not None:
            work.progress(Step(1, 1))
        k, _, height, width = weight.shape
        return Result(
            technique=self,
            model=model.name,
            pixels=weight,
            score=weight.flatten(1).norm(dim=1),
            titles=(f"{layer}: {k} filters of {height}×{width}",),
            report={"gradients": 0, "layer": layer, "filters": k, "kernel": [height, width]},
            draw=draw,
        )


def first_convolution(model: Classifier, size: tuple[int, int] | None) -> tuple[str, Tensor]:
    """The first convolution over three colours that runs: its name, and a copy of its weights."""
    modules = dict(model.module.named_modules())
    for layer in model.layers(size):
        found = modules[layer.name.partition(":")[0]]
        if isinstance(found, nn.Conv2d) and found.weight.shape[1] == 3:
            return layer.name, found.weight.detach().clone()
    raise ModelError(f"{model.name} has no convolution over three colours, whose filters would be pictures")


def draw(result: Result) -> Image.Image:
    """The filters in rows, each with its index."""
    weight = result.pixels.double()
    most = weight.abs().amax((1, 2, 3), keepdim=True)
    shown = 0.5 + weight / (2 * most.where(most > 0, 1.0))
    drawn = [pictures.enlarged(images.to_image(x), SIDE) for x in shown]
    return pictures.sheet([[pictures.tiles(drawn, range(len(drawn)))]], result.titles)
