"""`classify`, `models` and `layers`: what a network says, which ones there are, what they consist of."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .. import images
from ..gradient import Step
from ..models import load
from ..receptive import fields
from ..registry import sources
from .console import DEFAULT_MODEL, Device, Images, Json, Model, Weights, out, print_json, working


def add(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(classify)
    app.command()(models)
    app.command()(layers)


def classify(
    paths: Images,
    model: Model = DEFAULT_MODEL,
    weights: Weights = None,
    top: Annotated[int, typer.Option(min=1, help="How many classes.")] = 5,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """What the network says about pictures."""
    with working(f"loading {model}") as progress:
        classifier = load(model, weights, device)
        guesses = []
        for i, path in enumerate(paths):
            guesses += classifier.top(images.open_image(path, classifier), top)
            progress(Step(i + 1, len(paths)))
    if json:
        print_json(
            [
                {"image": path, "top": [asdict(guess) for guess in row]}
                for path, row in zip(paths, guesses, strict=True)
            ]
        )
        return
    for path, row in zip(paths, guesses, strict=True):
        table = Table(title=escape(path), title_justify="left", box=None, show_header=False)
        table.add_column(justify="right")
        for guess in row:
            bar = "█" * round(24 * guess.probability)
            table.add_row(f"{guess.probability:.1%}", f"{guess.label} [dim]{guess.index}[/]", bar)
        out.print(table)


def models(
    search: Annotated[str, typer.Option(help="Only names that contain this.")] = "",
    json: Json = False,
) -> None:
    """The networks that can be loaded."""
    with working("looking"):
        found = [
            (s, [n for n in s.names() if search.casefold() in n.casefold()])
            for s in sources()
            # a thousand names only when somebody looks for one
            if search or not s.prefix
        ]
    if json:
        print_json([{"source": s.name, "about": s.summary, "models": names} for s, names in found])
        return
    for source, names in found:
        if names:
            out.print(f"[bold]{source.name}[/]  {source.summary}", highlight=False)
            if names != [source.name]:
                out.print("  " + "  ".join(names), highlight=False)
    if not any(names for _, names in found):
        out.print(f"no name contains {search!r}", markup=False)
    if not search:
        rest = ", ".join(f"{s.name} ({s.prefix}NAME)" for s in sources() if s.prefix)
        out.print(f"[dim]and those of {rest}: pixelgrad models --search WORD[/]", highlight=False)


def layers(
    model: Annotated[str, typer.Argument(metavar="[MODEL]", help="Classifier.")] = DEFAULT_MODEL,
    weights: Weights = None,
    size: Annotated[int | None, typer.Option(min=1, help="Side of the picture.")] = None,
    json: Json = False,
) -> None:
    """The layers of a network, in the order they run: the shape of their output for one picture, and how many pixels
    a unit sees (its receptive field), in steps of how many (stride). A layer can be named by its number."""
    with working(f"loading {model}") as progress:
        classifier = load(model, weights)
        found = classifier.layers(size)
        seen = fields(classifier, lambda done, total: progress(Step(done, total)))
    if json:
        print_json(
            [
                {"number": i, **layer._asdict(), "field": field and field._asdict()}
                for i, layer in enumerate(found)
                for field in [seen.get(layer.name)]
            ]
        )
        return
    # where nobody watches, nothing is cut; a narrow terminal is for the names
    console = out if out.is_terminal else Console(width=200, emoji=False)
    wide = console.width >= 80
    table = Table(box=None, header_style="dim")
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("layer", overflow="fold", no_wrap=wide)
    if wide:
        table.add_column("kind", overflow="ellipsis")
    for title in ("shape", "sees", "stride"):
        table.add_column(title, no_wrap=True)
    for i, layer in enumerate(found):
        field = seen.get(layer.name)
        sees = ("whole", "") if field is None else (sides(*field[2:4]), sides(*field[4:]))
        kind = [layer.kind] if wide else []
        table.add_row(str(i), escape(layer.name), *kind, "×".join(map(str, layer.shape)), *sees)
    console.print(table)


def sides(height: int, width: int) -> str:
    """Height and width in few signs."""
    return str(height) if height == width else f"{height}×{width}"
