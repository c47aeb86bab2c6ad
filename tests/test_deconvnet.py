"""The deconvnet against transposed networks written out by hand, and what it shows."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import pixelgrad as pg
from pixelgrad.errors import ModelError, NotFound, SettingError
from pixelgrad.pictures import PAPER
from pixelgrad.receptive import field_of, fields
from pixelgrad.show.deconvnet import Deconvnet
from tests.transposed import NETS, made

STD = (0.2, 0.25, 0.3)


def by_hand(net, pixels, unit, rule="deconvnet"):
    """The projection of one unit's activation for each picture, (n, 3, h, w)."""
    std = pixels.new_tensor(STD)[:, None, None]
    x = (pixels - 0.45) / std
    a = net.top(net.features(x.clone()))
    start = torch.zeros_like(a)
    start[(slice(None), *unit)] = a[(slice(None), *unit)]
    return net.down(x, start, rule) / std


def error(found, expected):
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.fixture
def photos():
    return torch.rand(3, 3, 18, 20, dtype=torch.float64)


@pytest.mark.parametrize("name", NETS)
def test_equals_the_transposed_network(name, photos):
    net = made(name)
    model = pg.Classifier(net, mean=0.45, std=STD, size=(18, 20))
    for unit in [(c, i, j) for c in (0, 2, 5) for i, j in ((1, 0), (0, 1))]:
        asked = Deconvnet(layer="top", channel=unit[0], position=f"{unit[1]},{unit[2]}")
        found = asked.run(model, photos)
        expected = by_hand(net, photos, unit)
        assert found.pixels.shape == (3, 1, 3, 18, 20)
        assert error(found.pixels[:, 0], expected) < 1e-10
        assert error(by_hand(net, photos, unit, "gradient"), expected) > 0.01


def test_units_are_the_strongest_where_they_are_highest(small, pixels):
    found = Deconvnet(layer="conv2", top=4).run(small, pixels)
    maps = small.activations(pixels, ["conv2"])["conv2"].detach()
    assert found.pixels.shape == (5, 4, 3, 16, 16)
    for one, facts, score in zip(maps, found.report["images"], found.score, strict=True):
        highest = one.amax((1, 2))
        assert [f["channel"] for f in facts] == highest.argsort(descending=True)[:4].tolist()
        for fact in facts:
            i, j = fact["position"]
            assert fact["value"] == pytest.approx(float(highest[fact["channel"]]), rel=1e-12)
            assert float(one[fact["channel"], i, j]) == pytest.approx(fact["value"], rel=1e-12)
        assert float(score) == pytest.approx(facts[0]["value"])
    # each is the same alone, of its channel and position
    fact = found.report["images"][2][3]
    i, j = fact["position"]
    alone = Deconvnet(layer="conv2", channel=fact["channel"], position=f"{i},{j}").run(small, pixels)
    torch.testing.assert_close(alone.pixels[2, 0], found.pixels[2, 3], rtol=1e-10, atol=1e-14)


def test_strongest_at_a_position(small, pixels):
    found = Deconvnet(layer="conv2", top=2, position=" 3, 7").run(small, pixels)
    there = small.activations(pixels, ["conv2"])["conv2"].detach()[:, :, 3, 7]
    assert [[f["channel"] for f in facts] for facts in found.report["images"]] == there.topk(
        2
    ).indices.tolist()
    assert all(f["position"] == [3, 7] for facts in found.report["images"] for f in facts)


def test_it_is_linear_in_the_value_and_zero_outside_the_field(small, pixels):
    found = Deconvnet(layer="conv2").run(small, pixels)
    field = fields(small)["conv2"]
    for projections, facts in zip(found.pixels, found.report["images"], strict=True):
        for projection, fact in zip(projections, facts, strict=True):
            top, left, bottom, right = fact["box"]
            assert fact["box"] == list(field.box(*fact["position"], (16, 16)))
            outside = projection.clone()
            outside[:, top:bottom, left:right] = 0
            assert not outside.any()
            assert projection.any()


def test_one_layer_is_measured_like_all(small):
    everything = fields(small)
    assert list(fields(small, layers=["conv2", "pool"])) == ["pool", "conv2"]
    for name in ("pool", "conv2", "relu:2"):
        assert fields(small, layers=[name]) == {name: everything[name]}


def test_a_layer_is_measured_again_when_the_network_changes(small):
    first = field_of(small, "conv2")
    assert first == fields(small)["conv2"] == field_of(small, "conv2")
    small.module.conv2.dilation = small.module.conv2.padding = (2, 2)
    assert field_of(small, "conv2") == fields(small)["conv2"] != first


