"""`pixelgrad report`: the pages of the units that a search has found patches of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import unit_pages, unit_table
from ..datasets import open_data
from ..models import load
from .console import Device, out, working


def add(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(report)


def report(
    folder: Annotated[
        str, typer.Argument(metavar="FOLDER", help="What `pixelgrad find patches` has written.")
    ],
    device: Device = "cpu",
) -> None:
    """A page for every unit of a search: its patches, pictures of its own, its classes. Opens without a network."""
    table = unit_table.read(folder)
    with working("report") as progress:
        model = load(table["model"], table["weights"], device)
        unit_pages.make(folder, model, open_data(table["data"]), progress)
    out.print(f"wrote {Path(folder) / 'index.html'}", markup=False, highlight=False, soft_wrap=True)
