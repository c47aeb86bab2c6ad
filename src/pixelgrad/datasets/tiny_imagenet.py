"""TinyImageNet as published: 64x64 JPEGs in folders, each with a class and a box.

    wnids.txt                       one class (WordNet id) per line; the order is the labels' order
    words.txt                       wnid <tab> names, the first name before the comma
    train/<wnid>/images/*.JPEG      and train/<wnid>/<wnid>_boxes.txt: file, x0, y0, x1, y1
    val/images/*.JPEG               and val/val_annotations.txt: file, wnid, x0, y0, x1, y1

Boxes are in pixels, both corners inside. Only listings are read here; `load` decodes pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy
import torch
from PIL import Image
from torch import Tensor

from pixelgrad.data import Files
from pixelgrad.errors import DataError
from pixelgrad.registry import dataset

SIZE = 64


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture on disk; `label` counts in the order of the data set's `wnids`."""

    path: Path
    label: int
    box: tuple[int, int, int, int]


class TinyImageNet:
    """`TinyImageNet(folder).train()` is a list of pictures; so is `.val()`."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise DataError(f"no folder {str(self.root)!r}")
        if not (self.root / "wnids.txt").is_file():
            inside = sorted(p.parent.name for p in self.root.glob("*/wnids.txt"))
            hint = f"; did you mean its folder {inside[0]!r}?" if inside else ""
            raise DataError(f"{str(self.root)!r} is no TinyImageNet: it has no wnids.txt{hint}")
        self.wnids: tuple[str, ...] = tuple(_text(self.root / "wnids.txt").split())
        if not self.wnids or len(set(self.wnids)) < len(self.wnids):
            raise DataError(f"{str(self.root / 'wnids.txt')!r} is empty or names a class twice")
        words = dict(_rows(self.root / "words.txt", 2))
        for wnid in self.wnids:
            if wnid not in words:
                raise DataError(f"{str(self.root / 'words.txt')!r} has no name for {wnid!r}")
        self.names: tuple[str, ...] = tuple(words[w].split(",")[0].strip() for w in self.wnids)

    def subset(self, wnids: Sequence[str]) -> TinyImageNet:
        """The same folder with these classes only, labelled 0, 1, ... in the order given."""
        for wnid in wnids:
            if wnid not in self.wnids:
                raise DataError(f"{str(self.root)!r} has no class {wnid!r}")
        if not wnids or len(set(wnids)) < len(wnids):
            raise DataError("a subset needs at least one class, and each only once")
        part = object.__new__(TinyImageNet)
        part.root = self.root
        part.wnids = tuple(wnids)
        part.names = tuple(self.names[self.wnids.index(w)] for w in wnids)
        return part

    def train(self) -> list[Picture]:
        """All training pictures, class by class, as the boxes' files list them."""
        pictures = []
        for label, wnid in enumerate(self.wnids):
            folder = self.root / "train" / wnid
            rows = _rows(folder / f"{wnid}_boxes.txt", 5)
            _complete(folder / "images", (row[0] for row in rows))
            pictures += [_picture(folder / "images", r[0], label, r[1:]) for r in rows]
        return pictures

    def val(self) -> list[Picture]:
        """The validation pictures of these classes, as the annotations list them."""
        label = {wnid: i for i, wnid in enumerate(self.wnids)}
        folder = self.root / "val"
        rows = [r for r in _rows(folder / "val_annotations.txt", 6) if r[1] in label]
        for wnid in self.wnids:
            if all(row[1] != wnid for row in rows):
                raise DataError(f"{str(folder / 'val_annotations.txt')!r} has none of {wnid!r}")
        _complete(folder / "images", (row[0] for row in rows))
        return [_picture(folder / "images", r[0], label[r[1]], r[2:]) for r in rows]


@dataset()
def tiny_imagenet(path: Path) -> Files | None:
    """TinyImageNet: its folder `train` or `val`, with the names of its classes"""
    if (path / "wnids.txt").is_file() and (path / "val" / "val_annotations.txt").is_file():
        raise DataError(
            f"{path} is TinyImageNet; give one of its folders: {path / 'val'} or {path / 'train'}"
        )
    root = path.resolve().parent
    annotated = path.name == "val" and (path / "val_annotations.txt").is_file()
    if not (root / "wnids.txt").is_file() or not (annotated or path.name == "train"):
        return None
    data = TinyImageNet(root)
    pictures = data.val() if annotated else data.train()
    folder = root / path.name
    labels = {p.path.relative_to(folder).as_posix(): p.label for p in pictures}
    return Files(path, labels, labels, data.names)


def load(pictures: Sequence[Picture], progress: Callable[[int], object] | None = None) -> Tensor:
    """uint8 (n, 3, 64, 64). `progress(i)` is called after picture i; greyscale becomes RGB."""
    pixels = numpy.empty((len(pictures), SIZE, SIZE, 3), numpy.uint8)
    for i, picture in enumerate(pictures):
        try:
            with Image.open(picture.path) as image:
                rgb = numpy.asarray(image.convert("RGB"))
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(f"{str(picture.path)!r} cannot be decoded: {error}") from error
        if rgb.shape != (SIZE, SIZE, 3):
            height, width, _ = rgb.shape
            raise DataError(f"{str(picture.path)!r} is {width}x{height}, not {SIZE}x{SIZE}")
        pixels[i] = rgb
        if progress is not None:
            progress(i)
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(f"no file {str(path)!r}: the folder is incomplete") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{str(path)!r} cannot be read: {error}") from error


def _rows(path: Path, columns: int) -> list[list[str]]:
    """The tab-separated lines of a listing."""
    rows = []
    for number, line in enumerate(_text(path).splitlines(), 1):
        row = line.split("\t")
        if len(row) != columns:
            raise DataError(f"{str(path)!r}, line {number}: {len(row)} columns, not {columns}")
        rows.append(row)
    return rows


def _complete(folder: Path, names: Iterable[str]) -> None:
    """One look at the folder instead of one per picture: there are 50,000."""
    if not folder.is_dir():
        raise DataError(f"no folder {str(folder)!r}: the data are incomplete")
    missing = sorted(set(names) - {path.name for path in folder.iterdir()})
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise DataError(f"{str(folder)!r} lacks {missing[0]!r}{more}")


def _picture(folder: Path, name: str, label: int, corners: Sequence[str]) -> Picture:
    try:
        x0, y0, x1, y1 = map(int, corners)
    except ValueError:
        raise DataError(f"{str(folder / name)!r}: its box {corners} is not four integers") from None
    return Picture(folder / name, label, (x0, y0, x1, y1))
