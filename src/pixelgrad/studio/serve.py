"""The studio's server: an address, an application, and an end within a second or two of Ctrl-C."""

from __future__ import annotations

import ipaddress
import secrets
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import uvicorn
from platformdirs import user_cache_dir

from .. import images
from ..errors import DataError, OutputError, SettingError
from .app import Studio, app
from .guards import own_names
from .jobs import Desk
from .networks import BUNDLED, Networks
from .store import Store

PORT = 8700
SHORT = 8  # letters of a token that is too easily guessed
PATIENCE = 30.0  # seconds: a library that is just being imported would not survive Python's end
AT_ONCE = 2  # pictures that go through a network together: who cancels does not wait for eight


class Server(uvicorn.Server):
    """Says when it is there, and ends its streams of events when it is to end."""

    studio: Studio
    ready: Callable[[], None]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """From here on requests are answered, and signals heeded."""
        await super().startup(sockets)
        if self.started:
            self.ready()

    def handle_exit(self, sig: int, frame: Any) -> None:
        """A signal to end."""
        self.studio.close_soon()
        super().handle_exit(sig, frame)


def serve(
    paths: Sequence[str],
    models: Sequence[str],
    weights: str | None,
    device: str,
    host: str,
    port: int | None,
    token: str | None,
    units: str | None,
    ready: Callable[[str], None],
    data: Sequence[str] = (),
) -> None:
    """Serve until a signal ends it. ready: told the address. Raises what is wrong with what was asked for."""
    for path in paths:
        images.read(path)  # says what is wrong with it
    names = list(models) or BUNDLED
    if weights is not None and len(models) != 1:
        raise SettingError("weights are of one network; name it with a single --model")
    if token is not None and len(token) < SHORT:
        raise SettingError(f"a token has at least {SHORT} letters; got {len(token)}")
    if units is not None:
        from .. import unit_table

        unit_table.read(units)  # likewise
        if not (Path(units) / "index.html").is_file():
            raise DataError(f"{units} has no pages of units yet; `pixelgrad report {units}` makes them")
    sets = {}
    if data:
        from .offered import offered

        sets = offered(data)
    if token is None and not _loopback(host):
        token = secrets.token_urlsafe(16)
    networks = Networks(names, weights, device)
    networks.exist()
    store = Store(Path(user_cache_dir("pixelgrad")) / "studio")
    listening = _listen(host, port)
    desk = Desk()
    made = app(
        networks,
        store,
        desk,
        own=[images.find(path) for path in paths],
        units=None if units is None else Path(units),
        data=sets,
        names=own_names(host),
        token=token,
    )
    config = uvicorn.Config(
        made,
        log_level="warning",
        access_log=False,
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    server = Server(config)
    server.studio = made.state.studio
    shown = "127.0.0.1" if host in ("0.0.0.0", "") else f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{listening.getsockname()[1]}/" + (f"#token={token}" if token else "")
    server.ready = lambda: ready(address)
    if device == "cpu":
        desk.ask(_few_together)
    try:
        server.run(sockets=[listening])
    finally:
        desk.close(PATIENCE)


def _few_together() -> None:
    from ..gradient import TOGETHER

    TOGETHER["cpu"] = min(TOGETHER["cpu"], AT_ONCE)


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listen(host: str, port: int | None) -> socket.socket:
    """A socket at the port, or where none was asked for at the usual one or any that is free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for number in (PORT, 0) if port is None else (port,):
        try:
            return socket.create_server((host, number), family=family)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
    raise OutputError(f"port {number} of {host} cannot be listened on: {reason}; choose another with --port")
