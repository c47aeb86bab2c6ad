"""Activations against hooks on the module itself, and the picture of them read back."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file
from torch import nn

import pixelgrad as pg
from pixelgrad import images, pictures
from pixelgrad.errors import ModelError, NotFound, SettingError
from pixelgrad.pictures import GAP, SIDE, TILE_GAP, TILE_HEAD
from pixelgrad.show.activations import Activations, strongest
from pixelgrad.stages import stages

LEFT = GAP + SIDE + GAP  # of the first tile, beside the picture


def hooked(model, layer, pixels):
    """The output of a layer, by a hook on the module in evaluation mode."""
    seen = []
    module = model.module.eval()
    handle = module.get_submodule(layer).register_forward_hook(
        lambda *args: seen.append(args[2].detach().clone())
    )
    with torch.no_grad():
        module(model.normalise(pixels))
    handle.remove()
    return seen[0]


@pytest.mark.parametrize("layer", ["conv1", "bn1", "relu", "pool", "conv2"])
def test_maps_are_what_the_layer_gives(small, pixels, layer):
    found = Activations(layer=layer).run(small, pixels)
    expected = hooked(small, layer, pixels)
    torch.testing.assert_close(found.pixels, expected, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(found.score, expected.flatten(1).max(1).values, rtol=1e-12, atol=0)
    assert found.report["gradients"] == 0
    assert found.report["layer"] == layer
    assert found.report["shape"] == list(expected.shape[1:])
    for fact, maps in zip(found.report["images"], expected, strict=True):
        highest = [float(m.max()) for m in maps]
        assert fact["active"] == sum(bool((m != 0).any()) for m in maps)
        assert fact["strongest"] == highest.index(max(highest))
        assert fact["highest"] == pytest.approx(max(highest))


def test_a_second_run_of_a_layer_is_its_own(small, pixels):
    found = Activations(layer="relu:2").run(small, pixels)
    expected = hooked(small, "conv2", pixels).relu()
    torch.testing.assert_close(found.pixels, expected, rtol=1e-12, atol=1e-14)
    assert found.titles[0].startswith("relu:2 12×8×8: ")


def test_default_is_the_first_stage(small, pixels):
    first = stages(small)[0]
    assert torch.equal(
        Activations().run(small, pixels).pixels, Activations(layer=first).run(small, pixels).pixels
    )


def test_nothing_deeper_than_the_layer_runs(small, pixels):
    ran = []
    small.module.conv2.register_forward_hook(lambda *_: ran.append(1))
    Activations(layer="pool").run(small, pixels)
    assert ran == []


@pytest.mark.parametrize("before", [0, 1])  # tokens that stand before the grid
def test_tokens_of_a_transformer_lie_on_their_grid(before):
    torch.manual_seed(0)
    more = {} if before else {"class_token": False, "global_pool": "avg"}
    module = timm.create_model("vit_tiny_patch16_224", pretrained=False, img_size=64, depth=2, **more).eval()
    model = pg.Classifier(module, mean=0.5, std=0.5, size=64)
    pixels = torch.rand(2, 3, 64, 64)
    found = Activations(layer="blocks.0").run(model, pixels)
    tokens = hooked(model, "blocks.0", pixels)
    assert tokens.shape == (2, 16 + before, 192)
    for i in range(4):
        for j in range(4):
            torch.testing.assert_close(found.pixels[:, :, i, j], tokens[:, before + 4 * i + j])


@pytest.mark.parametrize(
    ("layer", "kind", "message"),
    [
        ("conv3", NotFound, "did you mean 'conv"),
        ("logits", NotFound, "no layer 'logits'"),
        ("fc", SettingError, "layer 'fc' gives"),
        ("conv1:2", ModelError, "'conv1:2' of small gave no tensor"),
    ],
)
def test_a_layer_without_maps_is_said(small, pixels, layer, kind, message):
    with pytest.raises(kind, match=message):
        Activations(layer=layer).run(small, pixels)


def test_no_pictures_are_said(small, pixels):
    with pytest.raises(ModelError, match="no images"):
        Activations(layer="conv1").run(small, pixels[:0])


# ---------------------------------------------------------------------- which channels


def test_the_strongest_come_first():
    maps = torch.zeros(5, 2, 2)
    for channel, value in enumerate([1.0, 3.0, -1.0, 3.0, 2.0]):
        maps[channel, 1, 0] = value
    assert strongest(maps, 4) == [1, 3, 4, 0]  # equal ones: the lower index first
    assert strongest(maps, 1) == [1]
    assert strongest(maps, 5) == strongest(maps, 9) == [0, 1, 2, 3, 4]


def test_title_and_number_of_channels(small, pixels):
    some = Activations(layer="relu", channels=3).run(small, pixels[:1])
    k, highest = some.report["images"][0]["strongest"], some.report["images"][0]["highest"]
    end = f"8 channels active, highest {highest:.3g} in channel {k}"
    assert some.titles == (f"relu 8×16×16: the 3 strongest of 8; {end}",)
    assert some.pixels.shape == (1, 8, 16, 16), "the floats are of all channels"
    every = Activations(layer="relu", channels=8).run(small, pixels[:1])
    assert every.titles == (f"relu 8×16×16: {end}",)
    with pytest.raises(SettingError, match="channels is at least 1"):
        Activations(channels=0)


# ---------------------------------------------------------------------- the picture


class Painted(nn.Module):
    """Two stages: what it is given, times a weight for each channel; and the same rectified."""

    def __init__(self, *weights: float) -> None:
        super().__init__()
        self.times = nn.Conv2d(3, len(weights), 1, bias=False)
        self.times.weight.data.zero_()
        for k, weight in enumerate(weights):
            self.times.weight.data[k, k % 3, 0, 0] = weight
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.relu(self.times(x)).mean((2, 3))


def top(image):
    """Of a block under its title, whose maps are not higher than the picture with its scale."""
    return len(image) - GAP - (SIDE + 4 + 26)


def tile(image, i, columns, side):
    """The map at place i of a block, without its label."""
    x = LEFT + i % columns * (side + TILE_GAP)
    y = top(image) + i // columns * (side + TILE_HEAD + TILE_GAP) + TILE_HEAD
    return image[y : y + side, x : x + side]


def read(found):
    return np.asarray(found.image()).astype(int)


def in_colours(maps, lo, hi, name):
    return np.asarray(pictures.colour(maps, lo, hi, name)).astype(int)


@pytest.mark.parametrize(("layer", "name"), [("relu", pictures.MAP), ("times", pictures.SIGNED)])
def test_the_picture_beside_its_maps_with_one_scale(layer, name):
    model = pg.Classifier(Painted(1, -2, 4, 8), mean=0.5, size=7)
    pixels = torch.rand(1, 3, 7, 7)
    found = Activations(layer=layer, channels=3).run(model, pixels)
    image = read(found)
    photo = image[top(image) :][:SIDE, GAP : GAP + SIDE].reshape(7, 32, 7, 32, 3)
    assert (photo == np.asarray(images.to_image(pixels[0])).reshape(7, 1, 7, 1, 3)).all()
    order = sorted(range(4), key=lambda c: -float(found.pixels[0, c].max()))
    maps = found.pixels[0][order[:3]]
    hi = float(np.quantile(maps.abs().double().numpy(), 0.995))
    lo = -hi if layer == "times" else 0.0
    # three tiles in two columns, each 7×7 enlarged by 14
    assert image.shape[1] == LEFT + 2 * 98 + TILE_GAP + GAP
    for i in range(3):
        squares = tile(image, i, 2, 98).reshape(7, 14, 7, 14, 3)
        expected = in_colours(maps[i], lo, hi, name)
        assert (squares == expected[:, None, :, None]).all()
    bar = image[top(image) + SIDE + 4, GAP : GAP + SIDE]
    lowest, highest = in_colours(torch.tensor([[0.0, 1.0]]), 0, 1, name)[0]
    assert (bar[0] == lowest).all()
    assert (bar[-1] == highest).all()


def test_negative_ones_are_blue_around_a_grey_zero():
    model = pg.Classifier(Painted(1, -1, 0), size=8)
    pixels = torch.ones(1, 3, 8, 8)
    pixels[:, :, :4] = 0
    image = read(Activations(layer="times").run(model, pixels))
    up, down, none = (tile(image, i, 2, 96) for i in range(3))
    red, blue, zero = up[-1, 0], down[-1, 0], none[-1, 0]
    assert red[0] > 2 * red[2]
    assert blue[2] > 2 * blue[0]
    assert zero.max() - zero.min() <= 2, "grey"
    assert (none == zero).all()
    assert (up[:48] == zero).all()
    assert (down[:48] == zero).all()
    assert (up[48:] == red).all()


def test_a_lone_value_among_thousands_is_seen():
    model = pg.Classifier(Painted(1), size=32)
    pixels = torch.zeros(1, 3, 32, 32)
    pixels[0, 0, 5, 6] = 1
    image = read(Activations(layer="relu").run(model, pixels))
    bright, dark = in_colours(torch.tensor([[1.0, 0.0]]), 0, 1, pictures.MAP)[0]
    map_ = tile(image, 0, 1, 96)[::3, ::3]
    assert (map_[5, 6] == bright).all()
    map_[5, 6] = dark
    assert (map_ == dark).all()


def test_a_dead_layer_is_said_and_shown():
    model = pg.Classifier(Painted(-1, -2, -3), size=7)
    found = Activations(layer="relu").run(model, torch.rand(1, 3, 7, 7) + 0.01)
    assert found.titles == ("relu 3×7×7: no channel is active on this picture",)
    assert found.report["images"] == [{"active": 0, "strongest": None, "highest": 0.0}]
    image = read(found)
    assert (tile(image, 0, 2, 98) == in_colours(torch.zeros(1, 1), 0, 1, pictures.MAP)[0, 0]).all()


def test_several_pictures_are_blocks_each_as_if_alone(small, pixels):
    found = Activations(layer="conv2", channels=5).run(small, pixels[:3])
    image = read(found)
    alone = [read(Activations(layer="conv2", channels=5).run(small, pixels[i : i + 1])) for i in range(3)]
    assert (image == np.concatenate(alone)).all()


def test_a_result_can_be_kept(small, pixels):
    found = Activations(layer="conv2").run(small, pixels)
    again = pickle.loads(pickle.dumps(found))
    assert again.image().tobytes() == found.image().tobytes()


# ---------------------------------------------------------------------- the command


def test_command(done, here, lite0):
    text = done("show", "activations", "sample:cat", "--layer", "conv_head", "--channels", 12, "--raw")
    cat = pg.open_image("sample:cat", lite0)
    expected = lite0.activations(cat, ["conv_head"])["conv_head"].detach()
    best = int(expected[0].amax((1, 2)).argmax())
    assert text.startswith("sample:cat: conv_head 1280×7×7: the 12 strongest of 1280; ")
    assert f"in channel {best}\n" in text
    raw = load_file("cat-activations.safetensors")["pixels"]
    torch.testing.assert_close(raw, expected, rtol=1e-4, atol=1e-4)
    done("redo", "cat-activations.png", "-o", "again.png")
    assert (here / "again.png").read_bytes() == (here / "cat-activations.png").read_bytes()


def test_command_of_several_pictures_in_its_defaults(done, here):
    facts = json.loads(done("show", "activations", "sample:cat", "sample:coffee", "--json"))
    assert facts["out"] == "activations.png"
    assert len(facts["report"]["images"]) == 2
    assert facts["settings"] == {}


def test_command_of_a_layer_that_is_not_there(fails, here):
    assert "did you mean" in fails("show", "activations", "sample:cat", "--layer", "conv_haed")
    assert "image-shaped" in fails("show", "activations", "sample:cat", "--layer", "classifier")
