"""Top patches (Zeiler & Fergus 2014, figure 2): the pictures of a data set that activate each channel of a layer most.

    score of a channel c on a picture x = max over places of Φ_l(x)_c        one patch for each picture
    order: score descending, then the picture's place in the data set ascending

One pass for all channels of all layers. Of each channel also a histogram of its scores, its mean, how often it is
active, and the classes that it serves most (units.py). A patch is what the unit sees, by its measured receptive field;
beside it stands what in it counts, by the deconvnet or, in a network without max-pooling, by guided
backpropagation (unit_pictures.py). A channel that no picture activates is dead: it has no
patches.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import torch

from .. import images, pictures, unit_table, units
from ..classifier import Classifier
from ..data import Data
from ..errors import DataError, NotFound, SettingError
from ..gradient import Progress, Step
from ..grids import grid
from ..projection import beside
from ..registry import setting, survey
from ..rules import bounded
from ..stages import stages
from ..survey import Batch, Survey, Tensors
from ..unit_pictures import examples, mosaics, way_down

SHOWN = 24  # units on a layer's sheet


@survey
class Patches(Survey):
    """What each unit of a network looks for: the pictures that activate it most, cut to what it sees of them."""

    layers: str | None = setting(
        None,
        help="layers with commas between, as `pixelgrad layers` names them; default: the ends of all stages",
    )
    k: int = setting(9, lo=1, hi=100, help="how many patches of each unit")

    def prepare(self, model: Classifier) -> Self:
        """With the layers' own names."""
        if self.layers is None:
            return replace(self, layers=",".join(_before_bound(model, name) for name in stages(model)))
        size = model.preprocessing.size or (224, 224)
        shapes = {layer.name: layer.shape for layer in model.layers(size)}
        names = list(dict.fromkeys(model.layer(name.strip()) for name in self.layers.split(",")))
        for name in names:
            if name not in shapes:
                raise NotFound("layer", name, shapes, f"it does not run in {model.name}")
            if len(shapes[name]) != 1 and grid(shapes[name], size) is None:
                raise SettingError(
                    f"layer {name!r} gives {shapes[name]} per image, which has no channels; "
                    "`pixelgrad layers` lists the layers"
                )
        return replace(self, layers=",".join(names))

    def part(self, model: Classifier, batches: Iterable[Batch]) -> Tensors:
        """What these pictures say of the units; {} where there are none."""
        return units.collect(model, self._layers(model), self.k, batches)

    def merge(self, parts: Iterable[Tensors]) -> Tensors:
        """Best of the best, sums of the sums."""
        return units.merge(parts)

    def finish(
        self, model: Classifier, data: Data, whole: Tensors, folder: Path, progress: Progress | None = None
    ) -> tuple[str, ...]:
        """`units.json`, `patches.csv`, and a sheet of each layer."""
        if not whole:
            raise DataError(f"no picture of {data.root} could be read")
        table = unit_table.table(model, data, whole, self._layers(model), progress)
        unit_table.write(table, folder)
        total, done, says = sum(len(_shown(layer)) for layer in table["layers"]), 0, []
        for layer in table["layers"]:
            name, all_of_them = layer["layer"], len(layer["units"])
            dead = sum(not unit["best"] for unit in layer["units"])
            says.append(f"{name}: {all_of_them - dead} of {all_of_them} channels are active, {dead} are dead")
            equal = sum(
                len(u["best"]) == self.k > 1 and u["best"][-1]["score"] == u["maximum"]
                for u in layer["units"]
            )
            if equal:
                says[-1] += (
                    f"; {equal} give their highest score to {self.k} pictures or more, the first are shown"
                )
            cells, labels, way = [], [], None
            for unit in _shown(layer):
                seen = examples(model, data, unit)
                way = way or way_down(model, name, seen[0])
                cells.append(beside(*mosaics(model, name, seen, way), 4))
                labels.append(f"channel {unit['channel']}, up to {unit['maximum']:.4g}")
                done += 1
                if progress is not None:
                    progress(Step(done, total))
            if way:
                sees = "{}×{} pixels".format(*layer["sees"]) if layer["sees"] else "the whole picture"
                title = (
                    f"{says[-1]}; the strongest patches of the first {len(cells)}, and beside them what in them counts "
                    f"({way.words}); a unit sees {sees}"
                )
                sheet = pictures.sheet([[pictures.tiles(cells, labels)]], [title])
                images.save(sheet, folder / f"{unit_table.folder_of(name)}.png")
        return (f"{table['pictures']} pictures", *says)

    def _layers(self, model: Classifier) -> tuple[str, ...]:
        return tuple((self.layers or self.prepare(model).layers or "").split(","))


def _shown(layer: dict[str, Any]) -> list[dict[str, Any]]:
    """The units on a layer's sheet."""
    return [unit for unit in layer["units"] if unit["best"]][:SHOWN]


def _before_bound(model: Classifier, layer: str) -> str:
    """The layer itself; where its output is bounded from above, as after a ReLU6, the nearest one of its shape before
    it that is not: at the bound all pictures are equal, and any nine would be as good."""
    size = model.preprocessing.size or (224, 224)
    listed = model.layers(size)
    last = [x.name for x in listed].index(layer)
    names = [x.name for x in listed[: last + 1] if x.shape == listed[last].shape]
    with torch.enable_grad():
        pixels = torch.full((1, 3, *size), 0.5, dtype=model.dtype, device=model.device, requires_grad=True)
        found = model.activations(pixels, names)
    return next((name for name in reversed(names) if not bounded(found[name].grad_fn)), layer)
