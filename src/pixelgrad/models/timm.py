"""timm's models (`timm/resnet18.a1_in1k`), with the preprocessing of their data configuration."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch

from ..classifier import Classifier
from ..errors import ModelError
from ..registry import model_family
from .imagenet import labels
from .weights import difference, fill, read

PREFIX = "timm/"


def names() -> list[str]:
    """timm's models, those with published weights by architecture and training."""
    import timm

    return [PREFIX + n for n in dict.fromkeys(timm.list_models() + timm.list_pretrained())]


@model_family(names, prefix=PREFIX)
def timm(name: str, weights: Path | None) -> Classifier:
    """timm's models: weights in the Hugging Face or torch cache, or from a file"""
    import timm

    own = name.removeprefix(PREFIX)
    module = timm.create_model(own, pretrained=False)
    file = weights if weights is not None else _cached(name, module.pretrained_cfg)
    state = read(file)
    if state and difference(module, state):
        # files of the first trainers have other names, which timm knows how to turn into its own
        try:
            overlay = {"state_dict": state}
            module = timm.create_model(own, pretrained=True, pretrained_cfg_overlay=overlay)
        except Exception:  # its conversions fail in many ways on files of another architecture
            fill(module, state, name, file)
    else:
        fill(module, state, name, file)
    config = timm.data.resolve_data_config({}, model=module)
    return Classifier(
        module,
        mean=config["mean"],
        std=config["std"],
        size=tuple(config["input_size"][1:]),
        resize=_resize(name, config),
        interpolation=config["interpolation"],
        labels=labels() if module.num_classes == len(labels()) else None,
        name=name,
    )


def _resize(name: str, config: dict[str, Any]) -> int | tuple[int, int]:
    """What timm's evaluation resizes to before the crop."""
    crop: float = config["crop_pct"]
    height, width = (math.floor(int(side) / crop) for side in config["input_size"][1:])
    if config["crop_mode"] == "squash":
        return height, width
    if config["crop_mode"] != "center" or height != width:
        raise ModelError(f"{name} is cropped by {config['crop_mode']!r}, which is not supported")
    return height


def _cached(name: str, config: dict[str, Any]) -> Path:
    """The file of the published weights in one of the caches on this machine."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.constants import HF_HUB_CACHE

    places = []
    if config.get("hf_hub_id"):
        for name_there in ("model.safetensors", "pytorch_model.bin"):
            found = try_to_load_from_cache(config["hf_hub_id"], name_there)
            if isinstance(found, (str, os.PathLike)):
                return Path(found)
        places.append(f"model.safetensors of huggingface.co/{config['hf_hub_id']} in {HF_HUB_CACHE}")
    if config.get("url"):
        file = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(config["url"]).path).name
        if file.is_file():
            return file
        places.append(f"{file} (it is at {config['url']})")
    if not places:
        raise ModelError(f"no weights of {name} are published; give a file of your own as weights")
    raise ModelError(
        f"the weights of {name} are not on this machine: {' or '.join(places)} is missing; put it there, "
        "or give the file as weights"
    )
