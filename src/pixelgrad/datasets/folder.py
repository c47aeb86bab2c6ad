"""A folder of pictures, with the folders in it. Where all pictures lie in several folders, those are the classes.

    photos/a.jpg, photos/2020/b.png            no classes
    data/cat/1.jpg, data/dog/images/2.jpg      classes cat and dog

Hidden files and folders and files of other kinds are passed over; a link to a folder is followed, each folder once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..data import ENDINGS, Files, is_picture
from ..errors import DataError
from ..registry import dataset


@dataset(last=True)
def folder(path: Path) -> Files | None:
    """A folder of pictures; folders in it are the classes where all pictures lie in them"""
    if not path.is_dir():
        return None
    names, others = [], 0
    for name in _walk(path):
        if is_picture(os.path.basename(name)):
            names.append(name)
        else:
            others += 1
    if not names:
        what = f"none of its {others:,} files ends in {', '.join(ENDINGS)}" if others else "it is empty"
        raise DataError(f"{path} holds no pictures: {what}")
    tops = {name.partition("/")[0] if "/" in name else "" for name in names}
    if "" in tops or len(tops) == 1:
        return Files(path, names)
    classes = sorted(tops, key=os.fsencode)
    places = {name: i for i, name in enumerate(classes)}
    return Files(path, names, {name: places[name.partition("/")[0]] for name in names}, classes)


def _walk(root: Path) -> Iterator[str]:
    """Every file below a folder, relative to it, with / between the names."""
    seen: set[tuple[int, int]] = set()
    todo = [""]
    while todo:
        inside = todo.pop()
        here = os.path.join(root, inside)
        try:
            about = os.stat(here)
            if (about.st_dev, about.st_ino) in seen:  # a link back, or a second one to the same
                continue
            seen.add((about.st_dev, about.st_ino))
            with os.scandir(here) as found:
                entries = sorted(found, key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            raise DataError(f"{here} cannot be read: {(error.strerror or str(error)).lower()}") from error
        folders = []
        for entry in entries:
            if entry.name.startswith("."):
                continue
            name = f"{inside}/{entry.name}" if inside else entry.name
            if entry.is_dir():
                folders.append(name)
            else:
                yield name
        todo += reversed(folders)
