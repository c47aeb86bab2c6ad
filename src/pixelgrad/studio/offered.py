"""The data sets that were named at the start, by names that tell nothing of this machine's folders."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from ..data import Data, Sample
from ..datasets import open_data
from ..errors import SettingError
from .words import public


class Offered:
    """A data set (see data.Data) under a name, which stands for its folder also in tables and errors."""

    def __init__(self, name: str, data: Data) -> None:
        self.root, self.classes, self._data = name, data.classes, data

    def __len__(self) -> int:
        return len(self._data)

    @property
    def there(self) -> bool:
        """Whether its folder still is."""
        return os.path.exists(self._data.root)

    @cached_property
    def _fingerprint(self) -> str:
        return self._data.fingerprint()

    def fingerprint(self) -> str:
        """As it was when it was first asked for: the listing is that of the start."""
        return self._fingerprint

    def read(self, start: int, stop: int) -> Iterator[Sample]:
        """The pictures; of absolute paths, which a list may hold, the last part."""
        for sample in self._data.read(start, stop):
            name = os.path.basename(sample.name) if os.path.isabs(sample.name) else sample.name
            image = public(Exception(sample.image)) if isinstance(sample.image, str) else sample.image
            yield sample._replace(name=name, image=image)


def offered(paths: Sequence[str]) -> dict[str, Offered]:
    """Data sets by the last part of their paths. Raises what is wrong with them."""
    found: dict[str, Offered] = {}
    for path in paths:
        name = Path(path).name or Path(path).resolve().name
        if name in found:
            raise SettingError(
                f"two data sets are called {name}; the last parts of their paths are to differ"
            )
        found[name] = Offered(name, open_data(path))
    return found
