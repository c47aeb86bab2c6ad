"""Where a run that follows a gradient is: all that it goes on from, in memory and as a file.

Saved and loaded, a run goes on bit for bit as if nothing had been.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import images
from .errors import OutputError, SettingError
from .steps import Memory


@dataclass(frozen=True)
class State:
    """Where a run is. `kept` are the pictures to be shown: the best judged, or the latest."""

    step: int
    z: Tensor
    rows: Tensor
    memory: Memory
    kept: Tensor
    value: Tensor
    score: Tensor
    gradients: Tensor
    random: Tensor
    frames: tuple[Tensor, ...] = ()


def save(path: Path, key: str, data: Mapping[str, Any]) -> None:
    """Write where a run is to its checkpoint."""
    file = io.BytesIO()
    torch.save({"key": key, "state": dict(data)}, file)
    try:
        images.write({path: file.getvalue()})
    except OutputError as error:  # the pictures themselves are worth more than going on later
        warnings.warn(f"the run cannot be resumed: {error}", stacklevel=3)


def load(path: Path | None, key: str, names: Iterable[str]) -> dict[str, Any] | None:
    """What a checkpoint holds under these names, if there is one. Raises SettingError where it is of another run."""
    if path is None or not path.is_file():
        return None
    try:
        found = torch.load(path, weights_only=True)
        state = {name: found["state"][name] for name in names}
    except Exception as error:  # whatever a damaged file makes torch raise
        raise SettingError(f"{path} is no checkpoint; delete it to start again") from error
    if found["key"] != key:
        raise SettingError(
            f"{path} is of another run (settings, model or pictures differ); delete it to start again"
        )
    return state
