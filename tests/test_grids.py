"""Outputs of all forms, put on the picture."""

from __future__ import annotations

import pytest
import timm
import torch

from pixelgrad.errors import SettingError
from pixelgrad.grids import grid, spatial
from pixelgrad.taps import tapped

IMAGE = torch.rand(2, 40, 7, 9)


@pytest.mark.parametrize("before", [0, 1, 2, 5])
def test_tokens_are_put_on_the_grid_without_those_before_it(before):
    tokens = torch.cat([torch.full((2, before, 40), torch.nan), IMAGE.flatten(2).mT], 1)
    assert torch.equal(spatial(tokens, (7 * 16, 9 * 16)), IMAGE)


def test_tokens_of_a_picture_that_is_no_multiple_of_the_patch():
    assert torch.equal(spatial(IMAGE.flatten(2).mT, (7 * 16 + 3, 9 * 16 + 5)), IMAGE)


@pytest.mark.parametrize("size", [(7 * 32, 9 * 32), (7 * 32 - 13, 9 * 32 - 13)])
def test_channels_may_be_last(size):
    assert torch.equal(spatial(IMAGE, size), IMAGE)
    assert torch.equal(spatial(IMAGE.permute(0, 2, 3, 1), size), IMAGE)


def test_a_cube_has_its_channels_first():
    cube = torch.rand(1, 7, 7, 7)
    assert torch.equal(spatial(cube, (224, 224)), cube)


@pytest.mark.parametrize("shape", [(1000,), (1000, 3), (3, 197, 64), (), (2, 3, 7, 7)])
def test_what_is_no_image_is_an_error_of_one_line(shape):
    assert grid(shape, (224, 224)) is None
    with pytest.raises(SettingError) as caught:
        spatial(torch.zeros(2, *shape), (224, 224), "head")
    assert str(caught.value) == (
        f"layer 'head' gives {shape} per image; choose one with an image-shaped output: `pixelgrad layers` lists them"
    )


@pytest.mark.parametrize(("size", "name", "layer", "shape"), [
    ((224, 224), "vit_tiny_patch16_224", "blocks.3", (192, 14, 14)),
    ((160, 256), "vit_tiny_patch16_224", "norm", (192, 10, 16)),
    ((224, 224), "swin_tiny_patch4_window7_224", "layers.1", (192, 28, 28)),
    ((224, 448), "swin_tiny_patch4_window7_224", "layers.3", (768, 7, 14)),
    ((96, 160), "resnet18", "layer4", (512, 3, 5)),
])  # fmt: skip
def test_networks(size, name, layer, shape):
    sized = {} if name == "resnet18" else {"img_size": size}
    module = timm.create_model(name, pretrained=False, **sized).eval()
    with torch.no_grad(), tapped(module, [layer], stop=False) as found:
        module(torch.rand(1, 3, *size))
    assert spatial(found[layer], size).shape == (1, *shape)


def test_a_token_of_a_vision_transformer_is_where_its_patch_is():
    """The embedding of a picture with one patch that is not grey differs at that place alone."""
    module = timm.create_model("vit_tiny_patch16_224", pretrained=False, img_size=(96, 160)).eval()
    pictures = torch.full((2, 3, 96, 160), 0.5)
    pictures[1, :, 32:48, 112:128] = 1
    with torch.no_grad(), tapped(module, ["patch_drop"], stop=False) as found:
        module(pictures)
    values = spatial(found["patch_drop"], (96, 160))
    assert (values[0] - values[1]).abs().amax(0).nonzero().tolist() == [[2, 7]]
