"""What the routes have in common: a request's JSON, and what only the device's thread may do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from anyio import CapacityLimiter
from fastapi import Request
from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from ..classifier import Classifier

CLOSING = "the studio is closing"
JSON_BYTES = 64 * 1024
DECODING = CapacityLimiter(2)  # decoding is heavy: a few at a time, whoever asks
FOREVER = {"cache-control": "private, max-age=31536000, immutable"}  # what never changes under its address
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".gif": "image/gif",
    ".mp4": "video/mp4",
    ".csv": "text/csv; charset=utf-8",
}


async def body_of(request: Request) -> Any:
    """A request's JSON, of which a little is read."""
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > JSON_BYTES:
            raise HTTPException(413, f"a request has at most {JSON_BYTES // 1024} KB")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "this is no JSON") from error


async def asked(request: Request, question: Callable[[], Any]) -> Any:
    """The answer of the device's thread."""
    try:
        return await asyncio.wrap_future(request.app.state.studio.desk.ask(question))
    except asyncio.CancelledError as ended:  # by the server's end
        raise HTTPException(503, CLOSING) from ended


async def loaded(request: Request, name: str) -> Classifier:
    """A network, ready."""
    networks = request.app.state.studio.networks
    networks.check(name)
    known: Classifier | None = networks.known(name)
    return known or await asked(request, lambda: networks.get(name))
