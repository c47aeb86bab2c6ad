"""Input × gradient against its formula, a closed form, and Captum on normalised input."""

from __future__ import annotations

import captum.attr
import pytest
import timm
import torch
from torch import nn

import pixelgrad as pg
from pixelgrad.errors import ModelError, NotFound
from pixelgrad.show.input_x_gradient import InputXGradient


@pytest.mark.parametrize("target", [3, (0, 1, 2, 3, 4)])
def test_equals_captum(small, pixels, target):
    found = InputXGradient(target=target).run(small, pixels).pixels
    reference = captum.attr.InputXGradient(small.module.eval())
    captum_target = target if isinstance(target, int) else list(target)
    theirs = reference.attribute(small.normalise(pixels).requires_grad_(), target=captum_target).detach()
    assert float((found - theirs).abs().max() / theirs.abs().max()) < 1e-12


def test_linear_model():
    """Without a bias the score is the sum of the attributions."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(75, 4, bias=False)).double()
    x = torch.rand(2, 3, 5, 5).double()
    mean = (0.1, 0.4, 0.7)
    model = pg.Classifier(module, mean=mean, std=0.5)
    found = InputXGradient(target=1).run(model, x)
    weight = module[1].weight[1].detach().reshape(3, 5, 5) * 2
    expected = (x - torch.tensor(mean).double()[:, None, None]) * weight
    torch.testing.assert_close(found.pixels, expected, rtol=1e-6, atol=1e-7)  # the mean as float32 numbers
    torch.testing.assert_close(found.pixels.sum((1, 2, 3)), found.score)


def test_the_mean_colour_adds_nothing(small):
    found = InputXGradient().run(small, torch.full((1, 3, 16, 16), 0.45).double())
    assert float(found.pixels.abs().max()) < 1e-7


def test_the_picture_is_the_size_of_the_sum_over_the_colours(small, pixels):
    from pixelgrad import heatmaps

    found = InputXGradient().run(small, pixels)
    assert found.pixels.shape == pixels.shape
    expected = heatmaps.beside(pixels, heatmaps.heats(found.pixels.sum(1).abs()), found.titles)
    assert found.image().tobytes() == expected.tobytes()


def test_vision_transformer():
    vit = timm.create_model("vit_tiny_patch16_224", pretrained=False, img_size=64, num_classes=5, depth=2)
    model = pg.Classifier(vit.double(), mean=0.5, std=0.5, size=64)
    x = torch.rand(2, 3, 64, 64).double()
    found = InputXGradient(target=1).run(model, x).pixels
    reference = captum.attr.InputXGradient(vit.eval())
    theirs = reference.attribute(model.normalise(x).requires_grad_(), target=1).detach()
    assert float((found - theirs).abs().max() / theirs.abs().max()) < 1e-10


def test_bad_input(small, pixels):
    with pytest.raises(NotFound, match=r"no class .9"):
        InputXGradient(target=9).run(small, pixels)
    with pytest.raises(ModelError, match="no images"):
        InputXGradient().run(small, pixels[:0])
