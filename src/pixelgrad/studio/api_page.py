"""The page itself, the cookie that stands for a token, and what the page begins with: all that needs no torch."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from .. import images
from ..errors import PixelgradError
from ..film import check as film_check
from .asking import TYPES
from .guards import session_cookie
from .jobs import SHARE
from .pictures import BYTES

if TYPE_CHECKING:
    from ..classifier import Classifier

router = APIRouter()
PAGE = Path(__file__).parent / "page"


@router.get("/")
def index() -> Response:
    """The page."""
    return _page("index.html")


@router.get("/r/{made}")
def restored(request: Request, made: str) -> Response:
    """The page, which restores a result."""
    there = request.app.state.studio.store.about("results", made) is not None
    return _page("index.html", 200 if there else 404)


@router.get("/favicon.ico")
def icon() -> Response:
    """The icon of pages that name none: those of units."""
    return _page("icon.svg")


@router.get("/page/{name}")
def page(name: str) -> Response:
    """What the page consists of."""
    return _page(name)


def _page(name: str, status: int = 200) -> Response:
    file = PAGE / name
    if not re.fullmatch(r"[a-z0-9_-]+\.[a-z]+", name) or not file.is_file() or file.suffix not in TYPES:
        raise HTTPException(404, "there is no such page")
    headers = {"cache-control": "no-cache"}
    return Response(file.read_bytes(), status, headers, TYPES[file.suffix])


@router.post("/api/session")
def session(request: Request) -> Response:
    """A cookie in place of the token, which the guards have seen."""
    answer = JSONResponse({})
    if request.scope["pixelgrad.session"] is not None:
        answer.headers.append("set-cookie", session_cookie(request.scope["pixelgrad.session"]))
    return answer


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
        "limits": {
            "bytes": BYTES,
            "pixels": images.MAX_PIXELS,
            "jobs": studio.desk.per_visitor,
            "seconds": SHARE,
        },
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
