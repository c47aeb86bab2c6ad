"""Where a run that follows a gradient is: all that it goes on from, in memory and as a file.

Saved and loaded, a run goes on bit for bit as if nothing had been.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from . import images
from .errors import OutputError, SettingError
from .gradient import Work
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


def save(work: Work, key: str, state: State) -> None:
    """Write where a run is to its checkpoint."""
    data = io.BytesIO()
    torch.save({"key": key, "state": dict(vars(state))}, data)
    assert work.checkpoint is not None
    try:
        images.write({work.checkpoint: data.getvalue()})
    except OutputError as error:  # the pictures themselves are worth more than going on later
        warnings.warn(f"the run cannot be resumed: {error}", stacklevel=3)


def load(work: Work, key: str) -> State | None:
    """The state of a checkpoint, if there is one. Raises SettingError where it is of another run."""
    if work.checkpoint is None or not work.checkpoint.is_file():
        return None
    try:
        found = torch.load(work.checkpoint, weights_only=True)
        state = State(**found["state"])
    except Exception as error:  # whatever a damaged file makes torch raise
        raise SettingError(f"{work.checkpoint} is no checkpoint; delete it to start again") from error
    if found["key"] != key:
        raise SettingError(
            f"{work.checkpoint} is of another run (settings, model or pictures differ); "
            "delete it to start again"
        )
    return state
