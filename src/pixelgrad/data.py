"""A data set on disk: pictures in a fixed order, read one after the other from any place on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from PIL import Image


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
        """The pictures from one place up to another; one that cannot be read comes with the reason."""
        ...
