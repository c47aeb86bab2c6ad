"""Guided backpropagation against networks written out by hand, and against Captum where Captum is exact."""

from __future__ import annotations

import captum.attr
import pytest
import torch

import pixelgrad as pg
from pixelgrad.errors import SettingError
from pixelgrad.show.guided_backprop import GuidedBackprop
from tests.test_deconvnet import STD, error
from tests.transposed import NETS, made


@pytest.mark.parametrize("name", NETS)
def test_equals_the_network_by_hand(name):
    net, photos = made(name), torch.rand(3, 3, 18, 20, dtype=torch.float64)
    model = pg.Classifier(net, mean=0.45, std=STD, size=(18, 20))
    std = photos.new_tensor(STD)[:, None, None]
    x = (photos - 0.45) / std
    top = net.top(net.features(x.clone()))
    start = torch.zeros_like(top)
    start[:, 4] = (top[:, 4] > 0).double() / top[0, 0].numel()  # the mean of ReLU(top), channel 4
    expected = net.down(x, start, "guided") / std
    found = GuidedBackprop(target=4).run(model, photos)
    assert found.pixels.shape == photos.shape
    assert error(found.pixels, expected) < 1e-10
    assert (
        error(pg.make("show/guided-backprop", objective="Logit(4)").run(model, photos).pixels, expected)
        < 1e-10
    )


def test_equals_captum_on_a_plain_network(pixels):
    net = made("plain")
    model = pg.Classifier(net, mean=0.45, std=0.25, size=16)
    net.forward = lambda x: net.top(net.features(x)).mean((2, 3))  # all its rectifiers are modules
    found = GuidedBackprop(target=2).run(model, pixels).pixels
    with pytest.warns(UserWarning, match="backward hooks"):
        theirs = captum.attr.GuidedBackprop(net).attribute(
            ((pixels - 0.45) / 0.25).requires_grad_(), target=2
        )
    assert error(found, theirs.detach() / 0.25) < 1e-10


def test_default_is_the_predicted_class(small, pixels):
    found = GuidedBackprop().run(small, pixels)
    predicted = small(pixels).argmax(1)
    expected = GuidedBackprop(target=tuple(predicted.tolist())).run(small, pixels)
    assert torch.equal(found.pixels, expected.pixels)
    torch.testing.assert_close(found.score, small(pixels).gather(1, predicted[:, None])[:, 0])
    assert found.report["rectifiers"] == {"ReLU": 2}
    assert found.report["left_alone"] == {}
    assert found.report["gradients"] == 1


def test_other_non_linearities_are_said(small, pixels):
    found = GuidedBackprop(objective="LogProbability('dog')").run(small, pixels)
    assert found.report["left_alone"] == {"log softmax": 1}


def test_target_and_objective_exclude_each_other(small, pixels):
    with pytest.raises(SettingError, match="not both"):
        GuidedBackprop(target=1, objective="Logit(1)").run(small, pixels)


@pytest.mark.parametrize("n", [1, 3])
def test_the_picture(small, pixels, n):
    found = GuidedBackprop().run(small, pixels[:n])
    assert found.image().size == found.picture().size  # raw values are no picture
    wide, high = found.picture().size
    assert wide > 200 * max(n, 2)
    assert high > 220 * min(n, 2)
