"""Parquet files with the bytes of pictures, as Hugging Face's `datasets` writes them.

    image   bytes, or {bytes, path}       else the first column of that kind
    label   a number as the network counts, or a name; Hugging Face's notes name the numbers

A row group is read at once, so small ones (some hundreds of pictures) go best.
"""

from __future__ import annotations

import functools
import json
import os
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

from ..data import Sample, fingerprint, paths_of, picture, sorted_classes, within
from ..errors import DataError
from ..registry import dataset

LABEL = "label"
_one_at_a_time = threading.Lock()


class Group(NamedTuple):
    """A row group: its file, its number there, the row of the file that it starts with, how many rows it has. With
    number −1: a file that cannot be read, as one row."""

    file: str
    number: int
    first: int
    rows: int
    problem: str = ""


class Parquet:
    """The rows of Parquet files, file by file."""

    def __init__(self, root: str, files: list[str]) -> None:
        self.root, self.files = root, files
        self.groups = [group for file in files for group in _groups(root, file)]
        self.starts = [0, *accumulate(group.rows for group in self.groups)]
        readable = [group.file for group in self.groups if not group.problem]
        if not readable:
            what = f"{self.groups[0].file} {self.groups[0].problem}" if self.groups else "no rows"
            raise DataError(f"{root} holds no pictures: {what}")
        path = os.path.join(root, readable[0])
        self.columns, names = _columns(path)
        self.named = names is not None
        if names is None and len(self.columns) == 2:
            names = _values(self.columns[1], [os.path.join(root, file) for file in dict.fromkeys(readable)])
        self.classes = names

    def __len__(self) -> int:
        return self.starts[-1]

    def fingerprint(self) -> str:
        """From the names, sizes and row counts of the files, and the classes."""
        sizes = [os.path.getsize(os.path.join(self.root, file)) for file in self.files]
        return fingerprint(self.files, sizes, self.starts, self.classes)

    def read(self, start: int, stop: int) -> Iterator[Sample]:
        """The pictures, decoded one by one."""
        place = {name: i for i, name in enumerate(self.classes or ())}
        for g, rows in within(self.starts, start, stop):
            group, problem = self.groups[g], self.groups[g].problem
            try:
                table = (
                    None
                    if problem
                    else _rows(os.path.join(self.root, group.file), group.number, self.columns)
                )
            except (OSError, ValueError, KeyError) as error:
                table, problem = None, f"cannot be read: {_line(error)}"
            for row in rows:
                i, name = self.starts[g] + row, f"{group.file}/{group.first + row}"
                if table is None:
                    yield Sample(i, group.file if group.problem else name, None, problem)
                    continue
                data, *said = (column[row].as_py() for column in table.columns)
                data = data["bytes"] if isinstance(data, dict) else data
                label = said[0] if said else None
                if not self.named:
                    label = place.get(str(label))
                elif not isinstance(label, int) or not 0 <= label < len(place):
                    label = None
                yield Sample(i, name, label, "has no bytes" if data is None else picture(name, data))


@dataset()
def parquet(path: Path) -> Parquet | None:
    """Parquet files with pictures as bytes: a .parquet, a folder of such, or a pattern"""
    found = paths_of(path, ".parquet")
    if found is None:
        return None
    if find_spec("pyarrow") is None:
        raise DataError(f"{path}: Parquet needs the scale extra: pip install 'pixelgrad[scale]'")
    return Parquet(*found)


def _groups(root: str, file: str) -> list[Group]:
    """The row groups of a file, from its end."""
    from pyarrow import parquet as pq

    try:
        about = pq.read_metadata(os.path.join(root, file))
    except (OSError, ValueError) as error:
        return [Group(file, -1, 0, 1, f"cannot be read as Parquet: {_line(error)}")]
    sizes = [about.row_group(g).num_rows for g in range(about.num_row_groups)]
    firsts = accumulate(sizes, initial=0)
    return [Group(file, g, first, rows) for g, (first, rows) in enumerate(zip(firsts, sizes, strict=False))]


def _columns(path: str) -> tuple[tuple[str, ...], tuple[str, ...] | None]:
    """The names of the columns with picture and class, and the classes' names where Hugging Face noted them."""
    import pyarrow as pa
    from pyarrow import parquet as pq

    schema = pq.read_schema(path)
    pictures = [f.name for f in schema if _holds_bytes(pa, f.type)]
    if not pictures:
        raise DataError(f"{path} has no column of pictures' bytes; it has {', '.join(schema.names)}")
    image = "image" if "image" in pictures else pictures[0]
    if LABEL not in schema.names:
        return (image,), None
    try:
        noted = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"][LABEL]["names"]
        names = tuple(noted.values() if isinstance(noted, dict) else noted)
    except (KeyError, ValueError, TypeError):
        return (image, LABEL), None
    return (image, LABEL), tuple(map(str, names))


def _holds_bytes(pa: Any, kind: Any) -> bool:
    if pa.types.is_struct(kind):
        return bool(kind.get_field_index("bytes") >= 0)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _values(column: str, paths: list[str]) -> tuple[str, ...]:
    """The classes that a column says, in the order of numbers and names."""
    from pyarrow import parquet as pq

    found: set[str] = set()
    for path in paths:
        for batch in pq.ParquetFile(path).iter_batches(columns=[column]):
            found |= {str(value) for value in batch.column(0).unique().to_pylist() if value is not None}
    return sorted_classes(found)


def _rows(path: str, group: int, columns: tuple[str, ...]) -> Any:
    """The table of a row group. Threads that ask for the same one wait for the first and share it."""
    with _one_at_a_time:
        return _read(path, group, columns)


@functools.lru_cache(maxsize=2)
def _read(path: str, group: int, columns: tuple[str, ...]) -> Any:
    from pyarrow import parquet as pq

    with pq.ParquetFile(path) as file:
        return file.read_row_group(group, columns=list(columns))


def _line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
