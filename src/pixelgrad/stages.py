"""The stages of a network: for every size that its activations have, the layer that ends it.

From the structure alone, in one forward pass. What lies inside a block that gives another size is no stage, nor is a
container of several stages. A network that keeps one size throughout, such as a vision transformer, has four of its
repeated blocks instead, evenly spaced.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator

from torch import nn

from .classifier import Classifier
from .errors import ModelError
from .grids import grid
from .taps import Layer

Box = tuple[int, int]

BLOCKS = 4  # stages of a network that keeps one size
LISTS = (nn.Sequential, nn.ModuleList)
NOTHING = (nn.Identity, nn.modules.dropout._DropoutNd)  # they give what they get


def stages(model: Classifier) -> tuple[str, ...]:
    """The layers that end the stages, first to last, by name; each has an image-shaped output (see grids.py).

    Maps of the classes, as many channels as classes at the last size, do not count. Raises ModelError where no
    layer has such an output, or the network does not run.
    """
    size = model.preprocessing.size or (224, 224)
    listed = model.layers(size)
    boxes = {layer.name: box for layer in listed if (box := grid(layer.shape, size)) and box != (1, 1)}
    if not boxes:
        raise ModelError(f"no layer of {model.name} has an image-shaped output")
    modules = dict(model.module.named_modules())
    within, own = _within(boxes.items()), defaultdict(set)
    for name, box in boxes.items():
        own[_base(name)].add(box)

    def closed(owner: str, box: Box) -> bool:
        """Whether a container is one block, which gives another size than this part of it."""
        larger = {part for part in within[owner] if all(math.prod(part) > math.prod(o) for o in own[owner])}
        block = not isinstance(modules[owner], LISTS) and len(larger) <= 1  # more: a network inside this one
        return block and bool(own[owner]) and box not in own[owner]

    seen = [
        layer
        for layer in listed
        if layer.name in boxes
        and not isinstance(modules[_base(layer.name)], NOTHING)
        and not any(closed(owner, boxes[layer.name]) for owner in _owners(layer.name))
    ]
    shown = _within((layer.name, boxes[layer.name]) for layer in seen)
    seen = [layer for layer in seen if shown[_base(layer.name)] <= {boxes[layer.name]}]
    if len({boxes[layer.name] for layer in seen}) == 1 and (blocks := _blocks(modules, boxes)):
        return blocks
    # a dictionary keeps the place of a size, and the last layer of it
    ends = {boxes[layer.name]: layer.name for layer in seen}
    last = list(ends)[-1]
    classes = len(model.labels) if model.labels is not None else listed[-1].shape[0]
    features = [x.name for x in seen if boxes[x.name] == last and _channels(x, last) != classes]
    return tuple((ends | {last: features[-1]} if features else ends).values())


def last_spatial(model: Classifier) -> str:
    """The layer that ends the last stage: the deepest one that still says where something is."""
    return stages(model)[-1]


def middle(model: Classifier) -> str:
    """The layer that ends a stage in the middle, of the two nearest the deeper one: textures and parts of things."""
    found = stages(model)
    return found[3 * len(found) // 5]


def _within(boxes: Iterable[tuple[str, Box]]) -> dict[str, set[Box]]:
    """The sizes of the layers inside every module."""
    found: dict[str, set[Box]] = defaultdict(set)
    for name, box in boxes:
        for owner in _owners(name):
            found[owner].add(box)
    return found


def _owners(name: str) -> Iterator[str]:
    """The modules that a layer is inside of, but for the whole network."""
    owner = _base(name)
    while owner := owner.rpartition(".")[0]:
        yield owner


def _base(name: str) -> str:
    return name.partition(":")[0]


def _channels(layer: Layer, box: Box) -> int:
    """How many channels an image-shaped output has."""
    first = len(layer.shape) == 3 and tuple(layer.shape[1:]) == box
    return layer.shape[0] if first else layer.shape[-1]


def _blocks(modules: dict[str, nn.Module], boxes: dict[str, Box]) -> tuple[str, ...]:
    """Some of the longest list of blocks of one kind, evenly spaced; none without such a list."""
    lists = []
    for name, module in modules.items():
        if isinstance(module, LISTS) and len({type(child) for child in module.children()}) == 1:
            names = (f"{name}.{child}".lstrip(".") for child, _ in module.named_children())
            lists.append([child for child in names if child in boxes])
    longest = max(lists, key=len, default=[])
    if len(longest) < 3:
        return ()
    places = [-(-(i + 1) * len(longest) // BLOCKS) - 1 for i in range(BLOCKS)]
    return tuple(longest[i] for i in dict.fromkeys(places))
