"""Receptive fields, measured: which pixels a unit of a layer can see.

A NaN goes through a network exactly where there is a connection, whatever the weights (NaN · 0 = NaN). A long strip
of grey is cut at a column: everything to the left of it is NaN. A unit becomes NaN when its left edge lies left of
the cut; so moving the cut pixel by pixel gives the left edges of the units around it, and their distance, the
stride. The same from the right, and with a strip that stands for the rows. The cuts are far from the strip's ends,
where padding and what a stride leaves over would count. No kind of layer is known here: the network itself runs.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from .classifier import Classifier
from .errors import ModelError
from .grids import channels_last, grid, spatial
from .taps import Layer, Stop, _tensor

CUTS = 65  # two neighbours of stride 32 have their edges among them
LENGTH = 1024  # pixels of a strip, or up to PERIOD more
PERIOD = 64
BREADTHS = (32, 48, 64, 80, 96)  # tried in this order, then the network's own
TOGETHER = 8  # strips at once

Watch = Callable[[int, int], None]


class Field(NamedTuple):
    """What the units of a layer see, in pixels: unit (0, 0) from (top, left) on, which is negative where padding
    counts; unit (i, j) that, moved by (i · stride_y, j · stride_x)."""

    top: int
    left: int
    height: int
    width: int
    stride_y: int
    stride_x: int

    def box(self, i: int, j: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """What unit (i, j) sees of a picture of `size` (height, width): rows [top, bottom), columns [left, right),
        as (top, left, bottom, right)."""
        top, left = self.top + i * self.stride_y, self.left + j * self.stride_x
        rows = (min(max(row, 0), size[0]) for row in (top, top + self.height))
        columns = (min(max(column, 0), size[1]) for column in (left, left + self.width))
        return next(rows), next(columns), next(rows), next(columns)


class Edges(NamedTuple):
    """Along one axis: where unit 0 starts, how much it sees, and how far it is to the next one."""

    start: int
    size: int
    stride: int


_known: WeakKeyDictionary[nn.Module, dict[Any, Field | None]] = WeakKeyDictionary()


def fields(
    model: Classifier, progress: Watch | None = None, layers: Collection[str] | None = None
) -> dict[str, Field | None]:
    """The receptive field of every layer, or of these, by its name in `model.layers()`, in that order.

    None where a unit sees the whole picture (after squeeze-and-excitation, attention, global pooling), more than
    can be measured (about 1500 pixels), or where the units do not lie on a regular grid of whole pixels. progress is
    called with the batches that are done and that there are. Raises ModelError where the network does not run.
    """
    size = model.preprocessing.size or (224, 224)
    listed = [layer for layer in model.layers(size) if layers is None or layer.name in layers]
    with model.borrowed(), torch.no_grad():
        module = _on_cpu(model)
        found = [_along(axis, model, module, listed, size, progress) for axis in (0, 1)]
    rows, columns = found
    return {
        layer.name: Field(r.start, c.start, r.size, c.size, r.stride, c.stride)
        if (r := rows.get(layer.name)) and (c := columns.get(layer.name))
        else None
        for layer in listed
    }


def field_of(model: Classifier, layer: str, progress: Watch | None = None) -> Field | None:
    """The receptive field of one layer; measured once, as long as the network and its parts are what they were."""
    known = _known.setdefault(model.module, {})
    key = (layer, model.preprocessing.size, repr(model.module))
    if key not in known:
        known[key] = fields(model, progress, (layer,)).get(layer)
    return known[key]


def _on_cpu(model: Classifier) -> nn.Module:
    """The module, or a copy of it where sums are not exact about NaN: a GPU may convolve by Fourier transforms."""
    if model.device.type == "cpu" and model.dtype in (torch.float32, torch.float64):
        return model.module
    return copy.deepcopy(model.module).to("cpu", torch.float32)


def _along(
    axis: int,
    model: Classifier,
    module: nn.Module,
    listed: list[Layer],
    size: tuple[int, int],
    progress: Watch | None,
) -> dict[str, Edges]:
    """The edges of all layers along one axis, 0: rows, 1: columns, where there are any."""
    # by layer whether channels are last: a strip's proportions do not tell
    names = {n.name: _last(n.shape, size) for n in listed if grid(n.shape, size) is not None}
    own = {layer.name: (grid(layer.shape, size) or size)[axis] for layer in listed}
    # four neighbours of the layer with the largest stride
    most = min(CUTS, max((4 * -(-size[axis] // own[n]) for n in names), default=0) + 1)
    batches = 2 * -(-(most - 1) // TOGETHER) + 1
    done = axis * batches

    def step() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, 2 * batches)

    strip, first = _first(axis, model, module, names, size)
    step()
    # still to be measured: what is finite on a clean strip, and not all dark on one that is cut
    names = {
        n: last
        for n, last in names.items()
        if n in first and not first[n][0].any() and not first[n][1:].all(1).any()
    }
    dark = {n: ([first[n][1:2]], [first[n][2:3]]) for n in names}
    for side in (0, 1):
        for start in range(2, most + 1, TOGETHER):
            cuts = range(start, min(start + TOGETHER, most + 1))
            if names:
                seen = _units(module, _cut(strip, axis, [(side, c) for c in cuts]), names, axis)
                for n in names:
                    dark[n][side].append(seen[n])
            step()
    length, start = strip.shape[2 + axis], _margin(strip, axis)
    found = {}
    for n in names:
        left, right = (_line(torch.cat(dark[n][0])), _line(torch.cat(dark[n][1]).flip(1)))
        if left is None or right is None or left[1] != right[1]:
            continue
        offset, stride = left
        units = dark[n][0][0].shape[1]
        # a grid that does not grow with the picture (adaptive pooling) is another one on the picture
        if abs((units - own[n]) - (length - size[axis]) / stride) > 2:
            continue
        end = length - start - (right[0] + (units - 1) * stride)
        found[n] = Edges(start + offset, end - (start + offset), stride)
    return found


def _first(
    axis: int, model: Classifier, module: nn.Module, names: dict[str, bool], size: tuple[int, int]
) -> tuple[Tensor, dict[str, Tensor]]:
    """A strip that the network takes, normalised, and the units that are dark: on the strip, cut left, cut right."""
    # padding may depend on what a stride leaves over of the size: as much as on the network's own pictures
    length = LENGTH + (size[axis] - LENGTH) % PERIOD
    boxes = [(length, b) if axis == 0 else (b, length) for b in (*BREADTHS, size[1 - axis])]
    reason: Exception | None = None
    for box in (*boxes, size):
        strip = model.normalise(torch.full((1, 3, *box), 0.5)).cpu()
        strip = strip if strip.dtype == torch.float64 else strip.float()
        try:
            return strip, _units(module, _cut(strip, axis, [None, (0, 1), (1, 1)]), names, axis)
        except Exception as error:  # networks say in many ways that they do not take a size
            reason = error
    raise ModelError(f"the receptive fields of {model.name} cannot be measured: {reason}") from reason


def _margin(strip: Tensor, axis: int) -> int:
    """How far the cuts are from the ends of a strip."""
    return strip.shape[2 + axis] // 4


def _cut(strip: Tensor, axis: int, cuts: list[tuple[int, int] | None]) -> Tensor:
    """Copies of a strip, NaN up to `margin + cut` pixels from its start (side 0) or its end (side 1)."""
    strips = strip.repeat(len(cuts), 1, 1, 1)
    length, margin = strip.shape[2 + axis], _margin(strip, axis)
    for one, cut in zip(strips, cuts, strict=True):
        if cut is not None:
            side, pixels = cut
            dark = min(margin + pixels, length)
            one.narrow(1 + axis, side * (length - dark), dark).fill_(torch.nan)
    return strips


def _line(dark: Tensor) -> tuple[int, int] | None:
    """Offset and stride of edges, from the units (cuts, units) that are dark: unit j is from cut offset + j·stride + 1
    on. None: they are not on such a line, or fewer than two of them are among the cuts."""
    edges = (~dark).sum(0)  # 0: before all cuts; as many as there are: after them
    inside = ((edges > 0) & (edges < len(dark))).nonzero().flatten()
    if len(inside) < 2:
        return None
    j = int(inside[0])
    stride = int(edges[inside[1]] - edges[j])
    offset = int(edges[j]) - j * stride
    line = (offset + stride * torch.arange(len(edges))).clamp(0, len(dark))
    return (offset, stride) if stride > 0 and torch.equal(line, edges) else None


def _units(module: nn.Module, strips: Tensor, names: dict[str, bool], axis: int) -> dict[str, Tensor]:
    """Which units along the axis are NaN in any channel and anywhere across, (n, units) by layer."""
    found: dict[str, Tensor] = {}
    try:
        with _listening(module, strips, names, axis, found):
            module(strips)
    except Stop:
        pass
    return found


@contextmanager
def _listening(
    module: nn.Module, strips: Tensor, names: dict[str, bool], axis: int, found: dict[str, Tensor]
) -> Iterator[None]:
    """Fills `found` during a forward pass, which is stopped after the last of the names."""
    runs: Counter[str] = Counter()
    modules = dict(module.named_modules())

    def hook(base: str) -> Any:
        def note(_module: nn.Module, _inputs: Any, output: Any) -> None:
            runs[base] += 1
            name = base if runs[base] == 1 else f"{base}:{runs[base]}"
            if name not in names:
                return
            values = _tensor(output)
            if values is not None and (values := _image(values, names[name], strips)) is not None:
                # a sum is NaN where anything in it is
                found[name] = values.sum((1, 3 - axis)).isnan()
            if name == end:
                raise Stop

        return note

    end = next(reversed(names), "")
    bases = dict.fromkeys(name.partition(":")[0] for name in names)
    handles = [modules[base].register_forward_hook(hook(base)) for base in bases]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _last(shape: tuple[int, ...], size: tuple[int, int]) -> bool:
    return len(shape) == 3 and channels_last(shape, size)


def _image(values: Tensor, last: bool, strips: Tensor) -> Tensor | None:
    """An output as (n, c, h, w)."""
    size = (strips.shape[2], strips.shape[3])
    if values.dim() == 4:
        return values.permute(0, 3, 1, 2) if last else values
    return spatial(values, size) if grid(values.shape[1:], size) is not None else None
