"""The pictures that visitors bring, or choose among those that are offered: read by the library, kept encoded anew."""

from __future__ import annotations

import hashlib
import io
import re
import threading
from collections.abc import Mapping
from typing import Any

from PIL import Image

from .. import images
from ..errors import ImageError, PixelgradError
from ..registry import techniques
from .store import Store, new_id

BYTES = 32 * 2**20  # of an upload
SIDE = 160  # of a small picture to choose from
PNG = b"\x89PNG"


class Brought:
    """Pictures on their way into the store. sources: those that are offered, by id: path and name."""

    def __init__(self, store: Store, sources: Mapping[str, tuple[str, str]]) -> None:
        self._store, self.sources = store, dict(sources)
        self._kept: dict[str, str] = {}
        self._lock = threading.Lock()

    def keep(self, path: str, name: str) -> dict[str, Any]:
        """A picture file, as what is said about it. Raises ImageError, in the visitor's name for it."""
        try:
            image = images.read(path)
            recipe = _recipe(path)
            with images.find(path).open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        except PixelgradError as error:
            raise ImageError(str(error).replace(path, name)) from error
        made = new_id()
        about = {
            "id": made,
            "width": image.width,
            "height": image.height,
            "name": name,
            "sha256": sha256,
            "url": f"/api/pictures/{made}.png",
            "recipe": recipe,
        }
        data = io.BytesIO()
        image.save(data, "PNG", compress_level=1)  # a large photograph in a second
        self._store.add("pictures", made, about, {"picture.png": data.getvalue()})
        return about

    def offered(self, source: str) -> dict[str, Any]:
        """One of the pictures that are offered; kept once."""
        with self._lock:
            kept = self._store.about("pictures", self._kept.get(source, ""))
            if kept is None:
                kept = self.keep(*self.sources[source])
                self._kept[source] = kept["id"]
        self._store.use("pictures", kept["id"])
        return kept

    def small(self, source: str) -> bytes:
        """A small JPEG to choose by."""
        image = images.read(self.sources[source][0])
        image.thumbnail((SIDE, SIDE), Image.Resampling.BICUBIC)
        data = io.BytesIO()
        image.save(data, "JPEG", quality=85)
        return data.getvalue()


def clean(name: str) -> str:
    """What a visitor calls a file, as the name of one: no folders, no signs that a terminal or shell obeys."""
    last = re.split(r"[/\\]", name)[-1]
    short = "".join(c for c in last if c.isprintable()).strip().lstrip("-.")[-80:]
    return short or "picture"


def _recipe(path: str) -> dict[str, Any] | None:
    """What a PNG that pixelgrad wrote says of itself: technique, settings, model, and the names of its pictures."""
    with images.find(path).open("rb") as file:
        if file.read(4) != PNG:
            return None
    try:
        found = images.recipe(path)
    except ImageError:
        return None
    name, settings = found.get("technique"), found.get("settings")
    if not isinstance(name, str) or name not in techniques() or not isinstance(settings, dict):
        return None
    files = found.get("images")
    names = [f.get("path") for f in files if isinstance(f, dict)] if isinstance(files, list) else []
    return {
        "technique": name,
        "settings": settings,
        "model": found.get("model"),
        "images": [str(n) if str(n).startswith("sample:") else clean(str(n)) for n in names],
    }
