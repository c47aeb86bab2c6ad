"""A survey of one of the data sets that were named at the start: asked for, done in a folder of its own, and kept as a
result.

The folder's name is made from everything that the outcome depends on (parts.identity). So the same question goes on
where an earlier one was stopped, whoever asked it, and one that is answered already has its result at once.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from .. import images, unit_pages, unit_table
from ..classifier import Classifier
from ..errors import Cancelled, DataError, NotFound, PixelgradError
from ..gradient import Step
from ..parts import identity
from ..registry import surveys
from ..run_over import Done, run_over
from ..survey import Survey
from . import words
from .answers import ANSWER, answer
from .job import Job
from .kept import plain
from .networks import Networks
from .offered import Offered
from .store import Store, new_id
from .tasks import Wrong, blaming, made_of, plain_value

BATCH = 16  # pictures between two words of how far it is
ALIVE = 60.0  # seconds after which a run is said to be in use still
OWN = ("run.json", unit_table.FILE)  # tables that are not for visitors


@dataclass(frozen=True)
class Question:
    """A survey of a data set with a network."""

    survey: Survey
    data: Offered
    model: str


def read(body: Mapping[str, Any], networks: Networks, data: Mapping[str, Offered]) -> Question:
    """The question that a request's JSON asks. Raises Wrong."""
    model = blaming("model", lambda: networks.check(body.get("model", networks.names[0])))
    name, settings, of = body.get("survey"), body.get("settings", {}), body.get("data")
    if not isinstance(name, str) or name not in surveys():
        raise Wrong(NotFound("survey", name, surveys(), f"there are {', '.join(surveys())}"), "survey")
    if not isinstance(settings, dict):
        raise Wrong(f"settings is an object; got {type(settings).__name__}")
    if not isinstance(of, str) or of not in data:
        hint = f"there are {', '.join(data)}" if data else "start the studio with --data FOLDER"
        raise Wrong(NotFound("data set", of, data, hint), "data")
    given = {key: plain_value(key, value) for key, value in settings.items() if value is not None}
    return Question(made_of(name, given), data[of], model)


def check(question: Question, networks: Networks) -> Survey:
    """The survey with what the network decides filled in. For the device's thread. Raises Wrong."""
    if not question.data.there:
        raise Wrong(f"the data set {question.data.root} is not there any more", "data")
    survey, model = question.survey, networks.get(question.model)
    try:
        return survey.prepare(model)
    except PixelgradError as error:
        for key, value in survey.values().items():
            blaming(key, lambda key=key, value=value: made_of(survey.name, {key: value}).prepare(model))  # type: ignore[misc]
        raise Wrong(error) from error


def perform(job: Job, question: Question, networks: Networks, store: Store) -> str:
    """Do it, or what is missing of it, and keep the result; its id."""
    survey, model, data = check(question, networks), networks.get(question.model), question.data
    job.between(Step(0, 0))
    run = _name(identity(survey, model, data, 0))
    folder = store.room("runs", run)
    if (known := answer(store, run)) is not None:
        store.use("results", known["result"])
        return str(known["result"])
    progress = _Progress(job, store, run, len(data))
    try:
        done = run_over(survey, model, data, folder, batch=BATCH, progress=progress)
    except Cancelled as error:
        raise Cancelled(f"{error}; what is done is kept, and run again it goes on") from error
    if done.unreadable and not data.there:
        store.remove("runs", run)  # what could not be read then is not to be missing for ever
        raise DataError(f"the data set {data.root} is not there any more")
    if (folder / unit_table.FILE).is_file():
        unit_pages.indices(folder)
    made = new_id()
    about, files = _result(question, model, done)
    for kind in ("panels", "files"):
        for entry in about[kind]:
            entry["url"] = f"/api/results/{made}/{entry['url']}"
    store.add("results", made, {"id": made, "run": run, **about}, files)
    known = {"result": made, "model": question.model, "weights": networks.weights}
    known |= {"data": data.root, "fingerprint": data.fingerprint()}
    images.write({folder / ANSWER: json.dumps(known).encode()})
    store.room("runs", run)
    return made


class _Progress:
    """How many pictures are done; what is drawn afterwards is the end of the bar."""

    def __init__(self, job: Job, store: Store, run: str, pictures: int) -> None:
        self._job, self._store, self._run, self._pictures = job, store, run, pictures
        self._threads, self._said = torch.get_num_threads(), time.monotonic()
        self._begun = self._drawing = False

    def __call__(self, step: Step) -> None:
        if not self._begun and step.total == self._pictures:
            self._job.before = step.done
        self._begun = True
        self._drawing = self._drawing or step.total != self._pictures or step.done == step.total
        if time.monotonic() - self._said > ALIVE:
            self._store.use("runs", self._run)
            self._said = time.monotonic()
        # a survey is on one thread; others may work in its pauses
        threads = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        try:
            self._job.between(Step(self._pictures, self._pictures) if self._drawing else step)
        finally:
            torch.set_num_threads(threads)


def _name(about: Mapping[str, Any]) -> str:
    """The name of a run's folder."""
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).digest()
    return base64.urlsafe_b64encode(digest[:16]).decode().rstrip("=")


def _result(question: Question, model: Classifier, done: Done) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What is said of a result, and its files: the sheets of the survey and its tables."""
    survey, data = question.survey, question.data.root
    short = survey.name.rpartition("/")[2]
    written = sorted(done.folder.glob("*.*"), key=lambda path: path.stat().st_mtime_ns)
    files: dict[str, bytes] = {}
    panels: list[dict[str, Any]] = []
    tables: list[dict[str, str]] = []
    for path in written:
        if path.suffix not in (".png", ".csv", ".json") or path.name in OWN or path.name.startswith("."):
            continue
        kept = f"file-{len(files)}{path.suffix}"
        files[kept] = path.read_bytes()
        name = path.name if path.stem == short else f"{short}-{path.name}"
        tables.append({"name": name, "url": kept})
        if path.suffix == ".png":
            width, height = images.read(path).size
            panels.append({"name": "sheet", "title": path.stem, "kind": "image", "url": kept})
            panels[-1] |= {"width": width, "height": height, "values": None, "lo": None, "hi": None}
    weights = None if model.weights is None else Path(model.weights).name
    values = survey.values()
    about = {
        "technique": survey.name,
        "data": data,
        "model": question.model,
        "settings": plain(values),
        "pictures": [],
        "titles": [],
        "found": list(done.found),
        "report": {"data": data, "pictures": done.pictures, "unreadable": done.unreadable},
        "command": words.command(survey.name, values, [data, "--out", short], question.model, weights),
        "python": words.surveyed(survey.name, values, data, short, question.model, weights),
        "frames": 0,
        "steps": [],
        "curve": [],
        "trust": None,
        "panels": panels,
        "files": sorted(tables, key=lambda table: table["name"] != f"{short}.png"),
    }
    return about, files
