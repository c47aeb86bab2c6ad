"""`pixelgrad studio`: every technique in the browser."""

from __future__ import annotations

from contextlib import suppress
from importlib.util import find_spec
from typing import Annotated

import typer

from ..errors import PixelgradError
from .console import Device, Weights, out


def add(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(studio)


def studio(
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="[IMAGE]", help="Photographs to begin with.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port; default: 8700, or a free one where that is taken."),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="Classifiers that can be chosen, the first at once; default: the bundled ones.",
        ),
    ] = None,
    weights: Weights = None,
    device: Device = "cpu",
    host: Annotated[
        str, typer.Option(help="Address to listen on; beyond this machine a token is needed.")
    ] = "127.0.0.1",
    token: Annotated[
        str | None, typer.Option(help="What visitors have to know; default: one that is made.")
    ] = None,
    units: Annotated[
        str | None, typer.Option(help="Folder of a report about units, to be shown with the layers.")
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(help="Data sets that surveys may go over, as `pixelgrad find` takes them."),
    ] = None,
) -> None:
    """Every technique in the browser: drop a picture and watch the network. Ctrl-C ends it."""
    missing = [name for name in ("fastapi", "uvicorn") if find_spec(name) is None]
    if missing:
        raise PixelgradError("the studio needs the studio extra: pip install 'pixelgrad[studio]'")
    from ..studio.serve import serve

    def ready(address: str) -> None:
        out.print(f"the studio is at {address}", markup=False, highlight=False, soft_wrap=True)

    with suppress(KeyboardInterrupt):
        serve(paths or [], model or [], weights, device, host, port, token, units, ready, data or [])
    out.print("the studio is closed", highlight=False)
