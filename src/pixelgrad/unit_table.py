"""What a search has found out about units, as tables: `units.json` for the pages, `patches.csv` for a person.

    units.json     everything: of the network, of the data, of every unit of every layer
    patches.csv    a row for every patch: layer, channel, rank, score, picture, unit, box

Boxes are in pixels of the picture as the network is given it. What did not activate a unit is left out.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import images
from .classifier import Classifier
from .data import Data
from .errors import DataError
from .gradient import Progress, Step
from .projection import Box, box_of
from .receptive import field_of
from .survey import Tensors
from .units import Unit, units

FILE, CSV = "units.json", "patches.csv"
COLUMNS = [
    "layer",
    "channel",
    "rank",
    "score",
    "id",
    "picture",
    "row",
    "column",
    "top",
    "left",
    "bottom",
    "right",
]

Table = dict[str, Any]


def table(
    model: Classifier, data: Data, whole: Tensors, layers: Sequence[str], progress: Progress | None = None
) -> Table:
    """All that is known, as JSON has it. The pictures are read once more, for their names and sizes."""
    found = {layer: units(whole, layer) for layer in layers}
    ids = sorted({i for some in found.values() for unit in some for _, i, *_ in unit.best})
    seen: dict[int, tuple[str, tuple[int, int]]] = {}
    for done, i in enumerate(ids, 1):
        for sample in data.read(i, i + 1):
            if isinstance(sample.image, str):
                raise DataError(f"{sample.name} could be read before; now it {sample.image}")
            size = model.preprocessing(sample.image).shape[2:]
            seen[i] = (sample.name, (size[0], size[1]))
        if progress is not None:
            progress(Step(done, len(ids)))
    return {
        "model": model.name,
        "weights": model.weights,
        "data": data.root,
        "pictures": int(whole["predicted"].sum()),
        "layers": [_layer(model, layer, some, seen) for layer, some in found.items()],
    }


def write(found: Table, folder: Path) -> None:
    """Both files."""
    rows = io.StringIO()
    sheet = csv.writer(rows, lineterminator="\n")
    sheet.writerow(COLUMNS)
    for layer in found["layers"]:
        for unit in layer["units"]:
            for rank, b in enumerate(unit["best"], 1):
                at = (b["row"], b["column"], *b["box"])
                sheet.writerow(
                    [layer["layer"], unit["channel"], rank, b["score"], b["id"], b["picture"], *at]
                )
    text = json.dumps(found, separators=(",", ":"))
    # names of files need not be Unicode
    images.write(
        {folder / FILE: text.encode(), folder / CSV: rows.getvalue().encode(errors="surrogateescape")}
    )


def read(folder: str | os.PathLike[str]) -> Table:
    """The table of a search that is done. Raises DataError."""
    file = Path(folder) / FILE
    try:
        found: Table = json.loads(file.read_bytes())
        for layer in found["layers"]:
            layer["units"]  # says that it is another file
    except FileNotFoundError as error:
        raise DataError(
            f"{folder} has no {FILE}; `pixelgrad find patches DATA --out {folder}` makes it"
        ) from error
    except OSError as error:
        raise DataError(f"{file} cannot be read: {(error.strerror or '').lower()}") from error
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise DataError(f"{file} is damaged; the search writes it anew") from error
    return found


def folder_of(layer: str) -> str:
    """The name of a layer's files: its own, but for signs that a file's name may not have (`relu:2` is `relu=3a2`)."""
    return "".join(c if c.isalnum() or c in "._-" else f"={ord(c):02x}" for c in layer)


def _layer(
    model: Classifier, layer: str, some: list[Unit], seen: dict[int, tuple[str, tuple[int, int]]]
) -> Table:
    field = field_of(model, layer)

    def patch(channel: int, score: float, i: int, row: int, column: int) -> Table:
        name, size = seen[i]
        box: Box = box_of(field, (channel, row, column), size)
        return {"score": score, "id": i, "picture": name, "row": row, "column": column, "box": list(box)}

    def facts(unit: Unit) -> Table:
        return {
            "channel": unit.channel,
            "maximum": unit.maximum,
            "mean": unit.mean,
            "pictures_active": unit.pictures_active,
            "places_active": unit.places_active,
            "histogram": {str(i): count for i, count in enumerate(unit.histogram) if count},
            "classes": [[model.label_of(y), mean] for y, mean in unit.classes],
            "best": [patch(unit.channel, *one) for one in unit.best],
        }

    sees = None if field is None else [field.height, field.width]
    return {"layer": layer, "sees": sees, "units": [facts(unit) for unit in some]}
