"""What a technique made: raw floats, measured facts, the picture of them, and the recipe to make it again."""

from __future__ import annotations

import base64
import csv
import html
import io
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save as pack
from torch import Tensor

from . import film, heatmaps, images, pictures
from .errors import NotFound, OutputError, SettingError
from .heatmaps import OWN, View
from .registry import settings


class Maker(Protocol):
    """What made a result: a technique's name and the settings that are not its defaults."""

    @property
    def name(self) -> str: ...

    def values(self) -> dict[str, Any]: ...


@dataclass(frozen=True, eq=False)
class Result:
    """pixels: the raw floats, images (n, 3, h, w) or maps (n, h, w), or others of which `draw` makes the picture.
    score: (n,), of the objective.

    inputs: the pixels that it was made from. titles: a few words for each image. report: measured facts, always
    with `gradients` (input gradients used per image) and `seconds`. shown: further rows of images (n, 3, h, w) for the
    labelled picture. frames: pictures along the way, of 8 bits, where they
    were asked for. weights: the model's weights file, if it had one. files: the input's files (path, sha256); changed:
    those of the pictures that it was compared with (change.py). each: draws the map of each picture, where it is no
    plain map; view: how maps are drawn.
    """

    technique: Maker
    model: str
    pixels: Tensor
    score: Tensor
    inputs: Tensor | None = None
    titles: tuple[str, ...] = ()
    report: Mapping[str, Any] = field(default_factory=dict)
    shown: tuple[Tensor, ...] = ()
    frames: tuple[Tensor, ...] = ()
    weights: str | None = None
    files: tuple[dict[str, str], ...] = ()
    changed: tuple[dict[str, str], ...] = ()
    draw: Callable[[Result], Image.Image] | None = None
    each: Callable[[Result], list[Image.Image]] | None = None
    view: View = OWN
    table: tuple[Mapping[str, Any], ...] = ()

    def recipe(self) -> dict[str, Any]:
        """Everything needed to make this again, as a saved PNG carries it."""
        return {
            "pixelgrad": version("pixelgrad"),
            "technique": self.technique.name,
            "settings": self.technique.values(),
            "model": self.model,
            "weights": self.weights,
            "images": list(self.files),
            **({"change": list(self.changed)} if self.changed else {}),
            **({"view": view} if (view := self.view.values()) else {}),
        }

    def viewed(self, **view: Any) -> Result:
        """The same, its maps drawn as these settings of `View` say. Raises NotFound and SettingError, also for what has
        no map of a class."""
        if not view:
            return self
        names = [s.name for s in settings(View)]
        for key in view:
            if key not in names:
                raise NotFound("setting of a picture", key, names, f"it has {', '.join(names)}")
        own = settings(type(self.technique)) if self.technique.name.startswith("show/") else ()
        if "target" not in [s.name for s in own]:
            raise SettingError(
                f"{self.technique.name} has no map of a class: {', '.join(view)} would not show"
            )
        return replace(self, view=View(**view))

    def maps(self) -> list[Image.Image]:
        """The map of each picture, drawn."""
        return heatmaps.heats(self.pixels, self.inputs, self.view) if self.each is None else self.each(self)

    def image(self) -> Image.Image:
        """What is saved: a single image as it is, pixel by pixel; otherwise the labelled picture."""
        if self.draw is None and self.each is None and self.pixels.dim() == 4 and len(self.pixels) == 1:
            return images.to_image(self.pixels[0])
        return self.picture()

    def picture(self, **view: Any) -> Image.Image:
        """The labelled picture: maps or images, under the pictures that they were made from; maps as `View` says."""
        if view:
            return self.viewed(**view).picture()
        if self.draw is not None:
            return self.draw(self)
        if self.each is not None or self.pixels.dim() == 3:
            return heatmaps.beside(self.inputs, self.maps(), self.titles)
        if self.inputs is None and not self.shown:
            return pictures.grid([pictures.enlarged(images.to_image(x)) for x in self.pixels], self.titles)
        rows = [*([] if self.inputs is None else [self.inputs]), self.pixels, *self.shown]
        return pictures.image_sheet(rows, self.titles)

    def save(self, path: str | os.PathLike[str], raw: bool = False, **view: Any) -> None:
        """Write the picture, maps as `View` says; with `raw` also the floats, to a .safetensors file beside it, and
        where there is more to be shown (the difference) the labelled picture, as NAME-compared: all or none.

        Raises OutputError: unknown ending, no such folder, no permission, disk full, or floats that would take the
        place of the model's weights.
        """
        if view:
            self.viewed(**view).save(path, raw)
            return
        files: dict[str | os.PathLike[str], bytes] = {path: images.encode(self.image(), path, self.recipe())}
        if self.shown and len(self.pixels) == 1:
            compared = Path(path).with_stem(f"{Path(path).stem}-compared")
            files[compared] = images.encode(self.picture(), compared, self.recipe())
        if raw:
            beside = Path(path).with_suffix(".safetensors")
            if self.weights is not None and beside.absolute() == Path(self.weights).absolute():
                raise OutputError(f"{beside} are the weights; give the picture another name")
            floats = {"pixels": self.pixels.contiguous().cpu(), "score": self.score.cpu()}
            files[beside] = pack(floats)
        if self.table:
            files[Path(path).with_suffix(".csv")] = self._csv()
        images.write(files)

    def _csv(self) -> bytes:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(self.table[0]))
        writer.writeheader()
        writer.writerows(self.table)
        return text.getvalue().encode()

    def animate(self, path: str | os.PathLike[str], seconds: float = 4.0) -> None:
        """Write the frames and the result, all in its size, as an animated GIF or an MP4, which dwells on the last.
        Raises OutputError: another ending, or no extra `video` for an MP4."""
        film.check(path)
        bare = replace(self, inputs=None, shown=(), titles=())
        size = tuple(self.pixels.shape[-2:])
        stills = (replace(bare, pixels=_at(frame.float() / 255, size)) for frame in self.frames)
        moving = [still.image() for still in (*stills, bare)]
        images.write({path: film.encode(moving, path, seconds)})

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


def _at(pixels: Tensor, size: tuple[int, ...]) -> Tensor:
    """Pixels at another size."""
    return pixels if pixels.shape[-2:] == size else F.interpolate(pixels, size, mode="bilinear")
