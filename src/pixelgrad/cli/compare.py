"""`pixelgrad compare`: several ways to look at a network's reasons, side by side on one sheet."""

from __future__ import annotations

import os
from typing import Annotated, Any

import torch
import typer
from PIL import Image

from .. import comparison, images
from ..errors import OutputError, SettingError
from ..gradient import Progress
from ..heatmaps import View
from ..methods import comparable, known, shows, takes_target
from ..models import load
from ..objectives.of_class import Target, indices
from ..registry import make
from ..result import Result
from ..technique import Technique
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
    left_out: dict[str, str] | None = {} if methods is None else None
    images.encode(Image.new("RGB", (1, 1)), out_file)  # says what is wrong with the name, before the work
    for path in paths:
        if os.path.exists(out_file) and os.path.samefile(out_file, images.find(path)):
            raise OutputError(f"{out_file} is the photograph itself; give the result another name")
    with working("compare") as progress:
        classifier = load(model, weights, device)
        pixels = torch.cat([images.open_image(path, classifier) for path in paths])
        of_class: Target = None if not target else target[0] if len(target) == 1 else tuple(target)
        of_class = indices(of_class, classifier)

        def one(name: str, step: Progress) -> Result:
            of = {"target": of_class} if takes_target(shows()[name]) else {}
            technique: Technique = make(f"show/{name}", **of)
            return technique.run(classifier, pixels, step)

        results = comparison.compare(names, one, progress, left_out)
        for name, reason in (left_out or {}).items():
            say("warning", "yellow", f"{name} is left out: {reason}")
        images.save(comparison.sheet(paths, results, shown), out_file)
    out.print(f"wrote {out_file}", markup=False, highlight=False, soft_wrap=True)


def chosen(methods: str) -> list[str]:
    """The techniques of a list with commas. Raises NotFound, with the nearest name."""
    names = [name for name in methods.split(",") if name.strip()]
    if not names:
        raise SettingError("methods are names with commas between: saliency,grad-cam")
    return list(dict.fromkeys(known(name, list(shows())) for name in names))
