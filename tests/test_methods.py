"""The one map of a method, whatever its technique gives."""

from __future__ import annotations

import pytest
import torch

import pixelgrad as pg
from pixelgrad.errors import SettingError
from pixelgrad.methods import aimed, attribute, comparable, strength


@pytest.mark.parametrize("method", comparable())
def test_every_method_has_a_map_that_is_never_negative(small, pixels, method):
    target, logits = aimed(small, pixels[:2], None)
    found, gradients = attribute(method, small, pixels[:2], target)
    assert target == tuple(logits.argmax(1).tolist())
    assert found.shape == (2, 16, 16)
    assert found.min() >= 0
    assert gradients >= 0


def test_maps_stay_and_signed_ones_are_added_up(small, pixels):
    saliency = pg.make("show/saliency", target=1).run(small, pixels).pixels
    assert torch.equal(attribute("show/saliency", small, pixels, 1).maps, saliency)
    signed = pg.make("show/input-x-gradient", target=1).run(small, pixels).pixels
    assert torch.equal(attribute("input-x-gradient", small, pixels, 1).maps, signed.sum(1).abs())


def test_where_low_values_count_they_become_the_high_ones(small, pixels):
    p = pg.make("show/occlusion", target=1).run(small, pixels).pixels
    found = attribute("occlusion", small, pixels, 1).maps
    assert torch.equal(found.flatten(1).argmax(1), p.flatten(1).argmin(1))
    torch.testing.assert_close(found + p, p.amax((1, 2), keepdim=True).expand_as(p))


def test_what_is_no_map_of_the_picture_is_said(small, pixels):
    for name in ("activations", "deconvnet"):
        with pytest.raises(SettingError, match=f"show/{name} gives no map of each picture"):
            strength(pg.make(f"show/{name}").run(small, pixels))
