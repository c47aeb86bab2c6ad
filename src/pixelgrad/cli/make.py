"""A command for every technique, made from its settings; and `redo`, which makes a saved picture again."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .. import recipe
from ..registry import VERBS, Setting, settings, techniques
from ..result import Result
from .console import DEFAULT_MODEL, Device, Images, Json, Model, Weights, out, print_json, working

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


def add(app: typer.Typer) -> None:
    """Add a group for each verb that has techniques, and `redo`."""
    known = techniques()
    for verb in VERBS:
        names = [name for name in known if name.startswith(f"{verb}/")]
        if names:
            about = (import_module(f"pixelgrad.{verb}").__doc__ or "").strip()
            group = typer.Typer(help=about, no_args_is_help=True)
            for name in names:
                group.command(name.split("/")[1], help=known[name].__doc__)(command(name))
            app.add_typer(group, name=verb)
    app.command()(redo)


def command(name: str) -> Callable[..., None]:
    """The function behind `pixelgrad VERB TECHNIQUE`, with an option for each setting."""
    own = settings(techniques()[name])

    def run(**given: Any) -> None:
        paths, out_file = given["paths"], given["out_file"]
        changed = {s.name: given[s.name] for s in own if given[s.name] is not None}
        asked = recipe.prepare(name, changed, paths, given["model"], given["weights"])
        if out_file is None:
            short = name.split("/")[1]
            stem = Path(paths[0].removeprefix("sample:")).stem
            out_file = f"{stem}-{short}.png" if len(paths) == 1 else f"{short}.png"
        with working(f"{name} of {given['model']}") as progress:
            result = recipe.run(asked, given["device"], progress)
            result.save(out_file, given["raw"])
        tell(result, out_file, given["json"])

    options: dict[str, tuple[Any, Any]] = {"paths": (Images, inspect.Parameter.empty)}
    options |= {s.name: (option(s), None) for s in own}
    options |= COMMON
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=default)
            for key, (kind, default) in options.items()
        ]
    )
    run.__annotations__ = {key: kind for key, (kind, _) in options.items()}
    return run


def option(s: Setting) -> Any:
    """The annotation of a setting's option. None stands for the default, which the technique knows."""
    kind: Any = Literal[s.choices] if s.choices else s.kind
    about = s.help if s.default is None else f"{s.help} [dim](default: {s.default} {s.unit})[/]"
    limits: dict[str, Any] = {"min": s.lo, "max": s.hi} if s.kind in (int, float) else {}
    return Annotated[kind | None, typer.Option(help=about, **limits)]


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


def tell(result: Result, out_file: str, json: bool) -> None:
    """What was made, for a person or a script."""
    if json:
        print_json({"out": out_file, **result.recipe(), "report": dict(result.report)})
        return
    for file, title in zip(result.files, result.titles, strict=False):
        out.print(f"{file['path']}: {title}", markup=False, highlight=False)
    out.print(f"wrote {out_file}", markup=False, highlight=False, soft_wrap=True)
