"""The folder of a run over a data set: what it is of, and the parts that are done.

    run.json                                     what the run is of: settings, network, data
    parts/part-000012.safetensors                what shard 12 gave
    parts/part-000000-000015.safetensors         shards 0 to 15 merged, instead of theirs
    errors.csv                                   pictures that could not be read, and why

A part is written whole or not at all, and carries the run's key and a checksum: one that is damaged, or of another run,
is done again. FOLD parts that follow each other are merged as soon as they are there, and so on, so that there are few
files however many shards there are.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from . import images
from .batches import Unreadable
from .classifier import Classifier
from .data import Data
from .errors import OutputError, SettingError
from .objectives.base import Objective
from .survey import Survey, Tensors

FORMAT = 1  # of the folder; another one where an older folder cannot be gone on with
FOLD = 16
ERRORS = "pixelgrad/unreadable"  # the tensor that holds them, as JSON in UTF-8
NAME = re.compile(r"part-(\d{6,})(?:-(\d{6,}))?\.safetensors")

Merge = Callable[[Iterable[Tensors]], Tensors]


class Span(NamedTuple):
    """Consecutive shards that one file is of."""

    first: int
    last: int

    @property
    def file(self) -> str:
        """Its name."""
        last = "" if self.last == self.first else f"-{self.last:06}"
        return f"part-{self.first:06}{last}.safetensors"


def identity(survey: Survey, model: Classifier, data: Data, shard: int) -> dict[str, Any]:
    """What tells runs apart: none of it may differ between parts that are merged."""
    return {
        "format": FORMAT,
        "survey": survey.name,
        "settings": {s.name: plain(getattr(survey, s.name)) for s in survey.settings()},
        "model": model.name,
        "weights": weights_of(model),
        "input": f"{model.preprocessing} mean {model.mean} std {model.std}",
        "data": data.fingerprint(),
        "pictures": len(data),
        "shard": shard,
    }


def plain(value: Any) -> Any:
    """The value of a setting as JSON has it."""
    if isinstance(value, tuple):
        return [plain(v) for v in value]
    return repr(value) if isinstance(value, Objective) else value


def weights_of(model: Classifier) -> str:
    """A short text that differs where the network's numbers do."""
    return _digest(model.module.state_dict())[:16]


class Parts:
    """The parts of a run. Made by whoever leads it; workers only `write`."""

    def __init__(self, folder: Path, about: dict[str, Any], shards: int) -> None:
        self.folder, self.shards, self.key = folder, shards, key_of(about)
        _claim(folder, about)
        self.clean()
        self.done: set[Span] = set()
        # the longest first: what they hold is not needed a second time
        for span in sorted(self._listed(), key=lambda s: (s.first - s.last, s.first)):
            whole = not any(s.first <= span.first and span.last <= s.last for s in self.done)
            if whole and span.last < shards and read(folder, self.key, span) is not None:
                self.done.add(span)
            else:
                _path(folder, span).unlink()

    def missing(self) -> list[int]:
        """The shards that are still to be done."""
        there = {number for span in self.done for number in range(span.first, span.last + 1)}
        return [number for number in range(self.shards) if number not in there]

    def add(self, number: int, merge: Merge) -> None:
        """A worker has written this part: merge it with those beside it where they are complete. Raises OutputError
        where the part is not there."""
        if read(self.folder, self.key, Span(number, number)) is None:
            raise OutputError(
                f"part {number} was done, but is not in {self.folder}: is the folder on storage that all share?"
            )
        self.done.add(Span(number, number))
        size = 1
        while True:
            first = number // (size * FOLD) * (size * FOLD)
            few = [Span(first + i * size, first + (i + 1) * size - 1) for i in range(FOLD)]
            if not self.done.issuperset(few):
                return
            size *= FOLD
            one = Span(first, first + size - 1)
            unreadable: list[Unreadable] = []
            write(self.folder, self.key, one, merge(self._each(few, unreadable)), unreadable)
            self.done = self.done.difference(few) | {one}
            for span in few:
                _path(self.folder, span).unlink()

    def whole(self, merge: Merge) -> tuple[Tensors, list[Unreadable]]:
        """All parts as one, with one of them in memory at a time; and what could not be read."""
        unreadable: list[Unreadable] = []
        return merge(self._each(sorted(self.done), unreadable)), sorted(unreadable)

    def clean(self) -> None:
        """Remove what a killed writer may have left."""
        for folder in (self.folder, self.folder / "parts"):
            for path in folder.glob(f"{images.TEMPORARY}*"):
                path.unlink(missing_ok=True)

    def _listed(self) -> Iterator[Span]:
        for path in (self.folder / "parts").iterdir():
            if found := NAME.fullmatch(path.name):
                yield Span(int(found[1]), int(found[2] or found[1]))

    def _each(self, spans: Sequence[Span], unreadable: list[Unreadable]) -> Iterator[Tensors]:
        for span in spans:
            found = read(self.folder, self.key, span)
            if found is None:
                raise OutputError(
                    f"{_path(self.folder, span)} is gone or was changed; the same command does it again"
                )
            unreadable += found[1]
            yield found[0]


