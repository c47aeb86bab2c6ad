"""A data set on disk: pictures in a fixed order, read one after the other from any place on."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from PIL import Image

from . import images
from .errors import DataError, ImageError

ENDINGS = ("jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "gif")  # of files that are taken for pictures


class Sample(NamedTuple):
    """A picture of a data set: its place in it, what it is called there, the place of its class among the data set's
    classes (None where it says none), and the picture, or why it cannot be read."""

    id: int
    name: str
    label: int | None
    image: Image.Image | str


class Data(Protocol):
    """Pictures by their places 0, 1, …: the order is that of the names or of the files, whatever machine looks."""

    root: str
    classes: tuple[str, ...] | None  # names of the classes, where it has any

    def __len__(self) -> int: ...

    def fingerprint(self) -> str:
        """Another one where the pictures, their order or their classes are others; made from the listing alone."""
        ...

    def read(self, start: int, stop: int) -> Iterator[Sample]:
        """The pictures from one place up to another; one that cannot be read comes with the reason. Several threads
        may read at the same time."""
        ...


class Files:
    """Pictures that are files, by their paths relative to a folder, in the order of the paths' bytes."""

    def __init__(
        self,
        root: Path,
        names: Iterable[str],
        labels: dict[str, int] | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        self.root = str(root)
        self.classes = None if classes is None else tuple(classes)
        self.names = sorted(names, key=os.fsencode)
        self.labels = None if labels is None else [labels.get(name) for name in self.names]
        if not self.names:
            raise DataError(
                f"{self.root} holds no pictures; files that end in {', '.join(ENDINGS)} are taken"
            )

    def __len__(self) -> int:
        return len(self.names)

    def fingerprint(self) -> str:
        """From names, sizes and classes."""
        return fingerprint(
            [self.classes, *zip(self.names, map(self._size, self.names), strict=True)], self.labels
        )

    def read(self, start: int, stop: int) -> Iterator[Sample]:
        """The pictures, decoded one by one."""
        for i in range(start, min(stop, len(self))):
            label = None if self.labels is None else self.labels[i]
            yield Sample(i, self.names[i], label, picture(os.path.join(self.root, self.names[i])))

    def _size(self, name: str) -> int:
        try:
            return os.stat(os.path.join(self.root, name)).st_size
        except OSError:
            return -1


def is_picture(name: str) -> bool:
    """Whether a file is taken for a picture, by its ending; hidden ones are not."""
    stem, _, ending = name.rpartition(".")
    return bool(stem) and not name.startswith(".") and ending.lower() in ENDINGS


def picture(path: str, data: bytes | None = None) -> Image.Image | str:
    """The picture of a file, or of bytes that lie inside another one; or why it cannot be read, in one line."""
    try:
        return images.read(path, data)
    except ImageError as error:
        reason = str(error).removeprefix(path).lstrip(" :")
    except Exception as error:  # a damaged file makes Pillow raise all sorts of things
        reason = f"is damaged: {error}"
    return " ".join(reason.split()) or "cannot be read"


def paths_of(path: Path, ending: str) -> tuple[str, list[str]] | None:
    """A folder, and the names in it of the files that a path means: one with that ending, a folder that holds such
    and no pictures, or a pattern (`a-{00..17}.tar`, `{a,b}-*.tar`). None where none is meant."""
    if path.is_dir():
        names = [name for name in os.listdir(path) if name.endswith(ending) and not name.startswith(".")]
        if not names or any(is_picture(name) for name in os.listdir(path)):
            return None
        return str(path), sorted(names, key=os.fsencode)
    if path.suffix != ending:
        return None
    if path.is_file():
        return str(path.parent), [path.name]
    found: list[str] = []
    for one in _braces(str(path)):
        here = sorted(glob.glob(one), key=os.fsencode) if glob.has_magic(one) else [one]
        if not here or not os.path.isfile(here[0]):
            raise DataError(f"no such file: {one}" if here else f"no file is like {one}")
        found += here
    root = os.path.commonpath([os.path.dirname(os.path.abspath(file)) for file in found])
    return root, list(dict.fromkeys(os.path.relpath(file, root) for file in found))


def _braces(pattern: str) -> Iterator[str]:
    """The texts that a pattern with {00..17} or {a,b} in it stands for."""
    found = re.search(r"\{([^{}]*)\}", pattern)
    if found is None:
        yield pattern
        return
    ends = re.fullmatch(r"(\d+)\.\.(\d+)", found[1])
    if ends:
        inside = [str(i).zfill(len(ends[1])) for i in range(int(ends[1]), int(ends[2]) + 1)]
    else:
        inside = found[1].split(",")
    for text in inside:
        yield from _braces(pattern[: found.start()] + text + pattern[found.end() :])


def within(starts: Sequence[int], start: int, stop: int) -> Iterator[tuple[int, range]]:
    """The parts of a sequence that is cut at `starts` (its end is the last) which lie from one place up to another: the
    number of the part, and the places counted from its own start."""
    stop = min(stop, starts[-1])
    while start < stop:
        part = bisect_right(starts, start) - 1
        end = min(stop, starts[part + 1])
        yield part, range(start - starts[part], end - starts[part])
        start = end


def sorted_classes(names: Iterable[str]) -> tuple[str, ...]:
    """Each name once: numbers by their value, then the others."""
    return tuple(sorted(set(names), key=lambda n: (0, int(n), n) if n.isdecimal() else (1, 0, n)))


def fingerprint(*facts: object) -> str:
    """A short text that differs where the facts differ."""
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
