"""Stages, from the structure of networks that are not known by name."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn
from torchvision import models as tv

import pixelgrad as pg
from pixelgrad.errors import ModelError
from pixelgrad.stages import last_spatial, middle, stages


def test_stages_of_lite0(lite0):
    assert stages(lite0) == ("blocks.0", "blocks.1", "blocks.2", "blocks.4", "bn2")
    assert (middle(lite0), last_spatial(lite0)) == ("blocks.4", "bn2")


@pytest.mark.parametrize(("make", "expected", "half"), [
    (tv.squeezenet1_0, ("features.1", "features.5", "features.10", "features.12"), "features.10"),
    (tv.resnet18, ("relu", "layer1", "layer2", "layer3", "layer4"), "layer3"),
    (tv.swin_t, ("features.1", "features.3", "features.5", "permute"), "features.5"),
    (tv.vit_b_32, tuple(f"encoder.layers.encoder_layer_{i}" for i in (2, 5, 8, 11)), "encoder.layers.encoder_layer_8"),
])  # fmt: skip
def test_stages_of_torchvision(make, expected, half):
    model = pg.Classifier(make(weights=None), size=224)
    assert stages(model) == expected
    assert middle(model) == half
    assert last_spatial(model) == expected[-1]


def test_stages_of_transformers():
    swin = timm.create_model("swin_tiny_patch4_window7_224", pretrained=False)
    assert stages(pg.Classifier(swin, size=224)) == ("layers.0", "layers.1", "layers.2", "norm")
    vit = timm.create_model("vit_tiny_patch16_224", pretrained=False)
    assert stages(pg.Classifier(vit, size=224)) == ("blocks.2", "blocks.5", "blocks.8", "blocks.11")


def test_a_network_inside_another_has_the_same_stages():
    class Backbone(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = tv.resnet18(weights=None)

        def forward(self, x):
            net = self.net
            x = net.maxpool(net.relu(net.bn1(net.conv1(x))))
            return net.layer4(net.layer3(net.layer2(net.layer1(x))))

    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = Backbone()
            self.head = nn.Linear(512, 10)

        def forward(self, x):
            return self.head(self.backbone(x).mean((2, 3)))

    expected = tuple(f"backbone.net.{name}" for name in ("relu", "layer1", "layer2", "layer3", "layer4"))
    assert stages(pg.Classifier(Wrapped(), size=64)) == expected


def test_one_stage_and_none(small):
    assert stages(small) == ("relu", "relu:2")
    flat = nn.Sequential(nn.Flatten(), nn.Linear(192, 5))
    with pytest.raises(ModelError, match="no layer of Sequential has an image-shaped output"):
        stages(pg.Classifier(flat, size=8))
    single = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    model = pg.Classifier(single, size=8)
    assert stages(model) == ("1",), "the maps of the classes do not count"
    assert middle(model) == last_spatial(model) == "1"
    assert model(torch.rand(1, 3, 8, 8)).shape == (1, 5)
