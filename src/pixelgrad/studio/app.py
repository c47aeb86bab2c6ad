"""The application: what a studio consists of, its routes between its guards, and what begins and ends with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from ..errors import ImageError, NotFound, OutputError, PixelgradError
from ..images import SAMPLES
from . import api_jobs, api_offers, api_page, api_pictures
from .guards import Guards
from .jobs import Desk, Full
from .networks import Networks
from .pictures import Brought
from .store import Store
from .tasks import Wrong
from .words import public


@dataclass
class Studio:
    """All that the routes need. own: pictures that were named at the start, by the id that the page asks for."""

    networks: Networks
    store: Store
    desk: Desk
    brought: Brought
    units: Path | None = None
    closing: bool = field(default=False)

    def close_soon(self) -> None:
        """End the streams of events, so that no reader keeps the server."""
        self.closing = True
        for job in tuple(self.desk.jobs.values()):
            job.changed()


def app(
    networks: Networks,
    store: Store,
    desk: Desk,
    *,
    own: Sequence[Path] = (),
    units: Path | None = None,
    names: tuple[str, ...] = (),
    token: str | None = None,
) -> FastAPI:
    """The application. names: by which its machine may be called; token: what everybody has to know."""
    sources = {f"own:{i}": (str(path), path.name) for i, path in enumerate(own)}
    sources |= {f"sample:{name}": (f"sample:{name}", f"sample:{name}") for name in SAMPLES}
    studio = Studio(networks, store, desk, Brought(store, sources), units)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        _begin(studio)
        keeping = asyncio.create_task(_keep(studio))
        yield
        studio.close_soon()
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping
        desk.close()

    made = FastAPI(
        lifespan=life,
        openapi_url=None,  # its pages would load from another host
        exception_handlers={
            PixelgradError: _failed,
            HTTPException: _refused,
            Exception: _broken,
        },
    )
    made.state.studio = studio
    for routes in (api_page, api_offers, api_pictures, api_jobs):
        made.include_router(routes.router)
    made.add_middleware(Guards, names=names, token=token)
    return made


def _begin(studio: Studio) -> None:
    """Load the first network while the page is looked at, and the others when there is nothing else to do."""
    first, *others = studio.networks.names

    def warm() -> None:
        model = studio.networks.get(first)
        size = model.preprocessing.size or (224, 224)
        model.top(torch.full((1, 3, *size), 0.5, device=model.device), 1)

    loading = studio.desk.ask(warm)
    loading.add_done_callback(lambda done: done.exception())  # whoever needs it is told
    for name in others:
        studio.desk.later(lambda _, name=name: studio.networks.get(name), f"load {name}")  # type: ignore[misc]


async def _keep(studio: Studio) -> None:
    """Every second: give up the jobs of those who left."""
    while True:
        await asyncio.sleep(1)
        studio.desk.give_up()


async def _failed(_: Request, error: Exception) -> JSONResponse:
    status = 400
    kinds = {Wrong: 422, Full: 429, NotFound: 404, ImageError: 415, OutputError: 507}
    for kind, code in kinds.items():
        if isinstance(error, kind):
            status = code
            break
    return _line(status, public(error), getattr(error, "field", None))


async def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return _line(error.status_code, str(error.detail))


async def _broken(_: Request, error: Exception) -> JSONResponse:
    return _line(500, f"something went wrong here: {type(error).__name__}")


def _line(status: int, words: str, blamed: Any = None) -> JSONResponse:
    return JSONResponse({"error": words, "field": blamed}, status)
