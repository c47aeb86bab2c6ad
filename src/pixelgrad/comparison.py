"""Several methods side by side: what each of them makes of the same pictures, and all of it on one sheet.

A method that does not suit the network may be left out, with the reason.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from PIL import Image, ImageDraw

from . import heatmaps, images, pictures
from .errors import Cancelled, PixelgradError, SettingError
from .gradient import Progress, Step
from .heatmaps import View
from .methods import of_picture
from .result import Result

PARTS = 100  # of the work of one method, as progress has them


def compare(
    names: Sequence[str],
    one: Callable[[str, Progress], Result],
    progress: Progress,
    left_out: dict[str, str] | None = None,
) -> dict[str, Result]:
    """The result of each method, by `one(name, progress)`. left_out: takes the reasons of those that do not suit the
    network, or came too late when the work was cancelled; without it, and where all of them do not, that is an error.
    """
    results: dict[str, Result] = {}
    for i, name in enumerate(names):

        def among(step: Step, i: int = i) -> None:
            progress(Step(i * PARTS + PARTS * step.done // max(1, step.total), len(names) * PARTS))

        try:
            among(Step(0, 1))
            result = one(name, among)
            if result.inputs is None or not of_picture(result, result.inputs):
                raise SettingError(
                    f"{result.technique.name} gives no map of the picture that could be compared"
                )
            results[name] = result
        except PixelgradError as error:
            late = isinstance(error, Cancelled)
            if left_out is None or (not results and (late or i == len(names) - 1)):
                raise
            left_out |= dict.fromkeys(names[i:] if late else [name], str(error))
            if late:
                break
    return results


def sheet(paths: Sequence[str], results: Mapping[str, Result], view: View) -> Image.Image:
    """Rows of pictures: the photograph with what it is called and taken for, then the map of each technique."""
    rows = []
    first = next(iter(results.values()))
    assert first.inputs is not None
    columns = [column(result, view) for result in results.values()]
    for i, path in enumerate(paths):
        photo = pictures.enlarged(images.to_image(first.inputs[i]))
        row = [pictures.stack([photo, caption(photo.width, path, first.titles[i])], 4)]
        rows.append(row + [drawn[i] for drawn in columns])
    return pictures.sheet(rows, ["photograph", *results])


def column(result: Result, view: View) -> list[Image.Image]:
    """The map of each picture, in the colours of its values or as the technique draws it; several, of several units,
    are added."""
    shown = replace(result, view=view)
    if result.pixels.dim() == 5:
        assert result.inputs is not None
        return heatmaps.greys(result.pixels.sum(1), result.inputs, view)
    if result.pixels.dim() == 3 or result.each is not None:
        return shown.maps()
    return [pictures.enlarged(images.to_image(x)) for x in result.pixels]


def caption(width: int, path: str, title: str) -> Image.Image:
    """Two small lines under a photograph: its name, and what the network takes it for."""
    lines = Image.new("RGB", (width, 26), pictures.PAPER)
    draw = ImageDraw.Draw(lines)
    for y, line in enumerate((os.path.basename(path), title)):
        shown = line if pictures.font(11).getlength(line) <= width else line[: width // 7] + " …"
        draw.text((0, 12 * y), shown, pictures.FAINT, pictures.font(11))
    return lines
