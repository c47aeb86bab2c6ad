"""Saliency against its formula, a closed form, and Captum."""

from __future__ import annotations

import captum.attr
import pytest
import torch
from torch import nn

import pixelgrad as pg
from pixelgrad.errors import SettingError
from pixelgrad.objectives.log_probability import LogProbability
from pixelgrad.show.saliency import Saliency


def test_formula(small, pixels):
    found = Saliency(target="cat").run(small, pixels)
    for x, map_ in zip(pixels, found.pixels, strict=True):
        x = x[None].clone().requires_grad_()
        small(x)[0, 2].backward()
        expected = torch.zeros(16, 16, dtype=torch.float64)
        for i in range(16):
            for j in range(16):
                expected[i, j] = max(abs(float(x.grad[0, c, i, j])) for c in range(3))
        torch.testing.assert_close(map_, expected, rtol=1e-12, atol=1e-15)
    assert found.report["gradients"] == 1
    torch.testing.assert_close(found.score, small(pixels)[:, 2])


def test_linear_model():
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * 25, 4)).double()
    found = Saliency(target=1).run(pg.Classifier(module, std=0.5), torch.rand(2, 3, 5, 5).double())
    expected = (module[1].weight[1].detach().reshape(3, 5, 5) * 2).abs().amax(0)
    torch.testing.assert_close(found.pixels, expected.expand(2, 5, 5), rtol=1e-12, atol=0)


@pytest.mark.parametrize("target", [3, (0, 1, 2, 3, 4)])
def test_equals_captum(small, pixels, target):
    found = Saliency(target=target).run(small, pixels).pixels
    reference = captum.attr.Saliency(small.module.eval())
    # Captum goes through the module itself: its input is normalised, its gradient per unit of that
    captum_target = target if isinstance(target, int) else list(target)
    theirs = reference.attribute(((pixels - 0.45) / 0.25).requires_grad_(), target=captum_target)
    theirs = theirs.amax(1) / 0.25
    assert float((found - theirs).abs().max() / theirs.abs().max()) < 1e-6


def test_default_is_the_predicted_class(small, pixels):
    found = Saliency().run(small, pixels)
    predicted = small(pixels).argmax(1).tolist()
    expected = Saliency(target=tuple(predicted)).run(small, pixels)
    assert torch.equal(found.pixels, expected.pixels)
    assert [f["class"] for f in found.report["images"]] == [small.labels[i] for i in predicted]


def test_objective_in_place_of_a_class(small, pixels):
    text = Saliency(objective="LogProbability('dog')")
    assert text == Saliency(objective=LogProbability("dog"))
    assert not torch.equal(text.run(small, pixels).pixels, Saliency(target="dog").run(small, pixels).pixels)


def test_target_and_objective_exclude_each_other(small, pixels):
    with pytest.raises(SettingError, match="not both"):
        Saliency(target=1, objective="Logit(1)").run(small, pixels)


def test_needs_a_picture(small):
    with pytest.raises(SettingError, match="show/saliency looks at a picture"):
        Saliency().run(small)


def test_the_object_lights_up(lite0):
    """On the sample photograph most of the gradient lies on the cup, which fills the upper middle."""
    coffee = pg.open_image("sample:coffee", lite0)
    found = Saliency().run(lite0, coffee)
    assert found.report["images"][0]["class"] == "espresso"
    energy = found.pixels[0] ** 2
    inside = energy[10:120, 45:175].sum() / energy.sum()
    assert inside > 0.5, "the cup is 28 % of the picture and should have most of the gradient"
