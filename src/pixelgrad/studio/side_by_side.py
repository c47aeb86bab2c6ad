"""Several methods on one sheet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from PIL import Image

from .. import images, pictures
from ..classifier import Classifier
from ..errors import PixelgradError
from ..gradient import Step
from ..methods import of_picture
from ..result import Result
from . import words
from .job import Job
from .kept import described, panel_files, plain
from .panels import Panel, panels
from .run import made_by
from .tasks import Task, Wrong


def compared(job: Job, task: Task, model: Classifier) -> tuple[dict[str, Any], dict[str, bytes]]:
    """A sheet of several methods; those that do not suit the network are left out, and it is said why."""
    results: dict[str, Result] = {}
    left: dict[str, str] = {}
    count = len(task.techniques)
    for i, technique in enumerate(task.techniques):

        def progress(step: Step, i: int = i) -> None:
            job.between(Step(i * 100 + 100 * step.done // max(1, step.total), count * 100))

        progress(Step(0, 1))
        try:
            result = made_by(technique, technique.values(), task, model, progress)
            if result.inputs is None or not of_picture(result, result.inputs):
                raise PixelgradError("it gives no map of the picture")
            results[technique.name] = result
        except PixelgradError as error:
            left[technique.name] = words.public(error)
    if not results:
        name, reason = next(iter(left.items()))
        raise Wrong(f"{name}: {reason}", "compare")
    paths = [p.name for p in task.pictures]
    found: list[Panel] = []
    for k, (name, result) in enumerate(results.items()):
        of = [replace(p, title=name) if p.name == "map" else p for p in panels(result, paths)]
        found += [p for p in of if p.name == "map" or (k == 0 and p.name == "original")]
    first = next(iter(results.values()))
    target = task.techniques[0].values().get("target")
    short = [name.removeprefix("show/") for name in results]
    picture = images.encode(sheet(results), "picture.png")
    about = {
        "technique": None,
        "compare": list(results),
        "settings": {} if target is None else {"target": plain(target)},
        "titles": list(first.titles),
        "report": {"left_out": left, **{name: plain(r.report) for name, r in results.items()}},
        "command": words.compared(short, target, paths, task.model, first.weights),
        "python": words.python(
            {name: result.technique.values() for name, result in results.items()},
            paths,
            task.model,
            first.weights,
            False,
        ),
        "frames": 0,
        "steps": [],
        "curve": [],
        "trust": None,
        "panels": described(found),
        "files": [{"name": "compare.png", "url": "picture.png"}],
    }
    return about, {**panel_files(found), "picture.png": picture}


def sheet(results: Mapping[str, Result]) -> Image.Image:
    """A row for each picture, a column for each method."""
    first = next(iter(results.values()))
    assert first.inputs is not None
    drawn = [result.maps() for result in results.values()]
    rows = [
        [pictures.enlarged(images.to_image(x)), *(maps[i] for maps in drawn)]
        for i, x in enumerate(first.inputs)
    ]
    return pictures.sheet(rows, ["photograph", *(name.removeprefix("show/") for name in results)])
