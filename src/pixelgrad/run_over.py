"""A survey over a whole data set: shard by shard, each shard a part in the run's folder, and all put together.

Nothing that comes out depends on the engine, on how many workers there are or on the batch. Interrupted, it goes on
where it was.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

from . import images
from .classifier import Classifier
from .data import Data
from .datasets import open_data
from .engines.base import Engine, Job
from .engines.local import Local
from .engines.ray import Ray
from .errors import Cancelled, DataError, EngineError, ModelError, NotFound, SettingError
from .gradient import Progress, Step
from .labels import index_of
from .models.imagenet import labels
from .parts import Parts, identity, key_of, table
from .registry import sources
from .survey import Survey

SMALL, LARGE, MANY = 500, 10_000, 1_000  # pictures in a shard: a MANYth of all, but from SMALL to LARGE
FEW = 20  # instead of SMALL, where each takes long
ERRORS = "errors.csv"
Name = Literal["local", "ray"]


class Done(NamedTuple):
    """What a run over a data set came to: its folder, what was found, how many pictures there are, and how many of them
    could not be read (errors.csv names them)."""

    folder: Path
    found: tuple[str, ...]
    pictures: int
    unreadable: int


def run_over(
    survey: Survey,
    model: Classifier,
    data: Data | str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    engine: Name = "local",
    workers: int | None = None,
    address: str | None = None,
    batch: int = 64,
    progress: Progress | None = None,
) -> Done:
    """Do a survey over all pictures of a data set (see datasets.open_data), into the folder `out`.

    The same again goes on where an interrupted run was. workers: processes, each with a network of its own; locally 1,
    this one, is the default, and a script that asks for more needs the usual `if __name__ == "__main__":`. On a Ray
    cluster the default is all there is. address: of the cluster; without one Ray runs on this machine alone.
    """
    chosen = _engine(engine, workers, address)
    if batch < 1:
        raise SettingError(f"batch is at least 1; got {batch}")
    if model.preprocessing.size is None:
        raise ModelError(
            f"{model.name} takes pictures as they are; over a data set it needs one size for all: size="
        )
    if not isinstance(chosen, Local) or chosen.workers > 1:
        _can_be_loaded(model)
    data = open_data(data) if isinstance(data, (str, os.PathLike)) else data
    survey, folder, n = survey.prepare(model), Path(out), len(data)
    labels = tuple(places(data.classes or (), model))
    if survey.needs_labels and max(labels, default=-1) < 0:
        raise DataError(
            f"of no picture of {data.root} a class of {model.name} is known; {survey.name} needs folders by class, "
            "or a list with classes"
        )
    shard = min(max(FEW if survey.costly else SMALL, -(-n // MANY)), LARGE)
    about = identity(survey, model, data, shard)
    parts = Parts(folder, about, -(-n // shard))
    missing = parts.missing()
    if missing:
        job = Job(
            survey=survey,
            data=data,
            model=model.name,
            weights=model.weights,
            weights_hash=about["weights"],
            device=str(model.device),
            labels=labels,
            folder=folder,
            key=key_of(about),
            shard=shard,
            batch=batch,
        )
        watch = _Watch(survey, parts, n, shard, missing, progress)
        try:
            chosen.run(job, model, missing, watch)
        except EngineError as error:
            raise EngineError(f"{error}; {_how_far(parts)}") from error
        except (KeyboardInterrupt, Cancelled):
            warnings.warn(_how_far(parts), stacklevel=2)
            raise
        finally:
            parts.clean()
    whole, unreadable = parts.whole(survey.merge)
    if unreadable:
        images.write({folder / ERRORS: table(unreadable)})
    if len(unreadable) == n:
        raise DataError(f"none of the {n:,} pictures of {data.root} can be read: see {folder / ERRORS}")
    found = survey.finish(model, data, whole, folder, progress)
    return Done(folder, found, n, len(unreadable))


def _how_far(parts: Parts) -> str:
    done = parts.shards - len(parts.missing())
    return f"{done} of {parts.shards} parts are done, the same command goes on"


def places(classes: Sequence[str], model: Classifier) -> list[int]:
    """The network's class for each of a data set's: of the same name, number or WordNet id; −1 where it has none."""
    if model.labels is not None and tuple(classes) == model.labels:
        return list(range(len(classes)))
    found = [_place(name, model) for name in classes]
    strange = [name for name, place in zip(classes, found, strict=True) if place < 0]
    if strange:
        many = f"{len(strange):,} of the data's {len(classes):,} classes are" if classes else ""
        warnings.warn(f"{many} not among those of {model.name}, such as {strange[0]!r}", stacklevel=3)
    return found


def _place(name: str, model: Classifier) -> int:
    if model.labels == labels() and re.fullmatch(r"n\d{8}", name):
        return _wordnet().get(name, -1)
    for text in (name, name.partition(",")[0]):  # ImageNet's full names: tench, Tinca tinca
        try:
            return index_of(text, model.labels, model.name)
        except NotFound:
            continue
    return -1


@cache
def _wordnet() -> dict[str, int]:
    """ImageNet's classes by their WordNet ids."""
    from timm.data import ImageNetInfo

    return {name: i for i, name in enumerate(ImageNetInfo().label_names())}


def _engine(name: Name, workers: int | None, address: str | None) -> Engine:
    if workers is not None and workers < 1:
        raise SettingError(f"workers is at least 1; got {workers}")
    if name == "ray":
        return Ray(workers, address)
    if name != "local":
        raise NotFound("engine", name, ("local", "ray"), "there are local and ray")
    if address is not None:
        raise SettingError("an address is of a Ray cluster; say engine ray with it")
    return Local(workers or 1)


def _can_be_loaded(model: Classifier) -> None:
    if not any(model.name.startswith(s.prefix) and model.name in s.names() for s in sources()):
        raise SettingError(
            f"{model.name} is a network of your own, which other processes cannot load by its name; use workers=1"
        )


class _Watch:
    """Counts pictures for a progress callback, and puts parts together as they come."""

    def __init__(
        self,
        survey: Survey,
        parts: Parts,
        n: int,
        shard: int,
        missing: Sequence[int],
        progress: Progress | None,
    ) -> None:
        self.survey, self.parts, self.n, self.shard = survey, parts, n, shard
        self.progress = progress
        self.done = n - sum(map(self.size, missing))  # by whole parts
        self.more = 0  # in parts that are not whole yet
        self.pictures(0)

    def size(self, number: int) -> int:
        """How many pictures a part is of."""
        return min(self.shard, self.n - number * self.shard)

    def pictures(self, more: int) -> None:
        self.more += more
        if self.progress is not None:
            self.progress(Step(self.done + max(0, self.more), self.n))

    def part(self, number: int) -> None:
        self.parts.add(number, self.survey.merge)
        self.done += self.size(number)
        self.pictures(-min(self.more, self.size(number)))
