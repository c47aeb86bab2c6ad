"""The routes of pictures: they are brought, shown as they were read, and classified."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from .. import images
from ..errors import ImageError
from . import tasks
from .asking import DECODING, FOREVER, asked, body_of, loaded
from .pictures import BYTES, clean

router = APIRouter()
DRAINED = 4  # times the limit: so much of a long upload is read, so that its sender hears why it is refused


@router.post("/api/pictures", status_code=201)
async def bring(request: Request) -> Any:
    """A picture: the bytes of a file, or the id of one that is offered."""
    brought = request.app.state.studio.brought
    if request.headers.get("content-type", "").startswith("application/json"):
        body = await body_of(request)
        source = body.get("sample") if isinstance(body, dict) else None
        if not isinstance(source, str) or source not in brought.sources:
            raise HTTPException(404, "there is no such sample")
        return _public(await to_thread.run_sync(brought.offered, source, limiter=DECODING))
    name = clean(unquote(request.headers.get("x-name", "picture"), errors="replace"))
    with tempfile.TemporaryDirectory(dir=request.app.state.studio.store.folder / "new") as folder:
        file = Path(folder) / "upload"
        await _received(request, file)
        try:
            kept = await to_thread.run_sync(brought.keep, str(file), name, limiter=DECODING)
        except ImageError as error:
            status = 413 if "at most" in str(error) else 415
            raise HTTPException(status, str(error)) from error
    return _public(kept)


async def _received(request: Request, file: Path) -> None:
    """An upload into a file, its bytes counted as they arrive."""
    size = 0
    try:
        with file.open("wb") as written:
            async for chunk in request.stream():
                size += len(chunk)
                if size <= BYTES:
                    written.write(chunk)
                elif size > DRAINED * BYTES:
                    break
    except ClientDisconnect as error:
        raise HTTPException(400, "the file did not arrive whole") from error
    if size > BYTES:
        raise HTTPException(413, f"this file is too large; at most {BYTES // 2**20} MB are read")


def _public(picture: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in picture.items() if key != "sha256"}


@router.get("/api/pictures/{made}.png")
async def picture(request: Request, made: str, model: str | None = None) -> Response:
    """A picture, at its own size or as a network is given it."""
    found = await to_thread.run_sync(tasks.picture, made, request.app.state.studio.store)
    if model is None:
        return Response(
            await to_thread.run_sync(found.path.read_bytes), headers=FOREVER, media_type="image/png"
        )
    network = await loaded(request, model)
    pixels = await to_thread.run_sync(images.open_image, found.path, network, limiter=DECODING)
    data = images.encode(images.to_image(pixels[0]), "picture.png")
    return Response(data, headers=FOREVER, media_type="image/png")


@router.get("/api/pictures/{made}/top")
async def top(request: Request, made: str, model: str | None = None, k: int = 5) -> Any:
    """The best guesses of a network."""
    studio = request.app.state.studio
    found = await to_thread.run_sync(tasks.picture, made, studio.store)
    name = model or studio.networks.names[0]
    network = await loaded(request, name)
    pixels = await to_thread.run_sync(images.open_image, found.path, network, limiter=DECODING)
    return await asked(request, lambda: studio.networks.top(name, made, pixels, min(max(k, 1), 1000)))
