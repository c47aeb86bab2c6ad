"""Feature inversion and DeepDream of a layer in the first third of the network, per step, against the same with the
whole forward pass.

The layer is the last block that ends within the first third of the layers, in the order in which they run. Beside
ours is what one writes without a library: the network as it is made runs to its end, a hook reads the layer, autograd
goes back from there. It has the same canvas, rule, objective and jitter, ours by the same functions where they are
not the network's: a spectrum moved by Adam for the inversion, pixels moved by g / mean|g| for the dream. Each has its
turn after every step of ours.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

import pixelgrad as pg
from benchmarks.frame import Curve, Row, Way, alongside
from benchmarks.setting import Setting, plain
from pixelgrad.canvases import FourierCanvas
from pixelgrad.objectives.variation import Variation

LAYERS = {"efficientnet_lite0": "blocks.2", "squeezenet1_0": "features.4"}
STEPS = 10
WHOLE = 1 / 3  # goal, of the time with the whole forward pass

Reader = Callable[[Tensor], Tensor]


def rows(setting: Setting) -> Iterator[Row | Curve]:
    """Both on each network."""
    n = max(1, setting.images // 4)
    for model in setting.networks:
        pixels, layer = setting.pictures(model, n), LAYERS[model.name]
        techniques = {
            "inversion": pg.make("follow/inversion", layer=layer, steps=STEPS),
            "DeepDream": pg.make("follow/deepdream", layer=layer, steps=STEPS, octaves=1),
        }
        reader = hooked(plain(model, hooked=True).requires_grad_(False), layer)  # no weight gradients
        loops = {"inversion": inversion(model, reader, pixels), "DeepDream": dream(model, reader, pixels)}
        for name, technique in techniques.items():
            run = functools.partial(technique.run, model, pixels)
            times = alongside(run, {"other": loops[name]})
            yield Row(
                "shallow",
                f"step of {name} of {n}, {layer}",
                model.name,
                "the whole forward pass",
                times["own"],
                times["other"],
                WHOLE,
            )


def hooked(module: nn.Module, layer: str) -> Reader:
    """From the network's input to a layer's output, by running all of the network."""
    found: list[Tensor] = []
    module.get_submodule(layer).register_forward_hook(lambda _, __, output: found.append(output))

    def read(x: Tensor) -> Tensor:
        found.clear()
        module(x)
        return found[0]

    return read


def inversion(model: pg.Classifier, read: Reader, pixels: Tensor) -> Way:
    """A step of log L, with total variation, on a spectrum."""
    canvas, rows = FourierCanvas(pixels, 0), torch.arange(len(pixels))
    z = canvas.start().requires_grad_()
    adam, variation = torch.optim.Adam([z], 0.05), Variation(2.0)
    with torch.no_grad():
        wanted = read(model.normalise(pixels))
        size = wanted.flatten(1).square().sum(1)

    def step() -> None:
        x = canvas.pixels(z, rows)
        off = (read(model.normalise(x)) - wanted).flatten(1).square().sum(1)
        loss = (off / size + 3e-6 * variation({"pixels": x})).log().sum()
        adam.zero_grad()
        loss.backward()
        adam.step()

    return step


def dream(model: pg.Classifier, read: Reader, pixels: Tensor) -> Way:
    """A step of ½‖Φ‖², on pixels that are rolled."""
    picture = pixels.clone()
    random = torch.Generator().manual_seed(0)

    def step() -> None:
        nonlocal picture
        down, right = torch.randint(-32, 33, (2,), generator=random).tolist()
        x = picture.roll((down, right), (2, 3)).requires_grad_()
        read(model.normalise(x)).square().sum().mul(0.5).backward()
        assert x.grad is not None
        with torch.no_grad():
            moved = x + 0.006 * x.grad / x.grad.abs().mean((1, 2, 3), keepdim=True)
            picture = moved.roll((-down, -right), (2, 3)).clamp(0, 1)

    return step