def test_a_negative_activation_starts_as_it_is(small, pixels):
    maps = small.activations(pixels[:1], ["conv2"])["conv2"]
    c, i, j = (int(v) for v in torch.unravel_index(maps[0].argmin(), maps.shape[1:]))
    assert float(maps[0, c, i, j]) < 0
    found = Deconvnet(layer="conv2", channel=c, position=f"{i},{j}").run(small, pixels[:1])
    assert float(found.score) == pytest.approx(float(maps.min()))
    # conv2's filter turned over, rectified, led through pool, relu and conv1
    module = small.module.eval()
    x = small.normalise(pixels[:1])
    with torch.no_grad():
        a = module.bn1(module.conv1(x))
        _, switches = nn.functional.max_pool2d(a.relu(), 2, return_indices=True)
        r = torch.zeros_like(maps)
        r[0, c, i, j] = maps.min()
        r = nn.functional.conv_transpose2d(r, module.conv2.weight, padding=1)
        r = nn.functional.max_unpool2d(r, switches, 2).clamp(min=0)
        r = r * (module.bn1.weight / (module.bn1.running_var + module.bn1.eps).sqrt())[:, None, None]
        r = nn.functional.conv_transpose2d(r, module.conv1.weight, padding=1) / 0.25
    assert error(found.pixels[:, 0], r) < 1e-10


def test_a_dead_channel_is_grey(small, pixels):
    small.module.conv2.bias.data[4] = -1e6
    found = Deconvnet(layer="relu:2", channel=4).run(small, pixels)
    assert not found.pixels.any()
    assert float(found.score.abs().max()) == 0
    assert found.titles[0].startswith("relu:2 12×8×8: channel 4, 0 at 0,0; a unit sees ")
    found.picture()


def test_what_was_met_is_reported(small, pixels):
    found = Deconvnet().run(small, pixels)
    json.dumps(dict(found.report))
    assert found.report["layer"] == "relu:2"
    assert found.report["rectifiers"] == {"ReLU": 2}
    assert found.report["left_alone"] == {}
    assert "identities" not in found.report
    assert found.report["gradients"] == found.pixels.shape[1] == 9
    net = pg.Classifier(made("response norm"), size=18)
    report = Deconvnet(layer="top").run(net, torch.rand(1, 3, 18, 18).double()).report
    assert report["identities"] == {"local response norm": 1}


@pytest.mark.parametrize(("settings", "kind", "message"), [
    ({"channel": 12}, NotFound, "conv2 has channels 0 to 11"),
    ({"position": "8,0"}, SettingError, "position in conv2 is from 0,0 to 7,7 here; got 8,0"),
    ({"position": "3"}, SettingError, "position is ROW,COLUMN, like 3,5; got '3'"),
    ({"position": "-1,3"}, SettingError, "position is ROW,COLUMN"),
    ({"layer": "fc"}, SettingError, "image-shaped"),
    ({"layer": "conv1"}, ModelError, "no rectifier on the way: deconvnet would be the gradient"),
])  # fmt: skip
def test_what_cannot_be_shown(small, pixels, settings, kind, message):
    with pytest.raises(kind, match=message):
        Deconvnet(**{"layer": "conv2"} | settings).run(small, pixels)


def test_the_picture(small, pixels):
    found = Deconvnet(layer="conv2", top=2).run(small, pixels[:2])
    picture = found.picture()
    assert found.titles[0] == "conv2 12×8×8: the 2 strongest of 12 channels; a unit sees 8×8 pixels"
    assert picture.getpixel((0, 0)) == (255, 255, 255)
    assert PAPER == "white"
    grey = sum(
        count for count, rgb in picture.getcolors(picture.width * picture.height) if rgb == (128, 128, 128)
    )
    assert grey > 0 or (found.pixels != 0).all()
    assert found.to_html()


def test_without_max_pooling_the_pattern_is_the_units_own(lite0, small, pixels):
    pictures = pg.open_images(["sample:coffee", "sample:cat"], lite0)
    maps = lite0.activations(pictures, ["blocks.1"])["blocks.1"].amin(0)
    c, i, j = (int(v) for v in torch.unravel_index(maps.argmax(), maps.shape))  # positive in both
    found = Deconvnet(layer="blocks.1", channel=c, position=f"{i},{j}").run(lite0, pictures)
    own = found.pixels[:, 0] / found.score[:, None, None, None]
    assert error(own[1], own[0]) < 1e-4
    assert found.report["max_pools"] == 0
    assert "no max-pooling on the way" in found.titles[0]
    maps = small.activations(pixels, ["conv2"])["conv2"][:2].amin(0)
    c, i, j = (int(v) for v in torch.unravel_index(maps.argmax(), maps.shape))
    assert float(maps[c, i, j]) > 0
    found = Deconvnet(layer="conv2", channel=c, position=f"{i},{j}").run(small, pixels[:2])
    own = found.pixels[:, 0] / found.score[:, None, None, None]
    assert error(own[1], own[0]) > 0.1
    assert found.report["max_pools"] == 1
    assert "max-pooling" not in found.titles[0]


def test_the_default_on_a_photograph(lite0):
    coffee = pg.open_image("sample:coffee", lite0)
    found = Deconvnet().run(lite0, coffee)
    assert found.report["layer"] == "blocks.2"
    assert found.report["rectifiers"].keys() == {"ReLU6"}
    assert found.report["gradients"] == 9
    assert len({f["channel"] for f in found.report["images"][0]}) == 9
    assert all(p.any() for p in found.pixels[0])
