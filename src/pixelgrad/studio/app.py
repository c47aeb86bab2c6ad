"""The application: what a studio consists of, its routes between its guards, and what begins and ends with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match

from ..errors import ImageError, NotFound, OutputError, PixelgradError
from ..images import SAMPLES
from . import api_page
from .asking import CLOSING
from .guards import App, Guards, Receive, Scope, Send
from .jobs import Desk, Full
from .networks import Networks
from .pictures import Brought
from .store import Store
from .words import public

if TYPE_CHECKING:
    from .offered import Offered


@dataclass
class Studio:
    """All that the routes need. units: the folder of a report; data: the data sets that surveys may go over."""

    networks: Networks
    store: Store
    desk: Desk
    brought: Brought
    units: Path | None = None
    data: Mapping[str, Offered] = field(default_factory=dict)
    closing: bool = field(default=False)
    rest: asyncio.Task[None] | None = field(default=None)  # adds the routes that need torch

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
    data: Mapping[str, Offered] | None = None,
    names: tuple[str, ...] = (),
    token: str | None = None,
) -> FastAPI:
    """The application. names: by which its machine may be called; token: what everybody has to know."""
    sources = {f"own:{i}": (str(path), path.name) for i, path in enumerate(own)}
    sources |= {f"sample:{name}": (f"sample:{name}", f"sample:{name}") for name in SAMPLES}
    studio = Studio(networks, store, desk, Brought(store, sources), units, data or {})

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        studio.rest = asyncio.create_task(_add(made, desk.ask(_rest)))
        _begin(studio)
        keeping = asyncio.create_task(_keep(studio))
        yield
        studio.close_soon()
        for task in (studio.rest, keeping):
            task.cancel()
        await asyncio.gather(studio.rest, keeping, return_exceptions=True)
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
    made.include_router(api_page.router)
    made.add_middleware(Waiting)
    made.add_middleware(Guards, names=names, token=token)
    return made


class Waiting:
    """Around the routes: what is asked of those that are not there yet waits until they are."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A request."""
        if scope["type"] == "http":
            made: FastAPI = scope["app"]
            if all(route.matches(scope)[0] is Match.NONE for route in made.routes):
                try:
                    await asyncio.shield(made.state.studio.rest)
                except asyncio.CancelledError:  # by the server's end
                    await _line(503, CLOSING)(scope, receive, send)
                    return
        await self._app(scope, receive, send)


def _rest() -> list[APIRouter]:
    """The routes that need torch; importing it takes a second or two, in which the page is there already."""
    from . import api_find, api_jobs, api_offers, api_pictures

    return [routes.router for routes in (api_offers, api_pictures, api_jobs, api_find)]


async def _add(made: FastAPI, rest: Future[list[APIRouter]]) -> None:
    for router in await asyncio.wrap_future(rest):
        made.include_router(router)


def _begin(studio: Studio) -> None:
    """Load the first network while the page is looked at, and the others when there is nothing else to do."""
    first, *others = studio.networks.names

    def warm() -> None:
        import torch

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
    from .tasks import Wrong

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
