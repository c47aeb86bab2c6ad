"""What is kept of a result: the library's own files, the panels with their values, and plain data about them."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import images
from ..result import Result
from .panels import Panel


def downloads(file: str, files: Mapping[str, bytes]) -> list[dict[str, str]]:
    """What kept files are called when they are saved, the picture itself first."""
    stem = Path(file).stem
    alone = "image.png" in files
    names = {
        "image.png": file,
        "picture.png": f"{stem}-labelled.png" if alone else file,
        "raw.safetensors": f"{stem}.safetensors",
        "table.csv": f"{stem}.csv",
    }
    return [{"name": name, "url": kept} for kept, name in names.items() if kept in files]


def saved(result: Result, file: str) -> dict[str, bytes]:
    """The files that the library itself writes, and the labelled picture."""
    with tempfile.TemporaryDirectory(prefix="pixelgrad-") as folder:
        result.save(Path(folder) / file, raw=True)
        stem = Path(file).stem
        written = {
            "image.png": Path(folder) / file,
            "raw.safetensors": Path(folder) / f"{stem}.safetensors",
            "table.csv": Path(folder) / f"{stem}.csv",
        }
        files = {name: path.read_bytes() for name, path in written.items() if path.is_file()}
    files["picture.png"] = images.encode(result.picture(), "picture.png", result.recipe())
    if files["picture.png"] == files["image.png"]:
        del files["image.png"]
    return files


def panel_files(found: Sequence[Panel]) -> dict[str, bytes]:
    files = {}
    for k, panel in enumerate(found):
        files[f"panel-{k}.png"] = images.encode(panel.image, "panel.png")
        if panel.values is not None:
            files[f"panel-{k}.bin"] = panel.values.detach().cpu().numpy().astype("<f4").tobytes()
    return files


def described(found: Sequence[Panel]) -> list[dict[str, Any]]:
    return [
        {
            "name": panel.name,
            "title": panel.title,
            "kind": panel.kind,
            "width": panel.image.width,
            "height": panel.image.height,
            "url": f"panels/{k}.png",
            "values": None if panel.values is None else f"panels/{k}.bin",
            "lo": panel.lo,
            "hi": panel.hi,
            "channel": panel.channel,
        }
        for k, panel in enumerate(found)
    ]


def plain(value: Any) -> Any:
    """Plain data; what is no number is null."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, (str, int, type(None))) else str(value)
