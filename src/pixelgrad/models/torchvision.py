"""torchvision's classification models, with the preprocessing and labels of their Weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from torchvision import models as tv

from ..classifier import Classifier
from ..errors import ModelError
from ..registry import model_family
from .weights import fill, read


def names() -> list[str]:
    """torchvision's classification models."""
    return list(tv.list_models(module=tv))


@model_family(names)
def torchvision(name: str, weights: Path | None) -> Classifier:
    """torchvision's classification models: weights in torch's cache, or from a file"""
    known = list(tv.get_model_weights(name))
    if weights is None:
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        default = tv.get_model_weights(name).DEFAULT
        # the default training, or else any other that is there
        recipe = next((w for w in (default, *known) if (folder / _file_name(w)).is_file()), default)
        file = folder / _file_name(recipe)
        if not file.is_file():
            raise ModelError(
                f"the weights of {name} are not on this machine: put {file.name} into {folder} "
                f"(it is at {recipe.url}), or give a file of your own as weights"
            )
    else:
        file = weights
        # of several published trainings the one whose file this is; for others the first, the plain one
        recipe = next((w for w in known if _file_name(w) == file.name), known[0])
    module = _untrained(name)
    fill(module, read(file), name, file)
    preset = recipe.transforms()
    return Classifier(
        module,
        mean=preset.mean,
        std=preset.std,
        size=preset.crop_size[0],
        resize=preset.resize_size[0],
        interpolation=preset.interpolation.value,
        antialias=preset.antialias,
        labels=recipe.meta["categories"],
        name=name,
    )


def _file_name(recipe: Any) -> str:
    return Path(urlparse(recipe.url).path).name


def _untrained(name: str) -> Any:
    # GoogLeNet's and Inception's own initialisation takes seconds and is overwritten at once; the published
    # files hold the heads that help in training, and the input scaling of their first trainers
    special = {
        "googlenet": {"init_weights": False, "transform_input": True},
        "inception_v3": {"init_weights": False, "transform_input": True},
    }
    return tv.get_model(name, weights=None, **special.get(name, {}))
