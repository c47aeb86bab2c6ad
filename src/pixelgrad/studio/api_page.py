"""The page itself, the pages of a report about units, and the cookie that stands for a token."""

from __future__ import annotations

import re
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from .asking import TYPES
from .guards import session_cookie

router = APIRouter()
PAGE = Path(__file__).parent / "page"
# a report's pages carry their style in them, and no script
UNITS_CSP = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@router.get("/")
def index() -> Response:
    """The page."""
    return _page("index.html")


@router.get("/r/{made}")
def restored(request: Request, made: str) -> Response:
    """The page, which restores a result."""
    there = request.app.state.studio.store.about("results", made) is not None
    return _page("index.html", 200 if there else 404)


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


@router.get("/units/{path:path}")
def unit_page(request: Request, path: str) -> Response:
    """A page or picture of that report; not its tables, which name folders of this machine."""
    folder: Path | None = request.app.state.studio.units
    file = None if folder is None else (folder / path).resolve()
    if file is None or folder is None or not file.is_relative_to(folder.resolve()):
        raise HTTPException(404, "there is no such page")
    file = file / "index.html" if file.is_dir() else file
    if file.suffix not in (".html", ".png") or not file.is_file():
        raise HTTPException(404, "there is no such page")
    headers = {"cache-control": "no-cache", "content-security-policy": UNITS_CSP}
    return Response(file.read_bytes(), headers=headers, media_type=TYPES[file.suffix])
