"""Where the command line writes: results to standard output, progress and errors beside it."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from ..registry import Setting, settings

if TYPE_CHECKING:  # the list of commands and the studio's page are shown without torch
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


class Speed(ProgressColumn):
    """How many are done in a second."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:,.0f}/s")


@contextmanager
def working(what: str, speed: bool = False) -> Iterator[OnStep]:
    """A line that shows what is being done, and a bar once steps are reported; gone afterwards. speed: with how many go
    in a second and how long the rest takes, in place of how long it took."""
    text = TextColumn("{task.description}", markup=False)
    time = (Speed(), TimeRemainingColumn()) if speed else (TimeElapsedColumn(),)
    columns = (SpinnerColumn(), text, BarColumn(), MofNCompleteColumn(), *time)
    # where nobody watches, not even the empty line that a bar leaves
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(what, total=None)

        def step(now: Step) -> None:
            if (
                progress.tasks[0].total != now.total
            ):  # work of another kind: what was done before tells no speed
                progress.reset(task, completed=now.done, total=now.total)
            progress.update(task, completed=now.done)

        yield step


def say(kind: str, style: str, message: object) -> None:
    """One line on standard error, whatever is in the message: file names may hold line breaks and control signs."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(message))
    err.print(Text.assemble((f"{kind}:", style), f" {line}"), highlight=False, soft_wrap=True)


def print_json(data: Any) -> None:
    """Plain JSON in ASCII, without colours and line breaks of the terminal's."""
    print(json.dumps(data, indent=2))


def option(s: Setting) -> Any:
    """The annotation of a setting's option. None stands for the default, which the technique knows."""
    kind: Any = Literal[s.choices] if s.choices else s.kind
    if s.many:
        kind = list[kind]
    about = s.help if s.default is None else f"{s.help} [dim](default: {s.default} {s.unit})[/]"
    limits: dict[str, Any] = {"min": s.lo, "max": s.hi} if s.kind in (int, float) else {}
    letter = [f"-{s.name}"] if len(s.name) == 1 else []
    return Annotated[kind | None, typer.Option(*letter, help=about, **limits)]


def given(values: dict[str, Any]) -> dict[str, Any]:
    """The options that were given; the others have their defaults."""
    return {name: value for name, value in values.items() if value not in (None, [])}


def with_settings(cls: type, run: Callable[..., None]) -> Callable[..., None]:
    """The command with an option for each setting of a class, which it takes as further keywords."""

    def command(**options: Any) -> None:
        run(**options)

    own = inspect.signature(run, eval_str=True).parameters.values()
    kinds = {p.name: (p.annotation, p.default) for p in own if p.kind is not p.VAR_KEYWORD}
    kinds |= {s.name: (option(s), None) for s in settings(cls)}
    dress(command, kinds)
    command.__name__, command.__doc__ = run.__name__, run.__doc__
    return command


def dress(command: Callable[..., None], options: dict[str, tuple[Any, Any]]) -> None:
    """Give a function of keywords the annotation and the default of each, from which its command is made."""
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=default)
            for key, (kind, default) in options.items()
        ]
    )
    command.__annotations__ = {key: kind for key, (kind, _) in options.items()}
