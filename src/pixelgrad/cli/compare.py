"""`pixelgrad compare`: several ways to look at a network's reasons, side by side on one sheet."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

import torch
import typer
from PIL import Image, ImageDraw

from .. import heatmaps, images, pictures
from ..classifier import Classifier
from ..errors import OutputError, PixelgradError, SettingError
from ..gradient import Progress, Step
from ..heatmaps import View
from ..methods import comparable, known, of_picture, shows, takes_target
from ..models import load
from ..objectives.of_class import Target, indices
from ..registry import make
from ..result import Result
from .console import (
    DEFAULT_MODEL,
    Device,
    Images,
    Model,
    Weights,
    given,
    out,
    say,
    with_settings,
    working,
)


def add(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(with_settings(View, compare))


def compare(
    paths: Images,
    methods: Annotated[
        str | None,
        typer.Option(help="Names after `pixelgrad show`, with commas between; default: all that can."),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(help="Class, one or one for each picture; default: the predicted ones."),
    ] = None,
    model: Model = DEFAULT_MODEL,
    weights: Weights = None,
    device: Device = "cpu",
    out_file: Annotated[
        str, typer.Option("--out", "-o", help="File to write: .png, .jpg, …")
    ] = "compare.png",
    **view: Any,
) -> None:
    """Several techniques on one sheet: a row for each picture, a column for each technique."""
    shown = View(**given(view))
    names = comparable() if methods is None else chosen(methods)
    images.encode(Image.new("RGB", (1, 1)), out_file)  # says what is wrong with the name, before the work
    for path in paths:
        if os.path.exists(out_file) and os.path.samefile(out_file, images.find(path)):
            raise OutputError(f"{out_file} is the photograph itself; give the result another name")
    with working("compare") as progress:
        classifier = load(model, weights, device)
        pixels = torch.cat([images.open_image(path, classifier) for path in paths])
        of_class: Target = None if not target else target[0] if len(target) == 1 else tuple(target)
        of_class = indices(of_class, classifier)
        results = run(names, classifier, pixels, of_class, progress, skip=methods is None)
        images.save(sheet(paths, results, shown), out_file)
    out.print(f"wrote {out_file}", markup=False, highlight=False, soft_wrap=True)


def chosen(methods: str) -> list[str]:
    """The techniques of a list with commas. Raises NotFound, with the nearest name."""
    names = [name for name in methods.split(",") if name.strip()]
    if not names:
        raise SettingError("methods are names with commas between: saliency,grad-cam")
    return list(dict.fromkeys(known(name, list(shows())) for name in names))


def run(
    names: Sequence[str],
    model: Classifier,
    pixels: torch.Tensor,
    target: Target,
    progress: Progress,
    skip: bool,
) -> dict[str, Result]:
    """The result of each technique; with `skip` without those that do not suit the network."""
    results, last = {}, None
    for i, name in enumerate(names):
        progress(Step(i, len(names)))
        try:
            of = {"target": target} if takes_target(shows()[name]) else {}
            results[name] = make(f"show/{name}", **of).run(model, pixels)
            if not of_picture(results[name], pixels):
                raise SettingError(f"show/{name} gives no map of the picture that could be compared")
        except PixelgradError as error:
            if not skip:
                raise
            last = error
            say("warning", "yellow", f"{name} is left out: {error}")
    if not results and last is not None:
        raise last
    return results


def sheet(paths: Sequence[str], results: dict[str, Result], view: View) -> Image.Image:
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
