"""A film of the pictures along the way, made when it is first asked for."""

from __future__ import annotations

import io

from PIL import Image

from .. import images
from ..errors import NotFound
from ..film import encode
from .store import Store

SECONDS = 4.0


def film(store: Store, made: str, name: str) -> None:
    """Make it, unless it is there: the pictures along the way in the size of the result, which comes last. Raises
    NotFound where a result has none."""
    path, about = store.path("results", made, name), store.about("results", made)
    if path is None or about is None or about["frames"] < 2:
        raise NotFound("film of this result", name, ())
    if path.is_file():
        return
    kept = [f"frame-{k}.jpg" for k in range(about["frames"])]
    made_of = [f"panel-{k}.png" for k, panel in enumerate(about["panels"]) if panel["name"] == "result"]
    found = (store.read("results", made, file) for file in kept + (made_of if len(made_of) == 1 else []))
    stills = [Image.open(io.BytesIO(data)).convert("RGB") for data in found if data is not None]
    size = stills[-1].size
    images.write({path: encode([s if s.size == size else s.resize(size) for s in stills], name, SECONDS)})
