"""A task done: the library's own recipe is run, and its result kept with all that the page shows of it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from .. import images, recipe
from ..classifier import Classifier
from ..errors import Cancelled, PixelgradError
from ..gradient import Step
from ..objectives.of_class import OfClass, Target, indices
from ..result import Result
from ..technique import Technique
from ..trust import Card, trust
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
from .watch import Watch, jpeg


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
        "cut": job.cut,
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
    except Cancelled:
        raise
    except PixelgradError as error:
        raise Wrong(error, blamed(error, [s.name for s in technique.settings()])) from error
    with suppress(Cancelled):  # what there is by now is kept
        job.between(Step(job.total, job.total))
    frames, steps = [data for _, data in watch.frames], [step for step, _ in watch.frames]
    if len(result.frames) > 1:  # a film of its own, of pictures that are not evenly apart
        frames, steps = [jpeg(frame.float() / 255) for frame in result.frames], []
    paths = [p.name for p in task.pictures]
    weights = result.weights
    shown = panels(result, paths)
    file = recipe.default_name(technique.name, paths)
    files = {f"frame-{i}.jpg": data for i, data in enumerate(frames)}
    files |= panel_files(shown) | saved(result, file)
    about = {
        "technique": technique.name,
        "settings": plain(task.named),
        "titles": list(result.titles),
        "report": plain(result.report),
        "command": words.command(technique.name, task.named, paths, task.model, weights),
        "python": words.python({technique.name: task.named}, paths, task.model, weights, technique.own_size),
        "frames": len(frames),
        "steps": steps,
        "class": job.of,
        "curve": job.curve,
        "trust": _trusted(job, technique, result, model, paths) if task.trust else [],
        "panels": described(shown),
        "files": downloads(file, files),
    }
    return about, files


def _trusted(
    job: Job, technique: Technique, result: Result, model: Classifier, names: Sequence[str]
) -> list[dict[str, Any]]:
    """The trust card of each picture's map; none where others have waited for too long."""
    cards: Sequence[Card] = ()
    with suppress(Cancelled):
        cards = trust(technique, model, result.inputs, job.between)
    return [
        {
            "picture": name,
            "title": card.title,
            "figures": plain(
                [
                    {"name": r.name, "value": r.map, "baseline": r.edges, "random": r.random, "words": r.good}
                    for r in card.rows
                ]
            ),
            "words": card.sentence,
        }
        for name, card in zip(names, cards, strict=False)
    ]


def _aim(technique: Technique, task: Task, model: Classifier) -> int | None:
    """The class that a technique follows, or is led away from: the one asked for, or else the one that the network sees
    in the picture. None where it follows another score."""
    objective = getattr(technique, "objective", None)
    of_class = hasattr(technique, "target") if objective is None else isinstance(objective, OfClass)
    if not follows(technique.name) or not of_class:
        return None
    asked: Target = getattr(technique if objective is None else objective, "target", None)
    target = indices(asked, model)
    if isinstance(target, tuple):
        target = target[0]
    if target is None and task.pictures:
        target = model.top(images.open_image(task.pictures[0].path, model), 1)[0][0].index
    return target if isinstance(target, int) else None
