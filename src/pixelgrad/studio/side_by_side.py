"""Several methods on one sheet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .. import comparison, images
from ..classifier import Classifier
from ..errors import Cancelled, PixelgradError
from ..gradient import Progress
from ..heatmaps import OWN
from ..result import Result
from . import words
from .job import Job
from .kept import described, panel_files, plain
from .panels import Panel, panels
from .run import made_by
from .tasks import Task, Wrong


def compared(job: Job, task: Task, model: Classifier) -> tuple[dict[str, Any], dict[str, bytes]]:
    """A sheet of several methods; those that do not suit the network are left out, and it is said why."""
    methods = {technique.name.removeprefix("show/"): technique for technique in task.techniques}
    left: dict[str, str] = {}

    def one(name: str, progress: Progress) -> Result:
        return made_by(methods[name], methods[name].values(), task, model, progress)

    try:
        results = comparison.compare(list(methods), one, job.between, left)
    except Cancelled:
        raise
    except PixelgradError as error:
        raise Wrong(error, "compare") from error
    paths = [p.name for p in task.pictures]
    found: list[Panel] = []
    for k, result in enumerate(results.values()):
        name = result.technique.name
        of = [replace(p, title=name) if p.name == "map" else p for p in panels(result, paths)]
        found += [p for p in of if p.name == "map" or (k == 0 and p.name == "original")]
    first = next(iter(results.values()))
    target = task.techniques[0].values().get("target")
    picture = images.encode(comparison.sheet(paths, results, OWN), "picture.png")
    left = {methods[name].name: words.public(PixelgradError(reason)) for name, reason in left.items()}
    made = {result.technique.name: result for result in results.values()}
    about = {
        "technique": None,
        "compare": list(made),
        "settings": {} if target is None else {"target": plain(target)},
        "titles": list(first.titles),
        "report": {"left_out": left, **{name: plain(r.report) for name, r in made.items()}},
        "command": words.compared(list(results), target, paths, task.model, first.weights),
        "python": words.python(
            {name: result.technique.values() for name, result in made.items()},
            paths,
            task.model,
            first.weights,
            False,
        ),
        "frames": 0,
        "steps": [],
        "class": None,
        "curve": [],
        "trust": [],
        "panels": described(found),
        "files": [{"name": "compare.png", "url": "picture.png"}],
    }
    return about, {**panel_files(found), "picture.png": picture}
