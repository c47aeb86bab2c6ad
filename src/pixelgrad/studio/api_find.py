"""The routes of Find: the surveys of data sets, and the pages of units, of a report and of surveys that are done."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from .. import unit_pages, unit_table
from ..gradient import pulsed
from . import answers, describe
from .asking import TYPES, asked

router = APIRouter()
MAKING = CapacityLimiter(1)  # one page after the other, so that a job gets its turn between them
UNIT = re.compile(r"([^/]+)/(\d{1,6})(?:\.html|-patches\.png|-patterns\.png)")
# the pages carry their style in them, and no script
UNITS_CSP = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)
GONE = "there is no such page"


@router.get("/api/surveys")
def offered(request: Request) -> Any:
    """Every survey with its settings, and the data sets that they may go over."""
    studio = request.app.state.studio
    return {
        "surveys": describe.all_surveys(studio.networks.names, bool(studio.data)),
        "data": [
            {"name": name, "pictures": len(data), "classes": bool(data.classes)}
            for name, data in studio.data.items()
        ],
    }


@router.get("/api/units")
def units(request: Request, model: str | None = None, result: str | None = None) -> Any:
    """The layers that units are known of, and the pages and patches of their channels: of a result; or those of the
    latest survey with a network, and of the report that was given at the start."""
    studio = request.app.state.studio
    if result is not None:
        known = answers.answer_of(studio.store, result)
        return [] if known is None else _units(known[0], f"/found/{result}")
    found: list[dict[str, Any]] = []
    if model is not None:
        for folder, answer in answers.with_units(studio.store, model, studio.networks.weights):
            found += _units(folder, f"/found/{answer['result']}")
            break
    if studio.units is not None and model in (None, unit_table.read(studio.units).get("model", model)):
        there = {layer["layer"] for layer in found}
        found += [layer for layer in _units(studio.units, "/units") if layer["layer"] not in there]
    return found


def _units(folder: Path, at: str) -> list[dict[str, Any]]:
    """What a table of units has pages of. Those of a report are there; those of a survey are made when they are asked
    for."""
    if not (folder / unit_table.FILE).is_file():
        return []  # of another survey
    found = []
    for layer in unit_table.read(folder)["layers"]:
        name = unit_table.folder_of(layer["layer"])
        under = f"{at}/{quote(name)}"
        channels = [
            {"index": c, "url": f"{under}/{c}.html", "patches": f"{under}/{c}-patches.png"}
            for c, best in ((unit["channel"], unit.get("best")) for unit in layer["units"])
            if (best if at != "/units" else (folder / name / f"{c}.html").is_file())
        ]
        found.append({"layer": layer["layer"], "url": f"{under}/index.html", "channels": channels})
    return found


@router.get("/units/{path:path}")
def reported(request: Request, path: str) -> Response:
    """A page or picture of the report that was given at the start."""
    folder: Path | None = request.app.state.studio.units
    if folder is None:
        raise HTTPException(404, GONE)
    return _page(folder, path)


@router.get("/found/{made}/{path:path}")
async def found(request: Request, made: str, path: str) -> Response:
    """A page or picture of the units of a survey; those of one unit are made when they are first asked for."""
    studio = request.app.state.studio
    known = await to_thread.run_sync(answers.answer_of, studio.store, made)
    if known is None:
        raise HTTPException(404, GONE)
    folder, answer = known
    unit = UNIT.fullmatch(path)
    if unit and not (folder / path).is_file():
        async with MAKING:
            if not (folder / path).is_file():
                await asked(request, lambda: _make(studio, folder, answer, unit[1], int(unit[2])))
    return await to_thread.run_sync(_page, folder, path)


def _make(studio: Any, folder: Path, answer: dict[str, Any], layer: str, channel: int) -> None:
    """The pages of one unit. For the device's thread."""
    data = studio.data.get(answer["data"])
    same = data is not None and data.there and data.fingerprint() == answer["fingerprint"]
    if not same or studio.networks.weights != answer["weights"]:
        raise HTTPException(
            404, f"this page needs the data set {answer['data']}, which is not there (any more)"
        )
    model = studio.networks.get(studio.networks.check(answer["model"]))
    with pulsed(lambda: None):  # it is no part of the job between whose steps it is made
        unit_pages.one(folder, model, data, layer, channel)


def _page(folder: Path, path: str) -> Response:
    """A page or picture; not the tables, which name folders of this machine."""
    file = (folder / path).resolve()
    if not file.is_relative_to(folder.resolve()):
        raise HTTPException(404, GONE)
    file = file / "index.html" if path.endswith("/") or not path else file
    if file.suffix not in (".html", ".png") or not file.is_file():
        raise HTTPException(404, GONE)
    headers = {"cache-control": "no-cache", "content-security-policy": UNITS_CSP}
    return Response(file.read_bytes(), headers=headers, media_type=TYPES[file.suffix])
