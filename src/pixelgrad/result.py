"""What a technique made: raw floats, measured facts, the picture of them, and the recipe to make it again."""

from __future__ import annotations

import base64
import html
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from PIL import Image
from safetensors.torch import save as pack
from torch import Tensor

from . import images, pictures


class Maker(Protocol):
    """What made a result: a technique's name and the settings that are not its defaults."""

    @property
    def name(self) -> str: ...

    def values(self) -> dict[str, Any]: ...


@dataclass(frozen=True, eq=False)
class Result:
    """pixels: the raw floats, images (n, 3, h, w) or maps (n, h, w). score: (n,), of the objective.

    inputs: the pixels that it was made from. titles: a few words for each image. report: measured facts, always
    with `gradients` (input gradients used per image) and `seconds`. frames: pictures along the way, where a
    technique has them. weights: the model's weights file, if it had one. files: the input's files (path, sha256).
    """

    technique: Maker
    model: str
    pixels: Tensor
    score: Tensor
    inputs: Tensor | None = None
    titles: tuple[str, ...] = ()
    report: Mapping[str, Any] = field(default_factory=dict)
    frames: tuple[Tensor, ...] = ()
    weights: str | None = None
    files: tuple[dict[str, str], ...] = ()

    def recipe(self) -> dict[str, Any]:
        """Everything needed to make this again, as a saved PNG carries it."""
        return {
            "pixelgrad": version("pixelgrad"),
            "technique": self.technique.name,
            "settings": self.technique.values(),
            "model": self.model,
            "weights": self.weights,
            "images": list(self.files),
        }

    def picture(self) -> Image.Image:
        """Maps under the pictures they belong to, or the images themselves, with their titles."""
        if self.pixels.dim() == 3:
            return pictures.map_sheet(self.inputs, self.pixels, self.titles)
        return pictures.sheet([[images.to_image(x) for x in self.pixels]], self.titles)

    def save(self, path: str | os.PathLike[str], raw: bool = False) -> None:
        """Write the picture; with `raw` also the floats, to a .safetensors file beside it.

        Raises OutputError: unknown ending, no such folder, no permission, disk full.
        """
        images.save(self.picture(), path, self.recipe())
        if raw:
            floats = {"pixels": self.pixels.contiguous().cpu(), "score": self.score.cpu()}
            images.write(Path(path).with_suffix(".safetensors"), pack(floats))

    def _repr_png_(self) -> bytes:
        data = io.BytesIO()
        self.picture().save(data, "PNG")
        return data.getvalue()

    def to_html(self) -> str:
        """The picture and the report as a piece of HTML that needs no other file."""
        picture = base64.b64encode(self._repr_png_()).decode()
        facts = "".join(
            f"<tr><th>{html.escape(str(k))}</th><td>{html.escape(str(v))}</td></tr>"
            for k, v in self.report.items()
        )
        title = html.escape(f"{self.technique.name} of {self.model}")
        image = f'<img alt="{title}" src="data:image/png;base64,{picture}">'
        return f"<figure>{image}<figcaption>{title}<table>{facts}</table></figcaption></figure>"
