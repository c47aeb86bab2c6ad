"""The routes to what there is: networks, their classes and layers, techniques, samples, units."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from .. import images
from ..classifier import Classifier
from ..errors import PixelgradError
from ..film import check as film_check
from . import describe
from .asking import asked, loaded
from .pictures import BYTES

router = APIRouter()


@router.get("/api/about")
def about(request: Request) -> Any:
    """What this studio offers. Of a network that is not loaded yet classes and size are null."""
    studio = request.app.state.studio
    models = []
    for name in studio.networks.names:
        known: Classifier | None = studio.networks.known(name)
        labels = known.labels if known else None
        size = known.preprocessing.size if known else None
        models.append({"name": name, "classes": labels and len(labels), "size": size and list(size)})
    return {
        "version": version("pixelgrad"),
        "models": models,
        "default_model": studio.networks.names[0],
        "samples": [
            {"id": key, "name": name.removeprefix("sample:"), "url": f"/api/samples/{key}.jpg"}
            for key, (_, name) in studio.brought.sources.items()
        ],
        "limits": {"bytes": BYTES, "pixels": images.MAX_PIXELS, "jobs": studio.desk.per_visitor},
        "units": studio.units is not None,
        "gif": True,
        "mp4": _can("film.mp4"),
    }


def _can(name: str) -> bool:
    try:
        film_check(name)
    except PixelgradError:
        return False
    return True


@router.get("/api/samples/{source}.jpg")
def sample(request: Request, source: str) -> Response:
    """A small picture to choose by."""
    brought = request.app.state.studio.brought
    if source not in brought.sources:
        raise HTTPException(404, "there is no such picture")
    return Response(brought.small(source), headers={"cache-control": "no-cache"}, media_type="image/jpeg")


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


@router.get("/api/units")
def units(request: Request) -> Any:
    """The layers of a report about units, and their channels."""
    studio = request.app.state.studio
    if studio.units is None:
        raise HTTPException(404, "no report about units was given: pixelgrad studio --units FOLDER")
    return describe.units(studio.units)
