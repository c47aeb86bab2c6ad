"""The command line: `pixelgrad VERB TECHNIQUE IMAGE…`, generated from the registry.

Exit codes: 0 done, 1 could not (one line says why), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import io
import os
import sys
import warnings
from importlib.metadata import version

import typer

from ..allocator import keep_freed_memory
from ..errors import PixelgradError
from .commands import Commands
from .console import err, say


def app() -> typer.Typer:
    """The whole command line."""
    main_app = typer.Typer(
        cls=Commands,
        help="See what an image classifier sees.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    main_app.callback()(_options)
    return main_app


def _options(
    show_version: bool = typer.Option(
        False, "--version", help="Print the version.", is_eager=True, callback=lambda v: _version(v)
    ),
) -> None:
    pass


def _version(wanted: bool) -> None:
    if wanted:
        print(version("pixelgrad"))
        raise typer.Exit


def main() -> None:
    """Run the command line; errors become one line and an exit code."""
    keep_freed_memory()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names need not be Unicode, nor terminals know it
    warnings.showwarning = lambda message, *_, **__: say("warning", "yellow", message)
    try:
        app()()
    except PixelgradError as error:
        say("error", "bold red", error)
        sys.exit(1)
    except KeyboardInterrupt:
        err.print("interrupted")
        sys.exit(130)
    except BrokenPipeError:
        # the reader of our output is gone (`pixelgrad models | head`); keep Python from saying so at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
