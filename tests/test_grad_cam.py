"""Grad-CAM against Captum, class activation maps, and a slow version on a transformer's tokens."""

from __future__ import annotations

import sys

import captum.attr
import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

import pixelgrad as pg
from pixelgrad.errors import ModelError, NotFound, SettingError
from pixelgrad.gradient import at_layer
from pixelgrad.objectives.logit import Logit
from pixelgrad.show.grad_cam import GradCam, deepest
from tests.transposed import made


def captums(model, layer, pixels, target):
    method = captum.attr.LayerGradCam(model.module.eval(), model.module.get_submodule(layer))
    found = method.attribute(model.normalise(pixels), target=target, relu_attributions=True)
    return captum.attr.LayerAttribution.interpolate(found, tuple(pixels.shape[2:]), "bilinear").detach()[:, 0]


@pytest.mark.parametrize("layer", ["conv1", "pool", "conv2"])
@pytest.mark.parametrize("target", [3, (0, 1, 2, 3, 4)])
def test_equals_captum(small, pixels, layer, target):
    small.module.relu.inplace = False  # Captum's hooks read what an in-place module has changed
    found = GradCam(target=target, layer=layer).run(small, pixels)
    theirs = captums(small, layer, pixels, target if isinstance(target, int) else list(target))
    assert float((found.pixels - theirs).abs().max() / theirs.abs().max()) < 1e-12
    assert found.report["layer"] == layer


@pytest.mark.parametrize("name", ["timm/efficientnet_lite0", "resnet18", "squeezenet1_0"])
def test_equals_captum_on_real_networks(name):
    torch.manual_seed(3)
    short = name.removeprefix("timm/")
    if short == name:
        from torchvision import models

        module = models.get_model(name, num_classes=10).double()
    else:
        module = timm.create_model(short, pretrained=False, num_classes=10).double()
    module(torch.randn(4, 3, 96, 96).double())
    model = pg.Classifier(module, mean=0.45, std=0.25, size=96)
    x = torch.rand(2, 3, 96, 96).double()
    found = GradCam(target=4).run(model, x)
    for m in module.modules():
        if getattr(m, "inplace", False):
            m.inplace = False
    theirs = captums(model, found.report["layer"], x, 4)
    assert float((found.pixels - theirs).abs().max() / theirs.abs().max().clamp(min=1e-300)) < 1e-9


