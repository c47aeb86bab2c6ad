"""Filters against the network's weights, and the picture of them read back."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import pixelgrad as pg
from pixelgrad import images
from pixelgrad.errors import ModelError
from pixelgrad.pictures import GAP, TILE_GAP, TILE_HEAD
from pixelgrad.show.filters import Filters

TOP = GAP + 18 + 4 + TILE_HEAD  # of the first tile, under a title of one line and its label


def test_the_weights_of_the_first_convolution(small):
    found = Filters().run(small)
    weight = small.module.conv1.weight.detach()
    assert torch.equal(found.pixels, weight)
    expected = [sum(float(v) ** 2 for v in w.flatten()) ** 0.5 for w in weight]
    torch.testing.assert_close(found.score, torch.tensor(expected, dtype=torch.float64))
    assert found.titles == ("conv1: 8 filters of 3×3",)
    facts = {k: v for k, v in found.report.items() if k != "seconds"}
    assert facts == {"gradients": 0, "layer": "conv1", "filters": 8, "kernel": [3, 3]}


def test_the_result_does_not_follow_the_network(small):
    found = Filters().run(small)
    before = small.module.conv1.weight.detach().clone()
    small.module.conv1.weight.data.zero_()
    assert torch.equal(found.pixels, before)


class Backwards(nn.Module):
    """Runs its convolutions in another order than it declares them, one without colours first."""

    def __init__(self) -> None:
        super().__init__()
        self.never = nn.Conv2d(3, 4, 3)
        self.second = nn.Conv2d(3, 6, 3)
        self.first = nn.Conv2d(3, 5, (2, 4))
        self.grouped = nn.Conv2d(3, 3, 1, groups=3)

    def forward(self, x):
        x = self.grouped(x)
        return torch.cat([self.first(x).mean((2, 3)), self.second(x).mean((2, 3))], 1)


def test_the_first_one_is_the_first_that_runs():
    module = Backwards()
    found = Filters().run(pg.Classifier(module, size=16))
    assert torch.equal(found.pixels, module.first.weight)
    assert found.titles == ("first: 5 filters of 2×4",)


def test_a_network_without_any_is_said():
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16, 4))
    with pytest.raises(ModelError, match="mlp has no convolution over three colours"):
        Filters().run(pg.Classifier(module, size=4, name="mlp"))


def test_pictures_say_only_at_which_size_the_network_runs():
    module = nn.Sequential(
        nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(2 * 36, 4)
    )  # takes 8×8 and nothing else
    model = pg.Classifier(module)
    found = Filters().run(model, torch.rand(5, 3, 8, 8))
    assert torch.equal(found.pixels, module[0].weight)
    with pytest.raises(ModelError):
        Filters().run(model)


def drawn(found):
    return np.asarray(found.image()).astype(int)


def test_each_filter_is_scaled_on_its_own_around_mid_grey(small):
    weight = small.module.conv1.weight.data
    weight[0] = 0
    weight[1] = 0
    weight[1, 0, 0, 0], weight[1, 2, 1, 1] = 1e-3, -5e-4  # red; and half as much of the opposite of blue
    image = drawn(Filters().run(small))
    columns, side = 4, 63  # 8 filters in two rows of 4, each 3×3 enlarged by 21
    assert image.shape[1] == 2 * GAP + columns * side + (columns - 1) * TILE_GAP
    for k in range(8):
        x = GAP + k % columns * (side + TILE_GAP)
        y = TOP + k // columns * (side + TILE_HEAD + TILE_GAP)
        tile = image[y : y + side, x : x + side]
        squares = tile.reshape(3, 21, 3, 21, 3)
        assert (squares == squares[:, :1, :, :1]).all(), "pixels are square"
        w = weight[k]
        unit = 0.5 + w / (2 * max(float(w.abs().max()), 1e-300))
        expected = (unit * 255).round().permute(1, 2, 0).numpy()
        assert np.abs(squares[:, 0, :, 0] - expected).max() == 0
    zero, one = image[TOP + 1, GAP + 1], image[TOP + 1, GAP + side + TILE_GAP + 1]
    assert set(zero) == {128}
    assert one.tolist() == [255, 128, 128]


def test_a_lone_filter_has_its_label_too():
    module = nn.Sequential(nn.Conv2d(3, 1, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    found = Filters().run(pg.Classifier(module, size=8))
    assert found.image().width > 60
    assert found.image().size == found.picture().size


def test_a_result_can_be_kept(small):
    found = Filters().run(small)
    again = pickle.loads(pickle.dumps(found))
    assert again.image().tobytes() == found.image().tobytes()


def test_command_without_a_picture(done, here, random_squeezenet):
    options = ("-m", "squeezenet1_1", "--weights", random_squeezenet, "--raw")
    text = done("show", "filters", *options)
    assert text.splitlines() == ["features.0: 64 filters of 3×3", "wrote filters.png"]
    expected = load_file(random_squeezenet)["features.0.weight"]
    assert torch.equal(load_file("filters.safetensors")["pixels"], expected)
    assert images.recipe("filters.png")["images"] == []
    done("redo", "filters.png", "-o", "again.png")
    assert (here / "again.png").read_bytes() == (here / "filters.png").read_bytes()


def test_command_with_pictures_is_the_same_picture(done, here):
    done("show", "filters")
    facts = json.loads(done("show", "filters", "sample:cat", "sample:coffee", "-o", "b.png", "--json"))
    assert facts["report"]["filters"] == 32
    assert images.read("filters.png").tobytes() == images.read("b.png").tobytes()


def test_command_on_a_network_without_any(fails, monkeypatch):
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16, 4))
    monkeypatch.setattr("pixelgrad.cli.make.load", lambda *_: pg.Classifier(module, size=4, name="mlp"))
    assert fails("show", "filters").startswith("error: mlp has no convolution")
