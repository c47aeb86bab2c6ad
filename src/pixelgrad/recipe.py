"""A recipe: what to make, as plain data. The command line makes one and runs it; a saved PNG carries one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from . import images
from .change import change
from .classifier import Classifier
from .errors import ImageError, PixelgradError, SettingError
from .gradient import Progress
from .models import load
from .registry import make, techniques
from .result import Result


def prepare(
    technique: str,
    settings: dict[str, Any],
    paths: Sequence[str],
    model: str,
    weights: str | None,
    changed: Sequence[str] = (),
    view: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The recipe of a technique on some pictures; of what was changed in its maps (change.py); and of how they are
    drawn (heatmaps.View)."""
    return {
        "technique": technique,
        "settings": settings,
        "model": model,
        "weights": weights,
        "images": _files(paths),
        "change": _files(changed),
        "view": view or {},
    }


def default_name(technique: str, paths: Sequence[str]) -> str:
    """Where a result goes that nobody named: `cat-saliency.png`."""
    short = technique.split("/")[1]
    stem = Path(paths[0].removeprefix("sample:")).stem if paths else ""
    return f"{stem}-{short}.png" if len(paths) == 1 else f"{short}.png"


def run(
    recipe: dict[str, Any],
    device: str = "cpu",
    progress: Progress | None = None,
    model: Classifier | None = None,
    checkpoint: Path | None = None,
    frames: int = 0,
) -> Result:
    """Make what a recipe says, with a model that is loaded already or the one that the recipe names; for the rest see
    Technique.run."""
    technique = make(recipe["technique"], **recipe["settings"])
    if model is None:
        model = load(recipe["model"], recipe["weights"], device)
    files, changed = tuple(recipe["images"]), tuple(recipe.get("change", ()))
    own = None if technique.own_size else model
    pixels = torch.cat([images.open_image(f["path"], own) for f in files]) if files else None
    if changed:
        if pixels is None or len(changed) != len(files):
            raise SettingError(f"{len(changed)} changed pictures for {len(files)}; give one for each")
        pairs = zip(files, changed, strict=True)
        after = torch.cat([_changed(f["path"], other["path"], model) for f, other in pairs])
        result = change(technique, model, pixels, after, progress)
    else:
        result = technique.run(model, pixels, progress, checkpoint, frames)
    return replace(result, files=files, changed=changed).viewed(**recipe.get("view", {}))


def _changed(path: str, other: str, model: Classifier) -> torch.Tensor:
    """The pixels of a changed picture: prepared as the original; but as they are where the file has the size that the
    network is given and the original has another: a fooling image has, and would not fool resized."""
    found = images.open_image(other)
    as_it_is = model.preprocessing.size == tuple(found.shape[2:]) != images.read(path).size[::-1]
    return found.to(model.device) if as_it_is else images.open_image(other, model)


def of_picture(picture: str, paths: Sequence[str] = ()) -> dict[str, Any]:
    """The recipe that a PNG carries, for its own pictures or for `paths`. Raises ImageError where it is damaged, or
    a picture is gone or no longer the same."""
    recipe = images.recipe(picture)
    if not _is_recipe(recipe):
        raise ImageError(f"{picture} carries a recipe that is damaged or of another version")
    if paths:
        files = _files(paths)
    else:
        files = [_found(file, picture) for file in recipe["images"]]
        known = techniques().get(recipe["technique"])
        if not files and (known is None or known.needs_pixels):
            raise ImageError(
                f"the recipe of {picture} names no picture; give it: pixelgrad redo {picture} IMAGE"
            )
    changed = [_found(file, picture) for file in recipe.get("change", ())]
    return {**recipe, "weights": recipe.get("weights"), "images": files, "change": changed}


def _is_recipe(recipe: dict[str, Any]) -> bool:
    """Whether the parts of a recipe are of the kinds that `run` takes."""
    shape: dict[str, Any] = {"technique": str, "settings": dict, "model": str, "images": list}
    shape |= {"weights": (str, type(None)), "change": list, "view": dict}
    whole = {"change": [], "view": {}} | recipe
    return all(isinstance(whole.get(key), kind) for key, kind in shape.items()) and all(
        isinstance(file, dict) and all(isinstance(file.get(key), str) for key in ("path", "sha256"))
        for file in (*whole["images"], *whole["change"])
    )


def _found(file: dict[str, str], picture: str) -> dict[str, str]:
    """The picture of a recipe: where it was, or beside the result."""
    path = file["path"]
    if not os.path.isfile(images.find(path)):
        beside = Path(picture).parent / Path(path).name
        if not os.path.isfile(beside):
            raise ImageError(
                f"{path}, from which {picture} was made, is not there; give the picture: "
                f"pixelgrad redo {picture} IMAGE"
            )
        path = str(beside)
    if _sha256(path) != file["sha256"]:
        raise ImageError(
            f"{path} has changed since {picture} was made; to use it as it is now: "
            f"pixelgrad redo {picture} {path}"
        )
    return {**file, "path": path}


def _files(paths: Sequence[str]) -> list[dict[str, str]]:
    return [{"path": path, "sha256": _sha256(path)} for path in paths]


def _sha256(path: str) -> str:
    try:
        with images.checked(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except PixelgradError:
        raise
    except OSError:
        images.read(path)  # says what is wrong with it
        raise
