"""The pages of units (like OpenAI's Microscope): one for each unit that a search has found patches of, and an index.

    index.html             the layers
    LAYER/index.html       its units
    LAYER/CHANNEL.html     one unit: patches, what in them counts, pictures from noise, histogram, classes

Names do not change, so that a link to a unit lasts. The pages ask for nothing else than the files beside them. A page
says what it was made from; one that is there already and was made from the same is not made again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from . import images, unit_html, unit_table
from .classifier import Classifier
from .data import Data
from .errors import ModelError, OutputError
from .gradient import Progress, Step
from .presets import PRESETS
from .unit_pictures import examples, from_noise, mosaics, way_down

SOME = 4  # units whose pictures from noise are made together


def make(
    folder: str | os.PathLike[str], model: Classifier, data: Data, progress: Progress | None = None
) -> int:
    """Write the pages of a search that is done into its folder; how many units' were missing. Interrupted, it keeps
    the pages that are finished, and goes on from there."""
    folder = Path(folder)
    table = unit_table.read(folder)
    alive = _alive(table, folder)
    total, done, new = sum(len(some) for _, some, _ in alive), 0, 0
    for layer, some, into in alive:
        _folder(into)
        missing = [u for u in some if not _made(into, _key(table, layer, u))]
        done += len(some) - len(missing)
        for start in range(0, len(missing), SOME):
            group = missing[start : start + SOME]
            noise = _noise(model, layer["layer"], [u["channel"] for u in group])
            for unit, raised_lowered in zip(group, noise, strict=True):
                _unit(into, model, data, table, layer, some, unit, raised_lowered)
                done, new = done + 1, new + 1
                if progress is not None:
                    progress(Step(done, total))
        images.write({into / "index.html": _encode(unit_html.of_layer(table, layer, some))})
    images.write({folder / "index.html": _encode(unit_html.index(table, alive))})
    return new


def indices(folder: Path) -> None:
    """Write the pages of layers and of all of them, without those of the units."""
    table = unit_table.read(folder)
    alive = _alive(table, folder)
    for layer, some, into in alive:
        _folder(into)
        images.write({into / "index.html": _encode(unit_html.of_layer(table, layer, some))})
    images.write({folder / "index.html": _encode(unit_html.index(table, alive))})


def one(folder: Path, model: Classifier, data: Data, layer: str, channel: int) -> None:
    """Write the page of one unit with its patches, without pictures from noise, which take longer. layer: its folder's
    name. Nothing where there is no such unit."""
    table = unit_table.read(folder)
    for about, some, into in _alive(table, folder):
        for unit in some:
            if (into.name, unit["channel"]) == (layer, channel):
                _folder(into)
                _unit(into, model, data, table, about, some, unit, None)


def _alive(table: dict[str, Any], folder: Path) -> list[tuple[dict[str, Any], list[dict[str, Any]], Path]]:
    """Of each layer its units that have patches, and the folder of their pages."""
    return [
        (layer, [u for u in layer["units"] if u["best"]], folder / unit_table.folder_of(layer["layer"]))
        for layer in table["layers"]
    ]


def _unit(
    into: Path,
    model: Classifier,
    data: Data,
    table: dict[str, Any],
    layer: dict[str, Any],
    some: Sequence[dict[str, Any]],
    unit: dict[str, Any],
    noise: tuple[Image.Image, Image.Image] | str | None,
) -> None:
    """The page of one unit, with its pictures: all of it, or nothing. noise: pictures, or why there are none; None
    where they are left out."""
    channel, shown = unit["channel"], examples(model, data, unit)
    way = way_down(model, layer["layer"], shown[0])
    drawn = dict(zip(("patches", "patterns"), mosaics(model, layer["layer"], shown, way), strict=True))
    if isinstance(noise, tuple):
        drawn |= dict(zip(("raised", "lowered"), noise, strict=True))
    files: dict[str | os.PathLike[str], bytes] = {}
    for kind, picture in drawn.items():
        name = into / f"{channel}-{kind}.png"
        files[name] = images.encode(picture, name)
    problem = "" if isinstance(noise, tuple) else noise
    mark = _key(table, layer, unit, noise is not None)[1]
    page = unit_html.of_unit(table, layer, some, unit, way.words, problem, mark)
    images.write({**files, into / f"{channel}.html": _encode(page)})


def _noise(model: Classifier, layer: str, channels: list[int]) -> list[tuple[Image.Image, Image.Image] | str]:
    """For each channel the picture that raises it and the one that lowers it, or why there are none."""
    both = [c for c in channels for _ in (1, -1)]
    try:
        made = from_noise(model, layer, both, [1, -1] * len(channels))
    except ModelError as error:
        if len(channels) == 1:
            return [str(error)]
        return [_noise(model, layer, [c])[0] for c in channels]
    return list(zip(made[::2], made[1::2], strict=True))


# ---------------------------------------------------------------------- what is there already


def _key(
    table: dict[str, Any], layer: dict[str, Any], unit: dict[str, Any], noise: bool = True
) -> tuple[int, str]:
    """The channel, and a text that differs where its page would. noise: whether it has pictures from noise."""
    where = [table[name] for name in ("model", "weights", "data")]
    steps = PRESETS["quick"].steps if noise else 0
    known = json.dumps([where, layer["layer"], layer["sees"], unit, steps], sort_keys=True)
    return unit["channel"], hashlib.sha256(known.encode()).hexdigest()[:16]


def _made(into: Path, key: tuple[int, str]) -> bool:
    """Whether the page is there; it is written last."""
    try:
        return f'content="{key[1]}"' in (into / f"{key[0]}.html").read_text(encoding="utf-8")[:1000]
    except (OSError, UnicodeDecodeError):
        return False


def _folder(into: Path) -> None:
    try:
        into.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"{into} cannot be made: {(error.strerror or str(error)).lower()}") from error


def _encode(page: str) -> bytes:
    return page.encode(errors="backslashreplace")
