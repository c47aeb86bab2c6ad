"""Where the command line writes: results to standard output, progress and errors beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.progress import TimeElapsedColumn as Elapsed

from ..gradient import Progress as OnStep
from ..gradient import Step

out = Console(emoji=False)  # sample:cat is not a cat
err = Console(stderr=True, emoji=False)

Model = Annotated[str, typer.Option("--model", "-m", help="Classifier: `pixelgrad models` lists them.")]
Weights = Annotated[
    str | None, typer.Option("--weights", help="File with weights of your own for that model.")
]
Device = Annotated[str, typer.Option("--device", help="Where to compute: cpu, cuda, mps.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a script.")]
Images = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGE",
        help="Photographs; sample:cat, sample:coffee, sample:astronaut come with it.",
    ),
]
MaybeImages = Annotated[
    list[str] | None,
    typer.Argument(metavar="[IMAGE]", help="Photographs; this technique can do without."),
]
DEFAULT_MODEL = "efficientnet_lite0"


@contextmanager
def working(what: str) -> Iterator[OnStep]:
    """A line that shows what is being done, and a bar once steps are reported; gone afterwards."""
    text = TextColumn("{task.description}", markup=False)
    columns = (SpinnerColumn(), text, BarColumn(), MofNCompleteColumn(), Elapsed())
    # where nobody watches, not even the empty line that a bar leaves
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(what, total=None)

        def step(now: Step) -> None:
            progress.update(task, completed=now.done, total=now.total)

        yield step


def say(kind: str, style: str, message: object) -> None:
    """One line on standard error, whatever is in the message: file names may hold line breaks and control signs."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(message))
    err.print(f"[{style}]{kind}:[/]", end=" ")
    err.print(line, markup=False, highlight=False, soft_wrap=True)


def print_json(data: Any) -> None:
    """Plain JSON in ASCII, without colours and line breaks of the terminal's."""
    print(json.dumps(data, indent=2))
