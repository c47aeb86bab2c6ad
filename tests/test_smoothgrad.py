"""SmoothGrad and its relatives against a slow loop, a closed form, and each other."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

import pixelgrad as pg
from pixelgrad.errors import ModelError, NotFound, SettingError
from pixelgrad.show.smoothgrad import SmoothGrad

KINDS = ("mean", "squared", "variance")


def by_hand(model, x, target, kind, samples, noise, seed):
    """One picture, one noisy copy at a time, as the papers write it."""
    random = torch.Generator().manual_seed(seed)
    sigma = noise * (float(x.max()) - float(x.min()))
    grads = []
    for _ in range(samples):
        copy = (x + sigma * torch.randn(x.shape, generator=random).double())[None].requires_grad_()
        with model.any_range():
            score = model(copy)[0, target]
        grads.append(torch.autograd.grad(score, copy)[0][0])
    g = torch.stack(grads)
    mean = g.mean(0)
    found = {"mean": mean.abs(), "squared": (g**2).mean(0), "variance": ((g - mean) ** 2).mean(0)}[kind]
    return found.max(0).values


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [0, 7])
def test_equals_a_slow_loop(small, pixels, kind, seed):
    found = SmoothGrad(target="cat", kind=kind, samples=6, noise=0.3, seed=seed).run(small, pixels)
    for x, values in zip(pixels, found.pixels, strict=True):
        expected = by_hand(small, x, 2, kind, 6, 0.3, seed)
        torch.testing.assert_close(values, expected, rtol=1e-10, atol=1e-14)
    assert found.report["gradients"] == 6


def test_the_mean_over_seeds_is_that_of_more_samples(small, pixels):
    """Squares add up without signs: two runs of N samples are, on average, one of 2N."""
    x = pixels[:1]
    maps = [SmoothGrad(target=1, kind="squared", samples=200, seed=s).run(small, x).pixels for s in range(4)]
    many = SmoothGrad(target=1, kind="squared", samples=800, seed=9).run(small, x).pixels
    off = (torch.stack(maps).mean(0) - many).abs().mean() / many.mean()
    assert float(off) < 0.12


@pytest.mark.parametrize(("kind", "power"), [("mean", 1), ("squared", 2), ("variance", None)])
def test_linear_model(kind, power):
    module = nn.Sequential(nn.Flatten(), nn.Linear(75, 4)).double()
    found = SmoothGrad(target=1, kind=kind).run(
        pg.Classifier(module, std=0.5), torch.rand(2, 3, 5, 5).double()
    )
    weight = (module[1].weight[1].detach().reshape(3, 5, 5) * 2).abs()
    expected = (weight**power if power else torch.zeros_like(weight)).amax(0).expand(2, 5, 5)
    torch.testing.assert_close(found.pixels, expected, rtol=1e-12, atol=1e-28)


def test_without_noise_it_is_saliency(small, pixels):
    found = SmoothGrad(noise=0, samples=3).run(small, pixels)
    plain = pg.make("show/saliency").run(small, pixels)
    torch.testing.assert_close(found.pixels, plain.pixels, rtol=1e-12, atol=0)
    torch.testing.assert_close(found.score, plain.score)
    assert found.titles == plain.titles


def test_the_class_is_that_of_the_picture_without_noise(small, pixels):
    found = SmoothGrad(noise=2).run(small, pixels)
    fixed = SmoothGrad(noise=2, target=tuple(small(pixels).argmax(1).tolist())).run(small, pixels)
    assert torch.equal(found.pixels, fixed.pixels)
    summed = SmoothGrad(noise=2, objective="0.5 * Logit() + 0.5 * Logit()").run(small, pixels)
    torch.testing.assert_close(summed.pixels, found.pixels, rtol=1e-10, atol=1e-14)


def test_objective_of_a_layer(small, pixels):
    found = SmoothGrad(objective="Channel('conv1', 3)", samples=2).run(small, pixels)
    expected = small.activations(pixels, ["conv1"])["conv1"][:, 3].mean((1, 2))
    torch.testing.assert_close(found.score, expected)


def test_progress_is_by_sample(small, pixels):
    seen = []
    SmoothGrad(samples=5).run(small, pixels, seen.append)
    assert [(s.done, s.total) for s in seen] == [(k, 5) for k in range(1, 6)]


def test_vision_transformer():
    torch.manual_seed(0)
    vit = timm.create_model("vit_tiny_patch16_224", pretrained=False, img_size=64, num_classes=5, depth=2)
    model = pg.Classifier(vit.double(), mean=0.5, std=0.5, size=64)
    x = torch.rand(2, 3, 64, 64).double()
    found = SmoothGrad(target=1, samples=2).run(model, x)
    torch.testing.assert_close(
        found.pixels[1], by_hand(model, x[1], 1, "mean", 2, 0.15, 0), rtol=1e-8, atol=1e-14
    )


@pytest.mark.parametrize(("values", "message"), [
    ({"samples": 0}, "samples is at least 1; got 0"),
    ({"noise": -0.1}, "noise is at least 0"),
    ({"kind": "median"}, "kind is one of mean, squared, variance"),
])  # fmt: skip
def test_bad_settings(values, message):
    with pytest.raises(SettingError, match=message):
        SmoothGrad(**values)


def test_bad_input(small, pixels):
    with pytest.raises(NotFound, match=r"no class .9"):
        SmoothGrad(target=9).run(small, pixels)
    with pytest.raises(ModelError, match="no images"):
        SmoothGrad().run(small, pixels[:0])
    with pytest.raises(SettingError, match="2 targets for 5 images"):
        SmoothGrad(target=(1, 2)).run(small, pixels)


def test_a_picture_that_is_out_of_range_is_still_said(small, pixels):
    with pytest.warns(UserWarning, match="already normalised"):
        SmoothGrad(samples=1).run(small, pixels * 2 - 1)
