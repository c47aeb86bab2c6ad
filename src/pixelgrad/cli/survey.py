"""A command for every survey of a data set, made from its settings: `pixelgrad find patches DATA --out FOLDER`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Literal

import torch
import typer

from ..models import load
from ..registry import make, settings, surveys
from ..run_over import ERRORS, run_over
from .console import (
    DEFAULT_MODEL,
    Device,
    Json,
    Model,
    Weights,
    dress,
    given,
    option,
    out,
    print_json,
    say,
    working,
)

DATA = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="Folder of pictures, or of folders by class; list of paths (.txt, .csv); WebDataset tars; Parquet.",
    ),
]
OWN: dict[str, tuple[Any, Any]] = {
    "out_folder": (
        Annotated[str, typer.Option("--out", "-o", help="Folder of the run; the same again goes on there.")],
        inspect.Parameter.empty,
    ),
    "model": (Model, DEFAULT_MODEL),
    "weights": (Weights, None),
    "device": (Device, "cpu"),
    "engine": (
        Annotated[Literal["local", "ray"], typer.Option(help="This machine, or a Ray cluster.")],
        "local",
    ),
    "address": (
        Annotated[
            str | None,
            typer.Option(help="Of the Ray cluster, or auto; default: Ray on this machine alone."),
        ],
        None,
    ),
    "workers": (
        Annotated[
            int | None,
            typer.Option(min=1, help="Networks at work at the same time; default: one per core, or per GPU."),
        ],
        None,
    ),
    "batch": (
        Annotated[int, typer.Option(min=1, help="Pictures read together; changes no result.")],
        64,
    ),
    "json": (Json, False),
}


def add_surveys(group: typer.Typer, verb: str) -> None:
    """Add the surveys of a verb to its group."""
    for name, survey in surveys().items():
        of, short = name.split("/")
        if of == verb:
            group.command(short, help=survey.__doc__)(command(name))


def command(name: str) -> Callable[..., None]:
    """The function behind `pixelgrad VERB SURVEY`, with an option for each setting."""
    own = settings(surveys()[name])

    def run(**asked: Any) -> None:
        survey = make(name, **given({s.name: asked[s.name] for s in own}))
        model = load(asked["model"], asked["weights"], asked["device"])
        workers = asked["workers"]
        if workers is None and asked["engine"] == "local":
            workers = together(asked["device"])
        with working(f"{name} of {asked['model']}", speed=True) as progress:
            done = run_over(
                survey,
                model,
                asked["data"],
                asked["out_folder"],
                engine=asked["engine"],
                workers=workers,
                address=asked["address"],
                batch=asked["batch"],
                progress=progress,
            )
        if asked["json"]:
            about = {"survey": name, "settings": survey.values(), "model": asked["model"]}
            print_json({**about, **done._asdict(), "folder": str(done.folder)})
            return
        for sentence in done.found:
            out.print(sentence, markup=False, highlight=False, soft_wrap=True)
        if done.unreadable:
            why = f"{done.folder / ERRORS} says why"
            say(
                "warning",
                "yellow",
                f"{done.unreadable:,} of {done.pictures:,} pictures cannot be read: {why}",
            )
        out.print(f"wrote {done.folder}", markup=False, highlight=False, soft_wrap=True)

    dress(run, {"data": (DATA, inspect.Parameter.empty), **{s.name: (option(s), None) for s in own}, **OWN})
    return run


def together(device: str) -> int:
    """How many networks work at the same time on this machine: one on each core, or on each GPU."""
    if device == "cuda":
        return max(1, torch.cuda.device_count())
    return torch.get_num_threads() if device == "cpu" else 1
