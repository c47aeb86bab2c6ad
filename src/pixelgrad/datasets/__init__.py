"""Data sets on disk, one file per kind, all through `open_data`."""

from __future__ import annotations

import os
from pathlib import Path

from ..data import Data
from ..errors import DataError
from ..registry import kinds_of_data


def open_data(path: str | os.PathLike[str]) -> Data:
    """The pictures that lie there, in a fixed order.

    A folder of pictures, or of folders by class; a list of paths (.txt, .csv); WebDataset tars, Parquet files, or a
    folder of such; a pattern of those: `train-{0000..0146}.tar`, `train-*.parquet`.
    Raises DataError where there is no such thing, or no picture in it.
    """
    kinds = kinds_of_data()
    for kind in kinds:
        data: Data | None = kind.open(Path(path))
        if data is not None:
            return data
    if not os.path.exists(path):
        raise DataError(f"no such folder or file: {os.fspath(path)}")
    raise DataError(f"{os.fspath(path)} is no data set; known are: {'; '.join(k.summary for k in kinds)}")
