"""A list of pictures: a .txt or .csv with a path per line, relative to the list's folder, and its class if it says one.

    cat/1.jpg                  .txt: the class after a tab or a comma
    cat/1.jpg,tabby            .csv: quoted as usual; a first line `path,label` is a heading

Empty lines and those that begin with # are passed over. A class is a name, or a number as the network counts.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path

from ..data import Files, is_picture, sorted_classes
from ..errors import DataError
from ..registry import dataset

HEADINGS = ("path", "file", "filename", "image")


@dataset()
def list_file(path: Path) -> Files | None:
    """A .txt or .csv with a path per line, and its class after a comma or a tab"""
    if path.suffix.lower() not in (".txt", ".csv") or not path.is_file():
        return None
    try:
        text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from error
    if "\0" in text:
        raise DataError(f"{path} is no list of pictures: it holds no text")
    lines: dict[str, int] = {}
    classes: dict[str, str] = {}
    for number, row in enumerate(_rows(path, text), 1):
        if not row or not row[0] or row[0].startswith("#"):
            continue
        name = os.path.normpath(row[0])
        if number == 1 and path.suffix.lower() == ".csv" and row[0].lower() in HEADINGS:
            continue
        if len(row) > 2:
            raise DataError(
                f"{path}, line {number}: {len(row)} columns; there are a path and at most a class"
            )
        if name in lines:
            raise DataError(f"{path}, line {number}: {name} is there already, in line {lines[name]}")
        lines[name] = number
        if len(row) == 2 and row[1]:
            classes[name] = row[1]
    if not lines:
        raise DataError(f"{path} lists no pictures")
    if not any(os.path.exists(os.path.join(path.parent, name)) for name in lines):
        first = next(iter(lines))
        raise DataError(f"{path} lists no picture that is there; {first} is looked for in {path.parent}")
    if not classes:
        return Files(path.parent, lines)
    known = sorted_classes(classes.values())
    place = {label: i for i, label in enumerate(known)}
    return Files(path.parent, lines, {name: place[label] for name, label in classes.items()}, known)


def _rows(path: Path, text: str) -> list[list[str]]:
    if path.suffix.lower() == ".csv":
        rows = csv.reader(text.splitlines(), skipinitialspace=True)
        try:
            return [[cell.strip() for cell in row] for row in rows]
        except csv.Error as error:
            raise DataError(f"{path}, line {rows.line_num}: {error}") from error
    return [_split(line) for line in text.splitlines()]


def _split(line: str) -> list[str]:
    """A path and a class; after a comma there is no class that looks like a file."""
    name, tab, label = line.partition("\t")
    if not tab:
        name, comma, label = line.rpartition(",")
        if not comma or is_picture(label.strip()):  # the comma is in the name
            name, label = line, ""
    return [name.strip(), label.strip()]
