"""What one pass over a data set finds out about every channel of some layers, and how parts of it become one.

Of each picture a channel has one score, its highest activation; of equal ones the first place in reading order counts.

    LAYER/scores ids places    the k best pictures: (c, k), (c, k), (c, k, 2); see topk.py
    LAYER/histogram            of the scores: (c, BINS); see tally.py
    LAYER/means                of the activations, mean over places, added up over pictures: (c,)
    LAYER/active               pictures, and places, with an activation above zero: (c, 2)
    LAYER/places_seen          (1,)
    LAYER/by_class             the scores, added up by the class that the network predicts: (classes, c)
    predicted                  pictures by predicted class: (classes,)

All but the first three are whole numbers and merge by addition.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .blocks import Block, blocks, steady
from .classifier import LOGITS, PIXELS, Classifier
from .errors import ModelError
from .grids import maps
from .survey import Batch, Tensors
from .tally import BINS, bins, fixed, mean
from .topk import Top

MOST_BY_CLASS = 2**24  # numbers by class in a part; where there would be more there are none
TOP = ("scores", "ids", "places")


def collect(model: Classifier, layers: Sequence[str], k: int, batches: Iterable[Batch]) -> Tensors:
    """What the pictures of one shard say of the units; nothing, {}, where there are none."""
    found: Tensors = {}
    with steady(model):
        for block in blocks(model, batches, (*layers, PIXELS, LOGITS)):
            size = block.activations[PIXELS].shape[2:]
            logits = block.activations[LOGITS]
            values = {n: maps(block.activations[n], (size[0], size[1]), n) for n in layers}
            if not found:
                found = _nothing(values, logits.shape[1], k)
            predicted = logits.argmax(1)
            found["predicted"] += predicted.bincount(minlength=logits.shape[1])
            for name, layer in values.items():
                _add(model, found, name, layer, block, predicted)
    return {name: values.cpu() for name, values in found.items()}


def merge(parts: Iterable[Tensors]) -> Tensors:
    """Several parts as one, in whatever order."""
    whole: Tensors = {}
    for part in parts:
        if not whole or not part:
            whole = whole or dict(part)
            continue
        tops = {n.removesuffix("/scores") for n in part if n.endswith("/scores")}
        both = {n: whole[n] + part[n] for n in part if n.rpartition("/")[2] not in TOP}
        for layer in tops:
            both |= _named(layer, _top(whole, layer).join(_top(part, layer)))
        whole = both
    return whole


@dataclass(frozen=True)
class Unit:
    """What was found out about one channel of a layer. best: (score, picture's place in the data set, row, column) of
    its strongest pictures, those above zero. classes: the predicted classes with the highest mean score, with it."""

    layer: str
    channel: int
    best: tuple[tuple[float, int, int, int], ...]
    maximum: float
    mean: float
    pictures_active: float  # share
    places_active: float  # share
    histogram: tuple[int, ...]
    classes: tuple[tuple[int, float], ...]

    @property
    def dead(self) -> bool:
        """Whether no picture has activated it."""
        return not self.best


def units(whole: Tensors, layer: str, served: int = 5) -> list[Unit]:
    """All channels of a layer, in their order."""
    top, count = _top(whole, layer), int(whole["predicted"].sum())
    means = mean(whole[f"{layer}/means"], count).tolist()
    active = (
        whole[f"{layer}/active"].double() / torch.tensor([count, int(whole[f"{layer}/places_seen"])])
    ).tolist()
    histogram = whole[f"{layer}/histogram"].tolist()
    classes = _served(whole, layer, served)
    found = []
    for c, (scores, ids, places) in enumerate(zip(*(t.tolist() for t in top), strict=True)):
        best = tuple((s, i, y, x) for s, i, (y, x) in zip(scores, ids, places, strict=True) if s > 0)
        some, places_active = active[c]
        counts = tuple(histogram[c])
        found.append(Unit(layer, c, best, scores[0], means[c], some, places_active, counts, classes[c]))
    return found


def _served(whole: Tensors, layer: str, served: int) -> list[tuple[tuple[int, float], ...]]:
    """By channel the classes with the highest mean score; those that are predicted for three pictures, or, without such
    ones, for any."""
    count = whole["predicted"]
    often = (count >= min(3, int(count.max()))).nonzero()[:, 0]
    if f"{layer}/by_class" not in whole:
        return [()] * len(whole[f"{layer}/scores"])
    means = mean(whole[f"{layer}/by_class"][often], count[often][:, None])
    best, order = means.sort(dim=0, descending=True, stable=True)
    both = zip(often[order[:served]].T.tolist(), best[:served].T.tolist(), strict=True)
    return [tuple((y, m) for y, m in zip(*pair, strict=True) if m > 0) for pair in both]


def _nothing(values: Tensors, classes: int, k: int) -> Tensors:
    device = next(iter(values.values())).device
    found = {"predicted": torch.zeros(classes, dtype=torch.long, device=device)}
    by_class = classes * sum(layer.shape[1] for layer in values.values()) <= MOST_BY_CLASS
    for name, layer in values.items():
        c = layer.shape[1]
        found |= _named(name, Top.empty(c, k, 2, device))
        sizes = {"histogram": (c, BINS), "means": (c,), "active": (c, 2), "places_seen": (1,)}
        sizes |= {"by_class": (classes, c)} if by_class else {}
        for kind, size in sizes.items():
            found[f"{name}/{kind}"] = torch.zeros(size, dtype=torch.long, device=device)
    return found


def _add(
    model: Classifier, found: Tensors, layer: str, values: Tensor, block: Block, predicted: Tensor
) -> None:
    """Add some pictures' maps (n, c, h, w) to what was found of a layer."""
    flat = values.flatten(2)
    # max-pooling is many times as fast as amax where few channels are last in memory
    scores, means = F.adaptive_max_pool2d(values, 1).flatten(1), flat.mean(2)
    if not bool((scores.isfinite() & means.isfinite()).all()):
        raise ModelError(f"{model.name} gave numbers that are not finite (NaN or infinite) in {layer}")
    found[f"{layer}/histogram"].scatter_add_(1, (where := bins(scores).T), torch.ones_like(where))
    found[f"{layer}/means"] += fixed(means).sum(0)
    found[f"{layer}/active"] += torch.stack([(scores > 0).sum(0), _above(values)], 1)
    found[f"{layer}/places_seen"] += flat.shape[0] * flat.shape[2]
    if f"{layer}/by_class" in found:
        found[f"{layer}/by_class"].index_add_(0, predicted, fixed(scores))
    top = _top(found, layer)
    # as good as the last, and among the best of these pictures; few are
    best = scores.topk(min(top.scores.shape[1], len(scores)), dim=0).values[-1]
    enters = scores >= torch.maximum(top.scores[:, -1], best)
    rows = enters.any(0).nonzero()[:, 0]
    if not len(rows):
        return
    places = torch.full((*scores.shape, 2), -1, device=scores.device)
    some = enters.nonzero(as_tuple=True)
    at = flat[some].argmax(1)  # the first of equal ones
    places[some] = torch.stack([at // values.shape[3], at % values.shape[3]], 1)
    new = Top(scores.double().T[rows], block.ids.expand(len(rows), -1), places.transpose(0, 1)[rows])
    joined = Top(*(t[rows] for t in top)).join(new)
    for old, better in zip(top, joined, strict=True):
        old[rows] = better


def _above(values: Tensor) -> Tensor:
    """How many places of each channel of maps (n, c, h, w) are above zero. On a CPU picture by picture, in the same
    memory and as floats: large tensors are new memory every time, and sums of booleans are slow."""
    step = 1 if values.device.type == "cpu" else len(values)
    above = torch.empty_like(values[:step], dtype=torch.float)
    counts = torch.zeros(values.shape[1], dtype=torch.long, device=values.device)
    for i in range(0, len(values), step):
        torch.gt(values[i : i + step], 0, out=above)
        counts += above.sum((2, 3)).long().sum(0)  # a float counts exactly up to 2²⁴
    return counts


def _top(found: Tensors, layer: str) -> Top:
    return Top(*(found[f"{layer}/{kind}"] for kind in TOP))


def _named(layer: str, top: Top) -> Tensors:
    return {f"{layer}/{kind}": values for kind, values in zip(TOP, top, strict=True)}
