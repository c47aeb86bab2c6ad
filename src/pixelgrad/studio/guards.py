"""Who may ask what: the checks before every request, and what browsers are told to keep away.

The name in `Host` is an address, localhost or a name given at the start, so that no other site's name leads here (DNS
rebinding). What changes something comes from the page itself. With a token, everything but the bare page asks for it.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import secrets
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
SESSION, VISITOR = "pixelgrad-session", "pixelgrad-visitor"  # cookies
YEAR = 31_536_000
READING = ("GET", "HEAD", "OPTIONS")
GUARDED = ("/api/", "/units/", "/found/")  # with a token; the page itself holds nothing


class Guards:
    """Around the whole application. names: by which the server may be called besides addresses."""

    def __init__(self, app: App, names: tuple[str, ...] = (), token: str | None = None) -> None:
        self._app, self._token = app, token
        self._names = {"localhost", *(name.casefold() for name in names)}
        self._secret = secrets.token_bytes(32)
        # the cookie is not the token itself, and is worth nothing for another token
        self.session = None if token is None else hmac.digest(token.encode(), b"session", "sha256").hex()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        kept = _cookies(headers.get("cookie", ""))
        visitor = kept.get(VISITOR, "")
        client = (scope.get("client") or ("",))[0]
        known = self._signed(visitor)
        scope["pixelgrad.visitor"] = visitor if known else f"address {client}"
        scope["pixelgrad.session"] = self.session if self._bearer(headers) else None
        fresh = [] if known else [_cookie(VISITOR, self._visitor(), YEAR)]

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {key for key, _ in message["headers"]}
                added = [(k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in own]
                if b"cache-control" not in own:
                    added.append((b"cache-control", b"no-store"))
                added += [(b"set-cookie", cookie.encode()) for cookie in fresh]
                message["headers"] = [*message["headers"], *added]
            await send(message)

        if problem := self._problem(scope, headers, kept):
            await _refuse(guarded, *problem)
        else:
            await self._app(scope, receive, guarded)

    def _problem(self, scope: Scope, headers: dict[str, str], kept: dict[str, str]) -> tuple[int, str] | None:
        """Why a request is refused: its status and a line; None where it is not."""
        host = headers.get("host", "")
        if not self._called(host):
            return 403, "this address is not one of the studio's; open the address that it printed"
        if scope["method"] not in READING:
            origin, site = headers.get("origin"), headers.get("sec-fetch-site")
            same = site == "same-origin" if origin is None else _name(origin, "netloc") == host
            if not same:
                return 403, "changes are made from the studio's own page only"
        path = scope["path"]
        if self._token is not None and path.startswith(GUARDED):
            session = kept.get(SESSION, "")
            # in bytes: headers may hold signs that compare_digest does not take as text
            own = hmac.compare_digest(session.encode(), (self.session or "").encode())
            if not own and not self._bearer(headers):
                return 403, "a token is needed: open the address with #token=… that the studio printed"
        return None

    def _called(self, host: str) -> bool:
        name = _name(f"//{host}", "hostname")
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _bearer(self, headers: dict[str, str]) -> bool:
        kind, _, given = headers.get("authorization", "").partition(" ")
        right = kind.casefold() == "bearer" and self._token is not None
        return right and hmac.compare_digest(given.encode(), (self._token or "").encode())

    def _visitor(self) -> str:
        made = secrets.token_urlsafe(16)
        return f"{made}.{self._sign(made)}"

    def _sign(self, made: str) -> str:
        return hmac.new(self._secret, made.encode(), hashlib.sha256).hexdigest()[:32]

    def _signed(self, visitor: str) -> bool:
        made, _, sign = visitor.rpartition(".")
        return hmac.compare_digest(sign.encode(), self._sign(made).encode())


def session_cookie(session: str) -> str:
    """The cookie that stands for the token where a page cannot send it: of pictures and events."""
    return _cookie(SESSION, session, YEAR)


def own_names(host: str) -> tuple[str, ...]:
    """The names under which this machine is called, when it listens on this address."""
    return (host, socket.gethostname(), socket.getfqdn())


def _name(address: str, part: str) -> str:
    """A part of an address; empty where it is none."""
    try:
        return str(getattr(urlsplit(address), part) or "")
    except ValueError:
        return ""


def _cookie(name: str, value: str, seconds: int) -> str:
    return f"{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict"


def _cookies(header: str) -> dict[str, str]:
    try:
        return {key: morsel.value for key, morsel in SimpleCookie(header).items()}
    except CookieError:
        return {}


async def _refuse(send: Send, status: int, words: str) -> None:
    body = json.dumps({"error": words, "field": None}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
