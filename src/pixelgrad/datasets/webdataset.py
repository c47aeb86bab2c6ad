"""WebDataset: pictures in tar files, each with files of the same key beside it (github.com/webdataset/webdataset).

    train-0000.tar     n01/17.jpg  n01/17.cls        key n01/17: the name up to the first dot
                       n01/18.jpg  n01/18.json

Members of one key that follow each other are one picture, of several the first. Its class is what .cls says, or in
.json `cls`, `class` or `label`, or .txt where that is a number (else it is a caption): a name, or a number as the
network counts. Tars are read by position and so not compressed. Of one that is cut off all that is whole counts.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO, NamedTuple

from PIL import Image

from ..data import Sample, fingerprint, is_picture, paths_of, picture, sorted_classes, within
from ..errors import DataError
from ..images import MAX_BYTES
from ..registry import dataset

CLASS_IN = ("cls", "json", "txt")
SMALL = 2**16  # bytes of a member that says a class


class Member(NamedTuple):
    """A picture in a tar: its name, where its bytes are, its class; with no bytes, why nothing can be read there."""

    name: str
    start: int
    size: int
    label: str
    problem: str = ""


class Tars:
    """The pictures of tar files, file by file, in the order that they have there."""

    def __init__(self, root: str, files: list[str]) -> None:
        self.root, self.files = root, files
        with ThreadPoolExecutor() as pool:
            self.members = list(pool.map(lambda file: _index(os.path.join(root, file)), files))
        self.starts = [0, *accumulate(map(len, self.members))]
        found = [m for members in self.members for m in members]
        if all(m.problem for m in found):
            what = f"{files[0]} {found[0].problem}" if found else "no member ends as one"
            raise DataError(f"{root} holds no pictures: {what}")
        self.classes = sorted_classes(m.label for m in found if m.label) or None

    def __len__(self) -> int:
        return self.starts[-1]

    def fingerprint(self) -> str:
        """From the names, sizes and numbers of pictures of the tars, and the classes."""
        sizes = [os.path.getsize(os.path.join(self.root, file)) for file in self.files]
        return fingerprint(self.files, sizes, self.starts, self.classes)

    def read(self, start: int, stop: int) -> Iterator[Sample]:
        """The pictures, decoded one by one."""
        place = {name: i for i, name in enumerate(self.classes or ())}
        for number, rows in within(self.starts, start, stop):
            path = os.path.join(self.root, self.files[number])
            with open(path, "rb") as file:
                for row in rows:
                    member = self.members[number][row]
                    name = f"{self.files[number]}/{member.name}".rstrip("/")
                    label = place.get(member.label)
                    yield Sample(self.starts[number] + row, name, label, _picture(file, name, member))


@dataset()
def webdataset(path: Path) -> Tars | None:
    """WebDataset: a .tar with pictures, a folder of such, or a pattern like train-{0000..0146}.tar"""
    found = paths_of(path, ".tar")
    return None if found is None else Tars(*found)


def _picture(file: BinaryIO, name: str, member: Member) -> Image.Image | str:
    if member.problem:
        return member.problem
    if member.size > MAX_BYTES:
        return f"has {member.size:,} bytes; at most {MAX_BYTES:,} are read"
    file.seek(member.start)
    return picture(name, file.read(member.size))


def _index(path: str) -> list[Member]:
    """The pictures of a tar, from its headers; and at the end what is wrong with it, if something is."""
    try:
        with open(path, "rb") as file:
            return _members(file)
    except OSError as error:
        return [Member("", 0, 0, "", f"cannot be read: {(error.strerror or str(error)).lower()}")]


def _members(file: BinaryIO) -> list[Member]:
    end = os.fstat(file.fileno()).st_size
    found: list[Member] = []
    problem, key, first = "", "", True
    endings, says = set[str](), dict[str, str]()  # of the members of that key so far
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            # one by one rather than all at once: what comes before the damage counts
            while (info := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # it would keep them all
                if info.offset_data + info.size > end:
                    problem = f"is cut off in {info.name}"
                    break
                folder, slash, base = info.name.rpartition("/")
                stem, _, ending = base.partition(".")
                kind = ending.rpartition(".")[2].lower()
                if not info.isreg() or not stem:
                    continue
                if folder + slash + stem != key or ending in endings:
                    key, endings, says = folder + slash + stem, set(), {}
                    first = True
                endings.add(ending)
                if is_picture(base):
                    if first:
                        found.append(Member(info.name, info.offset_data, info.size, ""))
                    first = False
                elif kind in CLASS_IN and info.size <= SMALL:
                    file.seek(info.offset_data)
                    says[kind] = _class(kind, file.read(info.size))
                if not first:
                    label = next((says[kind] for kind in CLASS_IN if says.get(kind)), "")
                    found[-1] = found[-1]._replace(label=label)
            if not problem:
                file.seek(tar.offset)
                if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                    problem = f"is cut off or damaged at byte {tar.offset:,}"
    except (tarfile.TarError, ValueError, OverflowError) as error:
        problem = f"is damaged: {error}" if found else f"is no tar, or a compressed one: {error}"
    return [*found, Member("", 0, 0, "", problem)] if problem else found


def _class(kind: str, data: bytes) -> str:
    """What a small member says of the class; nothing where it says none."""
    text = data.decode("utf-8", "replace").strip()
    if kind == "json":
        try:
            said = json.loads(text)
        except (ValueError, RecursionError):
            return ""
        said = (
            next((said[k] for k in ("cls", "class", "label") if k in said), "")
            if isinstance(said, dict)
            else ""
        )
        return str(said) if isinstance(said, (str, int)) and not isinstance(said, bool) else ""
    if kind == "txt" and not text.isdecimal():
        return ""
    return str(int(text)) if text.isdecimal() else text