class Cam(nn.Module):
    """Convolution, mean over positions, linear: where class activation maps come from."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.fc = nn.Linear(6, 4)

    def forward(self, x):
        return self.fc(self.conv(x).mean((2, 3)))


def test_is_the_class_activation_map():
    """max(0, Σ_k w_yk A_k) / (h·w) (Zhou 2016), at the layer's size, which is here the picture's."""
    module = Cam().double()
    x = torch.rand(2, 3, 12, 12).double()
    found = GradCam(target=2).run(pg.Classifier(module), x)
    expected = torch.einsum("k,nkhw->nhw", module.fc.weight[2], module.conv(x)).clamp(min=0) / 144
    torch.testing.assert_close(found.pixels, expected.detach(), rtol=1e-10, atol=1e-14)
    assert found.report["grid"] == [12, 12]


def vit(**settings):
    torch.manual_seed(0)
    settings = {"img_size": 64, "num_classes": 5, "depth": 3} | settings
    module = timm.create_model("vit_tiny_patch16_224", pretrained=False, **settings).double()
    return pg.Classifier(module, mean=0.5, std=0.5, size=64)


def test_vision_transformer():
    """Only the class token leaves the last block, so the default is the norm before its attention."""
    model, x = vit(), torch.rand(2, 3, 64, 64).double()
    found = GradCam(target=1).run(model, x)
    assert found.report["layer"] == "blocks.2.norm1"
    assert found.report["grid"] == [4, 4]
    kept = {}
    block = model.module.eval().blocks[2]
    handle = block.norm1.register_forward_hook(lambda m, i, o: kept.update(tokens=o))
    score = model.module(model.normalise(x))[:, 1].sum()
    handle.remove()
    (gradient,) = torch.autograd.grad(score, kept["tokens"])
    a, g = (t[:, 1:].transpose(1, 2).reshape(2, 192, 4, 4).detach() for t in (kept["tokens"], gradient))
    small = (g.mean((2, 3), keepdim=True) * a).sum(1).clamp(min=0)
    expected = F.interpolate(small[:, None], (64, 64), mode="bilinear")[:, 0]
    torch.testing.assert_close(found.pixels, expected, rtol=1e-9, atol=1e-14)
    assert found.pixels.any()


def test_vision_transformer_whose_tokens_are_averaged():
    model = vit(global_pool="avg", class_token=False)
    assert deepest(model, (64, 64)) == "blocks.2"
    assert GradCam().run(model, torch.rand(1, 3, 64, 64).double()).pixels.any()


def test_a_given_layer_of_a_transformer():
    model, x = vit(), torch.rand(1, 3, 64, 64).double()
    assert GradCam(layer="blocks.1").run(model, x).pixels.shape == (1, 64, 64)


def test_the_backward_pass_ends_at_the_layer(small, pixels, monkeypatch):
    """Score, activations and gradient of the layer; nothing below it is asked for."""
    seen = []
    grad = torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda s, v, **k: seen.append(v.shape) or grad(s, v, **k))
    graphs = []
    handle = small.module.conv1.register_forward_hook(lambda m, i, y: graphs.append(y.requires_grad))
    (part,) = at_layer(small, Logit(2), pixels, "conv2")
    handle.remove()
    assert graphs == [False]
    assert seen == [(5, 12, 8, 8)]
    torch.testing.assert_close(part.activations, small.activations(pixels, ["conv2"])["conv2"])
    expected = small.module.fc.weight[2].detach()[:, None, None] * (part.activations > 0) / 64
    torch.testing.assert_close(part.gradient, expected)
    (again,) = at_layer(small, Logit(2), pixels, "conv2")  # in the faster form
    torch.testing.assert_close(again.gradient, expected)


def test_objective_of_a_layer(small, pixels):
    found = GradCam(objective="Channel('conv2', 3)", layer="conv1").run(small, pixels)
    torch.testing.assert_close(found.score, small.activations(pixels, ["conv2"])["conv2"][:, 3].mean((1, 2)))


def test_a_layer_without_positions(small, pixels):
    with pytest.raises(
        SettingError, match=r"layer 'fc' gives \(5,\) per image; choose one with an image-shaped"
    ):
        GradCam(layer="fc").run(small, pixels)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    with pytest.raises(
        SettingError, match="layer '1' has one position for the whole picture; choose an earlier"
    ):
        GradCam(layer="1").run(pg.Classifier(module), torch.rand(1, 3, 8, 8))


def test_bad_input(small, pixels):
    with pytest.raises(NotFound, match="no layer 'conv3'"):
        GradCam(layer="conv3").run(small, pixels)
    with pytest.raises(NotFound, match=r"no class .9"):
        GradCam(target=9).run(small, pixels)
    with pytest.raises(ModelError, match="no images"):
        GradCam().run(small, pixels[:0])
    with pytest.raises(
        ModelError, match=r"Channel\('conv1', 2\) does not depend on layer 'conv2'; choose an earlier"
    ):
        GradCam(objective="Channel('conv1', 2)", layer="conv2").run(small, pixels)
    flat = pg.Classifier(nn.Sequential(nn.Flatten(), nn.Linear(192, 3)), size=8)
    with pytest.raises(ModelError, match="no layer of Sequential has an image-shaped output"):
        GradCam().run(flat, torch.rand(1, 3, 8, 8))


def test_the_object_lights_up(lite0):
    coffee = pg.open_image("sample:coffee", lite0)
    found = GradCam().run(lite0, coffee)
    assert found.report["grid"] == [7, 7]
    share = found.pixels[0, 10:120, 45:175].sum() / found.pixels.sum()
    assert share > 0.5, "the cup is 28 % of the picture and should have most of the map"


@pytest.mark.parametrize("layer", ["one", "two", "second"])
def test_guided_equals_captum(pixels, layer):
    net = made("plain")
    net.forward = lambda x: net.top(net.features(x)).mean((2, 3))  # all its rectifiers are modules
    model = pg.Classifier(net, mean=0.45, std=0.25, size=16)
    found = GradCam(target=2, layer=layer, guided=True).run(model, pixels)
    method = captum.attr.GuidedGradCam(net, net.get_submodule(layer))
    with pytest.warns(UserWarning, match="backward hooks"):
        theirs = method.attribute(
            model.normalise(pixels).requires_grad_(), target=2, interpolate_mode="bilinear"
        )
    theirs = theirs.detach() / 0.25  # its gradient is per unit of the normalised picture
    assert theirs.any()
    assert float((found.pixels - theirs).abs().max() / theirs.abs().max()) < 1e-10


def test_guided_is_the_product_of_two_techniques(small, pixels):
    found = GradCam(guided=True).run(small, pixels)
    lines = pg.make("show/guided-backprop").run(small, pixels)
    plain = GradCam().run(small, pixels)
    assert torch.equal(found.pixels, plain.pixels[:, None] * lines.pixels)
    assert torch.equal(found.score, plain.score)
    assert found.titles == plain.titles
    assert found.report["gradients"] == 2
    assert found.report["rectifiers"] == {"ReLU": 2}
    assert found.report["layer"] == plain.report["layer"]
    assert "rectifiers" not in plain.report


def test_guided_progress_goes_over_both_passes(small, pixels, monkeypatch):
    monkeypatch.setitem(sys.modules["pixelgrad.gradient"].TOGETHER, "cpu", 1e-9)
    seen = []
    GradCam(guided=True).run(small, pixels, seen.append)
    assert [step.done for step in seen] == [*range(1, 11)]
    assert {step.total for step in seen} == {10}


@pytest.mark.parametrize("n", [1, 3])
def test_the_guided_picture(small, pixels, n):
    found = GradCam(guided=True).run(small, pixels[:n])
    single = pg.make("show/guided-backprop").run(small, pixels[:n])
    assert found.image().size == single.image().size


def test_guided_without_a_rectifier():
    with pytest.raises(ModelError, match="no rectifier on the way"):
        GradCam(guided=True).run(pg.Classifier(Cam().double()), torch.rand(1, 3, 12, 12).double())
