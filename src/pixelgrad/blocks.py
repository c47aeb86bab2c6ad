"""Pictures of a data set through a network, always equally many at once and on one thread.

Sums of floats depend on their order, and that on how many pictures go through a convolution together and on how many
threads: of EfficientNet-Lite0 and tinynet on a CPU nearly every activation of the later stages has other last bits for
1, 8, 37 or 64 pictures, and for one or two threads. With one number and one thread it has the same bits, whatever
place the picture has and whichever are beside it (measured; but for the product of small matrices, such as a last layer
of 6 numbers, on some processors). So batches are cut anew, and the last is filled up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from .classifier import Classifier
from .data import Data
from .errors import DataError
from .gradient import cuts
from .survey import Batch

# pictures of 224×224 in a block, more small ones but at most MOST: what a CPU's caches hold beside another worker's.
# On one thread 16 of tinynet's take 0.75 of the time that 64 do, 4 of EfficientNet-Lite0's 0.9 of what 8 do.
TOGETHER, ON_GPU, MOST = 4, 64, 16


class Block(NamedTuple):
    """Some pictures of a data set: their places in it and their classes (n,), and activations (n, ...) by layer."""

    ids: Tensor
    labels: Tensor
    activations: dict[str, Tensor]


@contextmanager
def steady(model: Classifier) -> Iterator[None]:
    """What comes out inside does not depend on the machine's threads; without gradients."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad(), model.borrowed():
            yield
    finally:
        torch.set_num_threads(threads)


def blocks(model: Classifier, batches: Iterable[Batch], names: Iterable[str]) -> Iterator[Block]:
    """The named activations of all pictures, to be gone through inside `steady`; their bits do not depend on how the
    batches were cut."""
    names = tuple(names)
    for batch in _even(batches, model.device):
        n, size = len(batch.ids), _together(batch.pixels)
        pixels = batch.pixels
        if n < size:
            pixels = torch.cat([pixels, pixels.new_zeros(size - n, *pixels.shape[1:])])
        parts: list[dict[str, Tensor]] = []

        def work(rows: slice, pixels: Tensor = pixels, parts: list[dict[str, Tensor]] = parts) -> None:
            parts.append(model.activations(pixels[rows], names))

        for _ in cuts(pixels, size, work):
            pass
        found = parts[0] if len(parts) == 1 else {m: torch.cat([p[m] for p in parts]) for m in names}
        yield Block(batch.ids, batch.labels, {name: found[name][:n] for name in names})


def pictures(model: Classifier, data: Data, ids: Iterable[int]) -> Tensor:
    """Pixels (n, 3, h, w) of some pictures of a data set, as the network takes them."""
    found = []
    for i in ids:
        for sample in data.read(i, i + 1):
            if isinstance(sample.image, str):
                raise DataError(f"{sample.name} could be read before, and now: {sample.image}")
            found.append(model.preprocessing(sample.image))
    return torch.cat(found).to(model.device)


def _even(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    """The same pictures in batches of as many as go together, but for those before another size and at the end."""
    rest: Batch | None = None
    for batch in batches:
        batch = Batch(*(part.to(device) for part in batch))
        if rest is not None and rest.pixels.shape[1:] == batch.pixels.shape[1:]:
            batch = Batch(*(torch.cat(parts) for parts in zip(rest, batch, strict=True)))
        elif rest is not None:
            yield rest
        rest = None
        size = _together(batch.pixels) if len(batch.ids) else 1
        for start in range(0, len(batch.ids), size):
            rest = Batch(*(part[start : start + size] for part in batch))
            if len(rest.ids) == size:
                yield rest
                rest = None
    if rest is not None:
        yield rest


def _together(pixels: Tensor) -> int:
    """How many pictures of this size go through a network at once."""
    area = pixels.shape[2] * pixels.shape[3]
    if pixels.device.type != "cpu":
        return ON_GPU
    return max(1, min(MOST, TOGETHER * 224**2 // area))
