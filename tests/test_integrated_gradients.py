"""Integrated gradients against completeness, a closed form, and Captum in float64."""

from __future__ import annotations

import captum.attr
import pytest
import timm
import torch
from torch import nn

import pixelgrad as pg
from pixelgrad.errors import ModelError, NotFound, SettingError
from pixelgrad.show.integrated_gradients import IntegratedGradients, points


def captums(model, pixels, base, target, rule, steps):
    """Captum's attributions: its input is normalised, as are picture and baseline."""
    method = captum.attr.IntegratedGradients(model.module.eval())
    x, b = model.normalise(pixels), model.normalise(base)
    return method.attribute(x, b, target=target, method=rule, n_steps=steps).detach()


@pytest.mark.parametrize("steps", [2, 16, 50])
@pytest.mark.parametrize(("baseline", "level"), [("black", 0.0), ("grey", 0.5)])
def test_equals_captum(small, pixels, baseline, level, steps):
    settings = {"target": 3, "steps": steps, "tolerance": 1e9}
    base = torch.full_like(pixels, level)
    found = IntegratedGradients(**settings, baseline=baseline).run(small, pixels).pixels
    theirs = captums(small, pixels, base, 3, "gausslegendre", steps)
    # Captum rounds the places to float32; near a rectifier's corner that shows
    assert float((found - theirs).abs().max() / theirs.abs().max()) < 1e-5
    found = IntegratedGradients(**settings, baseline=baseline, rule="trapezoid").run(small, pixels).pixels
    theirs = captums(small, pixels, base, 3, "riemann_trapezoid", steps)
    # Captum's weights of this rule sum to (steps - 1) / steps, so that even a linear model's are not complete
    theirs = theirs * steps / (steps - 1)
    assert float((found - theirs).abs().max() / theirs.abs().max()) < 1e-5


