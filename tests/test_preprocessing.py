"""The pixels of a picture are exactly those that the weights' own transforms make, before they normalise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage
import timm
import torch
from PIL import Image
from torch import nn
from torchvision import models as tv

import pixelgrad as pg
from pixelgrad.preprocessing import Preprocessing

EXACT = {"rtol": 0, "atol": 1e-6}


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    values = np.random.default_rng(width * height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values).convert(mode)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> dict[str, Path]:
    """Photographs and noise of odd sizes, aspects and modes, as files."""
    folder = tmp_path_factory.mktemp("pictures")
    data = Path(skimage.__file__).parent / "data"
    files = {"photo": data / "chelsea.png", "square": data / "astronaut.png"}
    with Image.open(files["photo"]) as image:
        made = {
            "photo.jpg": image.crop((3, 5, 250, 202)),
            "upright.jpg": image.transpose(Image.Transpose.ROTATE_90),
            "grey.png": image.convert("L"),
            "palette.png": image.convert("P"),
        }
    made |= {"wide.png": noise(317, 61), "tall.bmp": noise(33, 128), "small.png": noise(23, 19)}
    made |= {"as-it-is.png": noise(224, 224), "odd.png": noise(341, 257), "bits.png": noise(131, 200, "1")}
    for name, image in made.items():
        files[name] = folder / name
        image.save(files[name])
    return files


NAMES = [
    "photo",
    "square",
    "photo.jpg",
    "upright.jpg",
    "grey.png",
    "palette.png",
    "wide.png",
    "tall.bmp",
    "small.png",
    "as-it-is.png",
    "odd.png",
    "bits.png",
]


def rgb(file: Path) -> Image.Image:
    with Image.open(file) as image:
        return image.convert("RGB")


def without_network(monkeypatch, source: Any) -> None:
    """Let a source of models make its Classifier around a module without weights."""
    monkeypatch.setattr(source, "read", lambda file: {})
    monkeypatch.setattr(source, "fill", lambda *_: None)


# ---------------------------------------------------------------------- torchvision


@pytest.fixture
def torchvision(monkeypatch) -> Callable[[Any], pg.Classifier]:
    """The classifier for an entry of a Weights enumeration, around an empty module."""
    from pixelgrad.models import torchvision as source

    without_network(monkeypatch, source)
    monkeypatch.setattr(source, "_untrained", lambda name: nn.Identity())

    def make(weights: Any) -> pg.Classifier:
        name = type(weights).__name__.removesuffix("_Weights").lower()
        assert tv.get_model_weights(name) is type(weights)
        return pg.load(name, weights=f"anywhere/{weights.url.rpartition('/')[2]}")

    return make


def published() -> list[Any]:
    return [w for name in tv.list_models(module=tv) for w in tv.get_model_weights(name)]


DOZEN = [
    "AlexNet_Weights.IMAGENET1K_V1",
    "ResNet50_Weights.IMAGENET1K_V1",
    "ResNet50_Weights.IMAGENET1K_V2",
    "GoogLeNet_Weights.IMAGENET1K_V1",
    "Inception_V3_Weights.IMAGENET1K_V1",
    "EfficientNet_B0_Weights.IMAGENET1K_V1",
    "EfficientNet_B1_Weights.IMAGENET1K_V2",
    "EfficientNet_V2_S_Weights.IMAGENET1K_V1",
    "ConvNeXt_Tiny_Weights.IMAGENET1K_V1",
    "Swin_V2_T_Weights.IMAGENET1K_V1",
    "MaxVit_T_Weights.IMAGENET1K_V1",
    "ViT_B_16_Weights.IMAGENET1K_SWAG_E2E_V1",
    "RegNet_Y_16GF_Weights.IMAGENET1K_SWAG_E2E_V1",
]


def test_the_dozen_differs_in_size_crop_and_interpolation():
    presets = [tv.get_weight(name).transforms() for name in DOZEN]
    assert len({(*p.resize_size, *p.crop_size, p.interpolation) for p in presets}) >= 8
    assert len({p.interpolation for p in presets}) == 2


@pytest.mark.parametrize("weights", DOZEN)
def test_torchvision_pixels_are_those_of_the_weights_own_transforms(torchvision, pictures, weights):
    weights = tv.get_weight(weights)
    model = torchvision(weights)
    unnormalised = weights.transforms(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    for name in ("photo", "photo.jpg", "grey.png", "wide.png", "odd.png"):
        torch.testing.assert_close(
            pg.open_image(pictures[name], model)[0], unnormalised(rgb(pictures[name])), **EXACT
        )


@pytest.mark.parametrize("name", NAMES)
def test_pictures_of_every_size_and_mode_are_prepared_as_torchvision_does(torchvision, pictures, name):
    weights = tv.ResNet18_Weights.IMAGENET1K_V1
    unnormalised = weights.transforms(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    found = pg.open_image(pictures[name], torchvision(weights))
    assert found.shape == (1, 3, 224, 224)
    torch.testing.assert_close(found[0], unnormalised(rgb(pictures[name])), **EXACT)


@pytest.mark.parametrize("weights", DOZEN)
def test_normalised_inside_they_are_what_the_network_was_trained_on(torchvision, pictures, weights):
    weights = tv.get_weight(weights)
    model = torchvision(weights)
    found = model.normalise(pg.open_image(pictures["photo"], model))[0]
    torch.testing.assert_close(found, weights.transforms()(rgb(pictures["photo"])), **EXACT)


def test_every_published_weights_of_torchvision_keep_their_numbers(torchvision):
    for weights in published():
        preset, model = weights.transforms(), torchvision(weights)
        prepared = model.preprocessing
        assert prepared.size == (preset.crop_size[0],) * 2, weights
        assert prepared.resize == preset.resize_size[0], weights
        assert prepared.interpolation == preset.interpolation.value, weights
        assert prepared.antialias == preset.antialias, weights
        assert (model.mean, model.std) == (tuple(preset.mean), tuple(preset.std)), weights
        categories = weights.meta["categories"]  # VGG16's features alone have none
        assert model.labels == (categories and tuple(categories)), weights


def test_several_pictures_become_one_batch_in_their_order(torchvision, pictures):
    model = torchvision(tv.ResNet18_Weights.IMAGENET1K_V1)
    both = pg.open_images([pictures["photo"], pictures["odd.png"]], model)
    assert both.shape == (2, 3, 224, 224)
    assert torch.equal(both[1:], pg.open_image(pictures["odd.png"], model))


# ---------------------------------------------------------------------- timm


def timm_transform(config: dict[str, Any]) -> Any:
    return timm.data.create_transform(**(config | {"mean": (0, 0, 0), "std": (1, 1, 1)}), is_training=False)


@pytest.mark.parametrize("name", NAMES)
def test_the_default_model_prepares_pictures_as_timm_does(lite0, pictures, name):
    config = timm.data.resolve_data_config(
        pretrained_cfg=timm.get_pretrained_cfg("tf_efficientnet_lite0.in1k").to_dict()
    )
    assert (config["crop_pct"], config["interpolation"]) == (0.875, "bicubic")
    found = pg.open_image(pictures[name], lite0)
    assert found.shape == (1, 3, 224, 224)
    torch.testing.assert_close(found[0], timm_transform(config)(rgb(pictures[name])), **EXACT)
    assert (lite0.mean, lite0.std) == (tuple(config["mean"]), tuple(config["std"]))


TIMM = {  # crop, interpolation, share of the picture
    "resnet18.a1_in1k": ("center", "bicubic", 0.95),
    "test_resnet.r160_in1k": ("center", "bilinear", 0.95),
    "mobilenetv3_small_050.lamb_in1k": ("center", "bicubic", 0.875),
    "vit_tiny_patch16_384.augreg_in21k_ft_in1k": ("center", "bicubic", 1.0),
    "tf_efficientnet_b1.ns_jft_in1k": ("center", "bicubic", 0.882),
    "convnext_tiny.in12k_ft_in1k_384": ("squash", "bicubic", 1.0),
    "dm_nfnet_f0.dm_in1k": ("squash", "bicubic", 0.9),
}


@pytest.fixture
def from_timm(monkeypatch) -> Callable[[str], pg.Classifier]:
    """The classifier for a model of timm, around a module that has only its configuration."""
    from pixelgrad.models import timm as source

    without_network(monkeypatch, source)
    monkeypatch.setattr(source, "difference", lambda *_: "")

    def create_model(name: str, **_: Any) -> nn.Module:
        module = nn.Identity()
        module.pretrained_cfg = timm.get_pretrained_cfg(name).to_dict()
        module.num_classes = module.pretrained_cfg["num_classes"]
        return module

    monkeypatch.setattr(timm, "create_model", create_model)
    return lambda name: pg.load(f"timm/{name}", weights="anywhere.safetensors")


@pytest.mark.parametrize("name", TIMM)
def test_timm_pixels_are_those_of_timms_own_transform(from_timm, pictures, name):
    config = timm.data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
    crop, interpolation, share = TIMM[name]
    assert (config["crop_mode"], config["interpolation"]) == (crop, interpolation)
    assert config["crop_pct"] == pytest.approx(share)
    model = from_timm(name)
    own = timm_transform(config)
    for picture in ("photo", "photo.jpg", "grey.png", "wide.png", "odd.png"):
        torch.testing.assert_close(
            pg.open_image(pictures[picture], model)[0], own(rgb(pictures[picture])), **EXACT
        )
    assert (model.mean, model.std) == (tuple(config["mean"]), tuple(config["std"]))


def test_what_is_cropped_in_a_way_we_do_not_know_is_refused_not_approximated(from_timm):
    border = next(
        n for n in timm.list_pretrained() if timm.get_pretrained_cfg(n).crop_mode not in ("center", "squash")
    )
    with pytest.raises(pg.PixelgradError, match="border"):
        from_timm(border)


# ---------------------------------------------------------------------- on its own


def test_without_a_size_a_picture_stays_as_it_is():
    image = noise(7, 5)
    expected = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255
    assert torch.equal(Preprocessing()(image), expected)


def test_a_pair_squeezes_and_a_number_keeps_the_aspect():
    image = noise(40, 20)
    assert Preprocessing(resize=(8, 6))(image).shape == (1, 3, 8, 6)
    assert Preprocessing(resize=10)(image).shape == (1, 3, 10, 20)
    assert Preprocessing(size=(8, 6), resize=10)(image).shape == (1, 3, 8, 6)


def test_the_crop_is_the_middle():
    image = noise(9, 7)
    assert torch.equal(Preprocessing(size=(3, 5))(image), Preprocessing()(image)[..., 2:5, 2:7])


def test_your_own_module_is_resized_to_its_size_without_a_crop():
    model = pg.Classifier(nn.Flatten(), size=16)
    assert model.preprocessing == Preprocessing((16, 16), 16)
    wide = pg.Classifier(nn.Flatten(), size=(16, 24))
    assert wide.preprocessing == Preprocessing((16, 24), (16, 24))
