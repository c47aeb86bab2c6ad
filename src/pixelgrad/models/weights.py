"""Weights from a file into a module: read without running code, fitted strictly, explained when they do not."""

from __future__ import annotations

import hashlib
import os
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..errors import ModelError

State = Mapping[str, Tensor]


def read(path: Path) -> dict[str, Tensor]:
    """The state dict in a file: safetensors, or what torch.save wrote. A pickle that wants more than tensors
    is refused."""
    if not os.path.isfile(path):
        raise ModelError(f"no such weights file: {path}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is wrong with a file is said by the error
            found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path} is no plain state dict: it would run code of its own, or is damaged; "
            "save module.state_dict(), best as safetensors"
        ) from error
    except (SafetensorError, RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise ModelError(f"{path} cannot be read as weights: {_line(error)}") from error
    if isinstance(found, Mapping) and isinstance(found.get("state_dict"), Mapping):
        found = found["state_dict"]
    if not isinstance(found, Mapping) or not all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in found.items()
    ):
        raise ModelError(f"{path} holds {type(found).__name__}, not a state dict of tensors")
    return dict(found)


def fill(module: nn.Module, state: State, name: str, file: object) -> None:
    """Load strictly; where that fails, say which keys differ."""
    problem = difference(module, state)
    if problem:
        raise ModelError(f"{file} does not fit {name}: {problem}")
    module.load_state_dict(dict(state), strict=True)


def difference(module: nn.Module, state: State) -> str:
    """What keeps a state dict from fitting a module, in one line; empty where it fits."""
    own = module.state_dict()
    # older files lack the counters that batch norm got later; strict loading forgives them, and so do we
    missing = [k for k in own if k not in state and not k.endswith("num_batches_tracked")]
    surplus = [k for k in state if k not in own]
    shapes = [
        f"{k} is {_shape(state[k])}, not {_shape(own[k])}"
        for k in own
        if k in state and state[k].shape != own[k].shape
    ]
    parts = [("lacks", missing), ("has besides", surplus), ("differs in shape:", shapes)]
    return "; ".join(f"it {words} {_some(keys)}" for words, keys in parts if keys)


def check_sha256(path: Path, expected: str) -> None:
    """Raise ModelError unless the file is the one that is meant."""
    if not os.path.isfile(path):
        raise ModelError(f"{path} is missing; install its package again")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise ModelError(f"{path} is damaged: its sha256 is {found}, not {expected}")


def _some(keys: list[str]) -> str:
    rest = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return ", ".join(keys[:3]) + rest


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a number"


def _line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).partition("\n")[0]