@pytest.mark.parametrize("rule", ["gauss-legendre", "trapezoid"])
@pytest.mark.parametrize("steps", [2, 7])
def test_linear_model(rule, steps):
    """(x − x')·w exactly, whatever the rule and its points."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(75, 4)).double()
    x = torch.rand(2, 3, 5, 5).double()
    found = IntegratedGradients(target=1, rule=rule, steps=steps).run(
        pg.Classifier(module, mean=0.4, std=0.5), x
    )
    expected = x * module[1].weight[1].detach().reshape(3, 5, 5) * 2
    torch.testing.assert_close(found.pixels, expected, rtol=1e-12, atol=1e-15)
    assert found.report["gradients"] == steps
    assert all(f["complete"] and f["residual"] < 1e-12 for f in found.report["images"])


@pytest.mark.parametrize("baseline", ["black", "grey", "blur", "noise"])
def test_complete(small, pixels, baseline):
    """The attributions add up to what the score gains on the way."""
    found = IntegratedGradients(target=2, baseline=baseline, steps=256).run(small, pixels)
    base = IntegratedGradients(baseline=baseline)._baseline(pixels)
    gain = (small(pixels) - small(base))[:, 2]
    off = (found.pixels.sum((1, 2, 3)) - gain).abs() / gain.abs()
    torch.testing.assert_close(off, torch.tensor([f["residual"] for f in found.report["images"]]).double())
    assert float(off.max()) < 0.01


def test_baselines(small, pixels):
    base = {b: IntegratedGradients(baseline=b)._baseline(pixels) for b in ("black", "grey", "blur", "noise")}
    assert not base["black"].any()
    assert (base["grey"] == 0.5).all()
    assert torch.equal(base["noise"][0], base["noise"][4])
    assert not torch.equal(base["noise"], IntegratedGradients(baseline="noise", seed=1)._baseline(pixels))
    torch.testing.assert_close(base["blur"].mean((2, 3)), pixels.mean((2, 3)), rtol=0.05, atol=0)
    assert float(base["blur"].std()) < float(pixels.std()) / 1.5


def test_points_are_doubled_where_they_are_not_enough(small, pixels):
    loose = IntegratedGradients(target=2, steps=4, tolerance=1e9).run(small, pixels)
    residuals = sorted(f["residual"] for f in loose.report["images"])
    assert loose.report["gradients"] == 4
    tolerance = (residuals[1] + residuals[2]) / 2
    found = IntegratedGradients(target=2, steps=4, tolerance=tolerance).run(small, pixels)
    steps = [f["steps"] for f in found.report["images"]]
    assert steps.count(4) == 2
    assert set(steps) <= {4, 8, 16}
    assert found.report["gradients"] == {8: 12, 16: 28}[max(steps)]
    for i, n in enumerate(steps):
        alone = IntegratedGradients(target=2, steps=n, tolerance=1e9).run(small, pixels[i : i + 1])
        torch.testing.assert_close(found.pixels[i], alone.pixels[0], rtol=1e-10, atol=1e-14)


@pytest.fixture
def at_most_8(monkeypatch):
    """Points on the way, in place of hundreds."""
    monkeypatch.setattr("pixelgrad.show.integrated_gradients.MOST", 8)


def test_what_is_not_complete_is_said(small, pixels, at_most_8):
    found = IntegratedGradients(target=2, steps=2, tolerance=0).run(small, pixels)
    for title, fact in zip(found.titles, found.report["images"], strict=True):
        assert fact["steps"] == 8
        assert not fact["complete"]
        assert title.endswith(f"; off by {fact['residual']:.1%} after 8 steps")
    assert found.report["gradients"] == 2 + 4 + 8


def test_the_baseline_itself(small):
    found = IntegratedGradients().run(small, torch.zeros(1, 3, 16, 16).double())
    assert not found.pixels.any()
    assert found.report["images"][0]["residual"] == 0


def test_the_class_is_that_of_the_picture(small, pixels):
    predicted = tuple(small(pixels).argmax(1).tolist())
    found = IntegratedGradients(steps=4).run(small, pixels)
    assert torch.equal(found.pixels, IntegratedGradients(steps=4, target=predicted).run(small, pixels).pixels)


def test_objective_on_the_pixels_themselves(small, pixels):
    """Energy is a square: 2x·x integrated from black is x²."""
    energy = "Energy(mean=(0, 0, 0), std=(1, 1, 1))"
    found = IntegratedGradients(objective=energy, steps=2).run(small, pixels)
    torch.testing.assert_close(found.pixels, pixels**2, rtol=1e-12, atol=1e-14)


def test_vision_transformer_equals_captum():
    vit = timm.create_model("vit_tiny_patch16_224", pretrained=False, img_size=64, num_classes=5, depth=2)
    model = pg.Classifier(vit.double(), mean=0.5, std=0.5, size=64)
    x = torch.rand(2, 3, 64, 64).double()
    found = IntegratedGradients(target=(1, 4), steps=8).run(model, x)
    theirs = captums(
        model, x, torch.zeros_like(x), [1, 4], "gausslegendre", found.report["images"][0]["steps"]
    )
    assert float((found.pixels[0] - theirs[0]).abs().max() / theirs[0].abs().max()) < 1e-6


@pytest.mark.parametrize("steps", [2, 3, 32, 128])
@pytest.mark.parametrize("rule", ["gauss-legendre", "trapezoid"])
def test_weights_sum_to_one(rule, steps):
    places, weights = points(rule, steps)
    assert abs(sum(weights) - 1) < 1e-12
    assert abs(sum(w * p for w, p in zip(weights, places, strict=True)) - 0.5) < 1e-12
    assert all(0 <= p <= 1 for p in places)


def test_progress_grows_with_the_points(small, pixels, at_most_8):
    seen = []
    IntegratedGradients(steps=2, tolerance=0).run(small, pixels, seen.append)
    assert [(s.done, s.total) for s in seen][::3] == [(1, 2), (4, 6), (7, 14), (10, 14), (13, 14)]


def test_bad_input(small, pixels):
    with pytest.raises(SettingError, match="steps is from 2 to 4096; got 0"):
        IntegratedGradients(steps=0)
    with pytest.raises(NotFound, match=r"no class .9"):
        IntegratedGradients(target=9).run(small, pixels)
    with pytest.raises(ModelError, match="no images"):
        IntegratedGradients().run(small, pixels[:0])
