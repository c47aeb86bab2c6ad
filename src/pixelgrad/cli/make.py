"""A command for every technique, made from its settings; and `redo`, which makes a saved picture again."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from PIL import Image
from rich.table import Table

from .. import film, images, recipe
from ..errors import OutputError, SettingError
from ..heatmaps import View
from ..methods import comparable
from ..models import load
from ..registry import settings, techniques
from ..result import Result
from ..trust import Card, trust
from .console import (
    DEFAULT_MODEL,
    Device,
    Images,
    Json,
    MaybeImages,
    Model,
    Weights,
    dress,
    err,
    given,
    option,
    out,
    print_json,
    working,
)

Out = Annotated[
    str | None, typer.Option("--out", "-o", help="File to write: .png (with its recipe), .jpg, …")
]
Raw = Annotated[bool, typer.Option("--raw", help="Write the floats too, as .safetensors beside it.")]
COMMON: dict[str, tuple[Any, Any]] = {
    "model": (Model, DEFAULT_MODEL),
    "weights": (Weights, None),
    "device": (Device, "cpu"),
    "out_file": (Out, None),
    "raw": (Raw, False),
    "json": (Json, False),
}
FOLLOWING: dict[str, tuple[Any, Any]] = {
    "gif": (
        Annotated[
            str | None,
            typer.Option(help="Write how it came about as an animation to this file, .gif or .mp4."),
        ],
        None,
    ),
    "resume": (
        Annotated[bool, typer.Option("--resume", help="Go on with a run that was interrupted.")],
        False,
    ),
}
OF_A_CLASS: dict[str, tuple[Any, Any]] = {s.name: (option(s), None) for s in settings(View)} | {
    "change": (
        Annotated[
            list[str] | None,
            typer.Option(
                metavar="FILE",
                help="The same picture, fooled or changed, one for each: what that changed in the map.",
            ),
        ],
        None,
    ),
    "trust": (
        Annotated[
            bool,
            typer.Option("--trust", help="Measure how far each map can be trusted, and say it on a card."),
        ],
        False,
    ),
}
FRAMES = 40  # in an animation


def add(app: typer.Typer) -> None:
    """Add `redo`."""
    app.command()(redo)


def add_techniques(group: typer.Typer, verb: str) -> None:
    """Add the techniques of a verb to its group."""
    for name, technique in techniques().items():
        of, short = name.split("/")
        if of == verb:
            group.command(short, help=technique.__doc__)(command(name))


def command(name: str) -> Callable[..., None]:
    """The function behind `pixelgrad VERB TECHNIQUE`, with an option for each setting."""
    technique = techniques()[name]
    own = settings(technique)
    follows = name.startswith("follow/")
    of_a_class = name.removeprefix("show/") in comparable()

    def run(**asked: Any) -> None:
        paths = asked["paths"] or []
        changed = given({s.name: asked[s.name] for s in own})
        for s in own:
            if s.many and len(changed.get(s.name, ())) == 1:
                changed[s.name] = changed[s.name][0]
        if technique.one_by_one and len(paths) > 1:
            folder = Path(asked["out_file"] or "")
            if not os.path.isdir(folder):
                raise OutputError(
                    f"{folder} is no folder; each of {len(paths)} pictures is a file of its own"
                )
            for path in paths:
                one(asked | {"out_file": str(folder / recipe.default_name(name, [path]))}, changed, [path])
        else:
            out_file = recipe.default_name(name, paths) if asked["out_file"] is None else asked["out_file"]
            one(asked | {"out_file": out_file}, changed, paths)

    def one(asked: dict[str, Any], changed: dict[str, Any], paths: list[str]) -> None:
        others = asked.get("change") or []
        view = given({s.name: asked.get(s.name) for s in settings(View)}) if of_a_class else {}
        what = recipe.prepare(name, changed, paths, asked["model"], asked["weights"], others, view)
        out_file = asked["out_file"]
        for path in (*paths, *others):
            if os.path.exists(out_file) and os.path.samefile(out_file, images.find(path)):
                raise OutputError(f"{out_file} is the photograph itself; give the result another name")
        gif, checkpoint = asked.get("gif"), None
        if follows:
            checkpoint = Path(f"{out_file}.part")
            ready(checkpoint, asked["resume"], out_file, gif)
        with working(f"{name} of {asked['model']}") as progress:
            model = load(asked["model"], asked["weights"], asked["device"])
            frames = FRAMES if gif else 0
            result = recipe.run(what, progress=progress, model=model, checkpoint=checkpoint, frames=frames)
            cards = trust(result, model, progress=progress) if asked.get("trust") else ()
            result.save(out_file, asked["raw"])
            if gif:
                result.animate(gif)
        tell(result, out_file, asked["json"], "; the same command with --resume goes on", cards)

    paths = (Images, inspect.Parameter.empty) if technique.needs_pixels else (MaybeImages, None)
    options: dict[str, tuple[Any, Any]] = {"paths": paths}
    options |= {s.name: (option(s), None) for s in own}
    options |= COMMON | (FOLLOWING if follows else {}) | (OF_A_CLASS if of_a_class else {})
    dress(run, options)
    return run


def redo(
    picture: Annotated[str, typer.Argument(metavar="PICTURE", help="A PNG that pixelgrad wrote.")],
    images: Annotated[
        list[str] | None,
        typer.Argument(metavar="[IMAGE]", help="Other pictures to do the same with."),
    ] = None,
    device: Device = "cpu",
    out_file: Out = None,
    raw: Raw = False,
    json: Json = False,
) -> None:
    """Make a saved picture again, from the recipe that it carries."""
    asked = recipe.of_picture(picture, images or ())
    if out_file is None:
        out_file = f"{Path(picture).with_suffix('')}-redo.png"
    with working(f"{asked['technique']} of {asked['model']}") as progress:
        result = recipe.run(asked, device, progress)
        result.save(out_file, raw)
    tell(result, out_file, json)


def ready(checkpoint: Path, resume: bool, out_file: str, gif: str | None) -> None:
    """Before long work: that its files can be written; and that it starts afresh, or goes on from what an interrupted
    run has left beside its picture."""
    if gif is not None:
        film.check(gif)
    images.encode(Image.new("RGB", (1, 1)), out_file)
    for file in (out_file, gif):
        if file is not None and not Path(file).absolute().parent.is_dir():
            raise OutputError(f"{file} cannot be written: no such folder")
    if resume and not checkpoint.is_file():
        raise SettingError(f"there is nothing to resume: no {checkpoint}")
    if not resume:
        checkpoint.unlink(missing_ok=True)


def facts(images: list[dict[str, Any]]) -> Table:
    """What was measured of each picture, a column for each."""
    table = Table(box=None, show_header=False)
    for key in images[0]:
        table.add_row(key.replace("_", " "), *(plain(fact[key]) for fact in images))
    return table


def plain(value: Any) -> str:
    """A measured value in a few signs."""
    if isinstance(value, dict):
        return "  ".join(f"{key} {plain(v)}" for key, v in value.items())
    if isinstance(value, float):
        return f"{value:.4g}"
    words = {True: "yes", False: "no", None: "–"}
    return words[value] if value is None or isinstance(value, bool) else str(value)


def tell(result: Result, out_file: str, json: bool, then: str = "", cards: Sequence[Card] = ()) -> None:
    """What was made, for a person or a script; or how far it came before it was interrupted, and what goes on."""
    if json:
        trusted = {"trust": [card.facts() for card in cards]} if cards else {}
        print_json({"out": out_file, **result.recipe(), "report": dict(result.report), **trusted})
    else:
        paths = [f"{file['path']}: " for file in result.files] or [""] * len(result.titles)
        for path, title in zip(paths, result.titles, strict=False):
            out.print(f"{path}{title}", markup=False, highlight=False)
        for card in cards:
            out.print(card.text(), markup=False, highlight=False, soft_wrap=True)
        if result.technique.name.startswith("follow/"):
            out.print(facts(result.report["images"]))
        out.print(f"wrote {out_file}", markup=False, highlight=False, soft_wrap=True)
    step = result.report.get("interrupted")
    if step is not None:
        err.print(
            f"interrupted after step {step}: {out_file} is the best so far{then}",
            markup=False,
            soft_wrap=True,
        )
        raise typer.Exit(130)
