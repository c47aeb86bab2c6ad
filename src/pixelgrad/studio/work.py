"""A task done: the library's own recipe is run, and its result kept with all that the page shows of it."""

from __future__ import annotations

from typing import Any

from .. import images, recipe
from ..classifier import Classifier
from ..errors import PixelgradError
from ..gradient import Step
from ..objectives.of_class import indices
from ..result import Result
from ..technique import Technique
from ..trust import trust
from . import words
from .describe import follows
from .job import Job
from .kept import described, downloads, panel_files, plain, saved
from .networks import Networks
from .panels import panels
from .run import made_by
from .side_by_side import compared
from .store import Store, new_id
from .tasks import Task, Wrong, blamed
from .watch import Watch


def perform(job: Job, task: Task, networks: Networks, store: Store) -> str:
    """Do it, and keep the result; its id."""
    model = networks.get(task.model)
    job.between(Step(0, 0))
    made = new_id()
    if task.compare:
        about, files = compared(job, task, model)
    else:
        about, files = _single(job, task, model)
    at = f"/api/results/{made}"
    about |= {
        "id": made,
        "model": task.model,
        "pictures": [{"name": p.name, "url": f"/api/pictures/{p.id}.png"} for p in task.pictures],
    }
    for kind in ("panels", "files"):
        for entry in about[kind]:
            entry |= {k: f"{at}/{entry[k]}" for k in ("url", "values") if entry.get(k)}
    store.add("results", made, about, files)
    return made


def _single(job: Job, task: Task, model: Classifier) -> tuple[dict[str, Any], dict[str, bytes]]:
    technique = task.techniques[0]
    watch = Watch(job, model, _aim(technique, task, model))
    try:
        result = made_by(technique, task.settings, task, model, watch)
    except PixelgradError as error:
        raise Wrong(error, blamed(error, [s.name for s in technique.settings()])) from error
    job.between(Step(job.total, job.total))
    paths = [p.name for p in task.pictures]
    weights = result.weights
    shown = panels(result, paths)
    file = recipe.default_name(technique.name, paths)
    files = {f"frame-{i}.jpg": jpeg for i, (_, jpeg) in enumerate(watch.frames)}
    files |= panel_files(shown) | saved(result, file)
    about = {
        "technique": technique.name,
        "settings": plain(task.named),
        "titles": list(result.titles),
        "report": plain(result.report),
        "command": words.command(technique.name, task.named, paths, task.model, weights),
        "python": words.python({technique.name: task.named}, paths, task.model, weights, technique.own_size),
        "frames": len(watch.frames),
        "steps": [step for step, _ in watch.frames],
        "curve": job.curve,
        "trust": _trusted(job, technique, result, model) if task.trust else None,
        "panels": described(shown),
        "files": downloads(file, files),
    }
    return about, files


def _trusted(job: Job, technique: Technique, result: Result, model: Classifier) -> dict[str, Any]:
    """The trust card of the first picture's map."""
    assert result.inputs is not None
    card = trust(technique, model, result.inputs[:1], job.between)[0]
    rows = [
        {"name": row.name, "value": row.map, "baseline": row.edges, "random": row.random, "words": row.good}
        for row in card.rows
    ]
    return {"title": card.title, "figures": plain(rows), "words": card.sentence}


def _aim(technique: Technique, task: Task, model: Classifier) -> int | None:
    """The class whose probability is drawn while a gradient is followed: the one asked for, or else the one that the
    network sees in the picture."""
    if not follows(technique.name):
        return None
    target = indices(getattr(technique, "target", None), model)
    if isinstance(target, tuple):
        target = target[0]
    if target is None and task.pictures:
        target = model.top(images.open_image(task.pictures[0].path, model), 1)[0][0].index
    return target if isinstance(target, int) else None