def key_of(about: dict[str, Any]) -> str:
    """What parts of one run have in common."""
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]


def write(folder: Path, key: str, span: Span, tensors: Tensors, unreadable: Sequence[Unreadable]) -> None:
    """Write a part, atomically. Raises OutputError: no space, no permission."""
    words = torch.frombuffer(bytearray(json.dumps(unreadable).encode()), dtype=torch.uint8)
    held = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()} | {ERRORS: words}
    images.write({_path(folder, span): save(held, {"run": key, "sha256": _digest(held)})})


def read(folder: Path, key: str, span: Span) -> tuple[Tensors, list[Unreadable]] | None:
    """What a part holds; None where it is not there, damaged, or of another run."""
    try:
        with safe_open(_path(folder, span), "pt") as file:
            about = file.metadata() or {}
            held = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    except (OSError, SafetensorError):
        return None
    if about.get("run") != key or about.get("sha256") != _digest(held):
        return None
    words = bytes(held.pop(ERRORS).tolist())
    return held, [Unreadable(*row) for row in json.loads(words)]


def table(unreadable: Sequence[Unreadable]) -> bytes:
    """errors.csv: name and reason of each picture that could not be read."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("name", "reason"))
    rows.writerows((u.name, u.reason) for u in unreadable)
    return text.getvalue().encode("utf-8", "surrogateescape")


def _claim(folder: Path, about: dict[str, Any]) -> None:
    """Make the folder of a run, or see that it is this run's."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "run.json"
        if not file.exists() and any(not path.name.startswith(".") for path in folder.iterdir()):
            raise OutputError(f"{folder} holds other files; give a new folder, or an empty one")
        if not file.exists():
            images.write({file: json.dumps(about, indent=2).encode()})
        (folder / "parts").mkdir(exist_ok=True)
        found = json.loads(file.read_bytes())
    except ValueError as error:
        raise SettingError(f"{file} is damaged; delete {folder} to start again") from error
    except (FileExistsError, NotADirectoryError) as error:
        raise OutputError(f"{folder} is no folder") from error
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"{folder} cannot be written: {(error.strerror or str(error)).lower()}") from error
    if found != about:
        raise SettingError(
            f"{folder} is of another run: {difference(found, about)}; give another folder, or delete it"
        )


def difference(old: Any, new: dict[str, Any]) -> str:
    """Which of the things that tell runs apart is another one, in words."""
    if not isinstance(old, dict) or old.get("format") != FORMAT or not isinstance(old.get("settings"), dict):
        return "it was made by another version of pixelgrad"
    was, now = old["settings"], new["settings"]
    flat_was = {**{k: v for k, v in old.items() if k != "settings"}, **was}
    flat_now = {**{k: v for k, v in new.items() if k != "settings"}, **now}
    order = ("survey", *now, "model", "pictures", *flat_now)
    name = next(k for k in order if flat_was.get(k) != flat_now.get(k))
    if name == "data":
        return "its data were others, or have changed since"
    if name == "weights":
        return "its network had other weights"
    if name == "input":
        return "its pictures were prepared in another way"
    if name == "pictures":
        return f"its data had {flat_was.get(name)} pictures, not {flat_now[name]}"
    return f"its {name} is {_short(flat_was.get(name))}, not {_short(flat_now[name])}"


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _path(folder: Path, span: Span) -> Path:
    return folder / "parts" / span.file


def _digest(tensors: dict[str, Tensor]) -> str:
    """Of names, kinds, shapes and every bit."""
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        if tensor.numel():
            found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()
