"""The limit: the fastest forward pass of a network that this machine gives.

Four forms of the same network, the pictures 4, 8 or 16 at a time: as its library makes it; with its convolutions laid
out channels-last; in pixelgrad's form, batch norms folded; and pixelgrad's own call, with all that comes with one.
The fastest is the limit. A gradient cannot cost much less than two of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from statistics import median

import torch
from torch import Tensor, nn

import pixelgrad as pg
from benchmarks.frame import Curve, Row, Way, turns
from benchmarks.setting import Setting, plain

SIZES = (4, 8, 16)
PLAIN = "as its library makes it"
_best: dict[tuple[str, torch.Size], tuple[str, int]] = {}  # network, pictures -> form, pictures at a time


def rows(setting: Setting) -> Iterator[Row | Curve]:
    """The fastest form over the network as it is made, and each form at each size in a note."""
    for model in setting.networks:
        pixels = setting.pictures(model, setting.images)
        (form, size), times = trial(model, pixels, setting.rounds)
        first = min((key for key in times if key[0] == PLAIN), key=lambda key: median(times[key]))
        each = ", ".join(
            f"{name} {min(median(t) for key, t in times.items() if key[0] == name):.3f} s"
            for name in forms(model)
        )
        yield Row(
            "limit",
            f"forward pass of {len(pixels)}: {form}, {size} at a time",
            model.name,
            f"{PLAIN}, {first[1]} at a time",
            times[form, size],
            times[first],
            note=f"the best of each: {each}",
        )


def two(model: pg.Classifier, pixels: Tensor) -> Way:
    """Two of the fastest forward passes of these pictures."""
    key = (model.name, pixels.shape)
    form, size = _best.get(key) or trial(model, pixels, 3)[0]
    once = passes(forms(model)[form], pixels, size)

    def run() -> None:
        once()
        once()

    return run


def trial(
    model: pg.Classifier, pixels: Tensor, rounds: int
) -> tuple[tuple[str, int], dict[tuple[str, int], tuple[float, ...]]]:
    """The fastest form and number of pictures at a time, and the seconds of all."""
    n = len(pixels)
    sizes = sorted({min(size, n) for size in SIZES})
    keys = {f"{form} {size}": (form, size) for form in forms(model) for size in sizes}
    found = turns({k: passes(forms(model)[f], pixels, size) for k, (f, size) in keys.items()}, rounds)
    times = {keys[k]: seconds for k, seconds in found.items()}
    best = min(times, key=lambda key: median(times[key]))
    _best[model.name, pixels.shape] = best
    return best, times


@cache
def forms(model: pg.Classifier) -> dict[str, Callable[[Tensor], object]]:
    """Each takes pixels to logits."""
    first, last = plain(model), plain(model)
    last.to(memory_format=torch.channels_last)

    def folded(pixels: Tensor) -> object:
        return form(model, tuple(pixels.shape[2:]))(model.normalise(pixels))

    return {
        PLAIN: lambda pixels: first(model.normalise(pixels)),
        "channels-last": lambda p: last(model.normalise(p).contiguous(memory_format=torch.channels_last)),
        "folded": folded,
        "pixelgrad's call": model,
    }


@cache
def form(model: pg.Classifier, size: tuple[int, ...]) -> nn.Module:
    """pixelgrad's form of the network for pictures of this size."""
    with torch.no_grad(), model.borrowed():
        found: nn.Module = model._faster.form(model.normalise(torch.rand(1, 3, *size)), ())
    return found


def passes(run: Callable[[Tensor], object], pixels: Tensor, size: int) -> Way:
    """The pictures through a network, so many at a time."""
    parts = pixels.split(size)

    @torch.no_grad()
    def way() -> None:
        for part in parts:
            run(part)

    return way
