"""`pixelgrad tour`: every technique there is on one photograph, as a page."""

from __future__ import annotations

import os
import shlex
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from .. import images, recipe, report
from ..errors import OutputError, PixelgradError
from ..gradient import Step
from ..methods import comparable
from ..models import load
from ..registry import techniques
from ..result import Result
from ..trust import trust
from .console import DEFAULT_MODEL, Device, Model, Weights, out, working


def add(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(tour)


def tour(
    image: Annotated[str, typer.Argument(metavar="[IMAGE]", help="A photograph.")] = "sample:coffee",
    model: Model = DEFAULT_MODEL,
    weights: Weights = None,
    out_folder: Annotated[
        str, typer.Option("--out", "-o", help="Folder for the page and its pictures.")
    ] = "pixelgrad-tour",
    device: Device = "cpu",
) -> None:
    """Every technique on one photograph: a page that opens without a network."""
    folder = Path(out_folder)
    known = techniques()
    with working("tour") as progress:
        classifier = load(model, weights, device)
        pixels = images.open_image(image, classifier)
        guesses = classifier.top(pixels)[0]
        photograph = folder / "photograph.png"
        files: dict[str | os.PathLike[str], bytes] = {
            photograph: images.encode(images.to_image(pixels[0]), photograph)
        }
        stops = []
        for i, (name, technique) in enumerate(known.items()):
            progress(Step(i, len(known)))
            file = f"{name.replace('/', '-')}.png"
            command = ["pixelgrad", *name.split("/"), image]
            command += ["--model", model] if model != DEFAULT_MODEL else []
            command += ["--weights", weights] if weights else []
            problem = card = ""
            try:
                asked = recipe.prepare(name, {}, [image], model, weights)
                result = recipe.run(asked, model=classifier)
                if result.report.get("interrupted") is not None:
                    raise KeyboardInterrupt
                files[folder / file] = images.encode(result.picture(), file, result.recipe())
                if of_one_gradient(result):  # of the others it would take longer than all the rest
                    card = trust(result, classifier)[0].to_html()
            except PixelgradError as error:  # a technique that does not suit this network says so on the page
                problem = str(error)
            stops.append(report.Stop(name, technique, file, shlex.join(command), problem, card))
        page = report.page(image, classifier.name, guesses, stops)
        files[folder / "index.html"] = page.encode(errors="backslashreplace")
        write(folder, files)
    out.print(f"wrote {folder / 'index.html'}", markup=False, highlight=False, soft_wrap=True)


def of_one_gradient(result: Result) -> bool:
    """Whether it is a map of why a network says a class, as a single gradient gives it."""
    plain = result.draw is None and result.each is None and result.report["gradients"] == 1
    return plain and result.technique.name.removeprefix("show/") in comparable()


def write(folder: Path, files: dict[str | os.PathLike[str], bytes]) -> None:
    """The whole tour, or nothing: not even the folders that were made for it."""
    missing = [f for f in (folder, *folder.parents) if not f.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        images.write(files)
    except OSError as error:
        for made in missing:
            with suppress(OSError):
                made.rmdir()
        if isinstance(error, OutputError):
            raise
        reason = (error.strerror or str(error)).lower()
        raise OutputError(f"{folder} cannot be made: {reason}") from error
