"""A training's state on disk: written whole or not at all, and never mixed up with another's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pixelgrad.errors import ModelError, OutputError

History = list[dict[str, float]]  # one entry per finished epoch


def prepare(out: Path, resume: bool) -> Path:
    """The checkpoint's path in a folder that can be written; without `resume` a new one."""
    path = out / "checkpoint.pt"
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".probe"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise OutputError(f"cannot write to {str(out)!r}: {error.strerror}") from error
    if path.exists() and not resume:
        raise OutputError(f"{str(path)!r} exists: --resume goes on from it, another --out starts anew")
    return path


def save(
    path: Path,
    recipe: dict[str, Any],
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    history: History,
) -> None:
    """Write beside the old checkpoint, then rename: a kill while writing costs one epoch only."""
    state = {"net": net.state_dict(), "optimizer": optimizer.state_dict()}
    part = path.with_suffix(".part")
    try:
        torch.save({"recipe": recipe, **state, "history": history}, part)
        os.replace(part, path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        raise OutputError(f"cannot write {str(path)!r}: {error}") from error


def restore(path: Path, recipe: dict[str, Any], net: nn.Module, optimizer: torch.optim.Optimizer) -> History:
    """Load a checkpoint of the same recipe into `net` and `optimizer`."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        saved, history = dict(state["recipe"]), list(state["history"])
    except Exception as error:  # whatever a foreign file makes the unpickler raise
        raise ModelError(f"{str(path)!r} is no checkpoint of this training") from error
    for key, value in recipe.items():
        if saved.get(key) != value:
            got, wanted = str(saved.get(key))[:40], str(value)[:40]
            raise ModelError(f"{str(path)!r} is of a training with {key} {got}, not {wanted}")
    try:
        net.load_state_dict(state["net"])
        optimizer.load_state_dict(state["optimizer"])
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ModelError(f"{str(path)!r} holds a network of another shape") from error
    return history
