"""The routes to techniques, and to the classes and layers of networks."""

from __future__ import annotations

from functools import partial
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request

from . import describe
from .asking import asked, loaded

router = APIRouter()


@router.get("/api/techniques")
def techniques(request: Request) -> Any:
    """Every technique with its settings."""
    return describe.all_techniques(request.app.state.studio.networks.names)


@router.get("/api/models/{name}/labels")
async def labels(request: Request, name: str, q: str = "") -> Any:
    """The classes that a few typed letters may mean."""
    model = await loaded(request, name)
    return await to_thread.run_sync(describe.labels, model.labels or (), q)


@router.get("/api/models/{name}/layers")
async def layers(request: Request, name: str) -> Any:
    """The layers of a network; their receptive fields are measured when there is nothing else to do."""
    studio = request.app.state.studio
    studio.networks.check(name)
    if not studio.networks.measured(name):
        studio.desk.later(partial(studio.networks.measure, name), key=f"fields of {name}")
    return await asked(request, lambda: studio.networks.layers(name))
