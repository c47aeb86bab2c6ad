"""A studio for tests: its application without a server, with a small network and a folder of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from pixelgrad.studio.app import app
from pixelgrad.studio.jobs import Desk
from pixelgrad.studio.networks import Networks
from pixelgrad.studio.store import Store

HOME = "http://127.0.0.1:8700"
MODEL = "tinynet"


@contextmanager
def opened(folder: Path, desk: Desk | None = None, **more: Any) -> Iterator[TestClient]:
    """A client of a studio, as a browser is: it says where it comes from, and keeps cookies."""
    made = app(Networks([MODEL], None, "cpu"), Store(folder), desk or Desk(), **more)
    with TestClient(made, HOME, raise_server_exceptions=False, headers={"origin": HOME}) as client:
        client.get("/api/about")  # a cookie
        yield client


def bring(client: TestClient, sample: str = "sample:cat") -> str:
    """The id of a picture."""
    answer = client.post("/api/pictures", json={"sample": sample})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def events(client: TestClient, job: str) -> list[tuple[str, dict[str, Any]]]:
    """All events of a job until the last."""
    text = client.get(f"/api/jobs/{job}/events").text
    blocks = [block.splitlines() for block in text.strip().split("\n\n")]
    return [
        (lines[0].removeprefix("event: "), json.loads(lines[1].removeprefix("data: ")))
        for lines in blocks
        if lines[0].startswith("event: ")
    ]


def submitted(client: TestClient, technique: str, pictures: list[str], **settings: Any) -> Any:
    """The answer to a job."""
    body = {"technique": technique, "settings": settings, "model": MODEL, "pictures": pictures}
    return client.post("/api/jobs", json=body)


def done(client: TestClient, answer: Any) -> dict[str, Any]:
    """The result of a job that must succeed."""
    assert answer.status_code == 202, answer.text
    name, last = events(client, answer.json()["id"])[-1]
    assert name == "end"
    assert last["state"] == "done", last["error"]
    found: dict[str, Any] = client.get(f"/api/results/{last['result']}").json()
    return found
