"""Fooling images: minimal distances against closed forms, the course's rule by hand, and files that fool."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import pixelgrad as pg
from pixelgrad import images, jpeg
from pixelgrad.errors import Cancelled, ModelError, SettingError
from pixelgrad.follow.fooling import Fooling, leads
from pixelgrad.saved import eight_bits
from pixelgrad.transforms import exactly


def linear(margin: float, side: int = 12, classes: int = 2):
    """A linear classifier and a mid-grey picture that is `margin` of logits away from class 1."""
    torch.manual_seed(4)
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * side * side, classes)).double()
    x = eight_bits(0.5 + 0.02 * torch.randn(1, 3, side, side, dtype=torch.float64))
    with torch.no_grad():
        gap = module(x)[0]
        module[1].bias[0] += margin - float(gap[0] - gap[1])
    weight = (module[1].weight[1] - module[1].weight[0]).detach()
    return pg.Classifier(module, name="linear"), x, weight


@pytest.mark.parametrize("target", [1, None])
def test_minimal_l2_on_a_linear_model_is_margin_over_norm(target):
    model, x, weight = linear(margin=2.5)
    found = Fooling(target=target, method="minimal", steps=60).run(model, x)
    expected = 2.5 / float(weight.norm())
    assert found.report["success"] == 1
    assert found.report["images"][0]["l2"] == pytest.approx(expected, rel=0.01)


def test_minimal_linf_on_a_linear_model_is_margin_over_norm_1():
    model, x, weight = linear(margin=4)
    expected = 4 / float(weight.abs().sum())
    assert expected > 50 / 255, "8 bits should not be felt"
    found = Fooling(target=1, method="minimal", norm="linf", steps=60).run(model, x)
    assert found.report["success"] == 1
    assert found.report["images"][0]["linf"] == pytest.approx(expected, rel=0.01)


def test_the_courses_rule_step_by_step(small, pixels):
    """x ← x + lr · g/‖g‖₂ until the network, shown 8 bits, says so."""
    target, lr = 3, 0.3
    found = Fooling(target=target, lr=lr).run(small, pixels)
    assert found.report["success"] == 1
    for i in range(len(pixels)):
        z = torch.round(pixels[i : i + 1] * 255) / 255
        used = 0
        while True:
            x = (torch.round(z * 255) / 255).requires_grad_()
            logits = small(x)
            used += 1
            shown = logits[0].tolist()
            if shown[target] - max(shown[:target] + shown[target + 1 :]) > 1e-3:
                break
            (g,) = torch.autograd.grad(logits[0, target], x)
            z = (z + lr * g / g.norm()).clamp(0, 1)
        torch.testing.assert_close(found.pixels[i], x[0].detach(), rtol=0, atol=1e-12)
        assert found.report["images"][i]["gradients"] == used


@pytest.mark.parametrize(
    ("method", "norm"), [("ascent", "l2"), ("minimal", "l2"), ("minimal", "linf"), ("pgd", "linf")]
)
def test_alone_and_in_a_batch(small, pixels, method, norm):
    settings = {"target": 3, "method": method, "norm": norm, "radius": 0.1}
    batch = Fooling(**settings).run(small, pixels)
    for i in range(len(pixels)):
        alone = Fooling(**settings).run(small, pixels[i : i + 1])
        torch.testing.assert_close(alone.pixels[0], batch.pixels[i], rtol=0, atol=1e-12)
        assert alone.report["images"][0]["gradients"] == batch.report["images"][i]["gradients"]


@pytest.mark.parametrize(("norm", "radius"), [("linf", 10 / 255), ("linf", 10.7 / 255), ("l2", 0.7)])
@pytest.mark.parametrize("method", ["fgsm", "pgd"])
def test_the_radius_is_kept_by_the_saved_picture(small, pixels, method, norm, radius):
    found = Fooling(target=4, method=method, norm=norm, radius=radius).run(small, pixels)
    moved = found.pixels - eight_bits(pixels)
    far = moved.flatten(1).abs().amax(1) if norm == "linf" else moved.flatten(1).norm(dim=1)
    # rounding moves each of the 768 values by at most half a step of 8 bits, in any direction
    slack = 0 if norm == "linf" else 0.5 / 255 * math.sqrt(768)
    assert float(far.max()) <= radius + slack + 1e-12
    if norm == "linf":
        assert float(far.max()) == pytest.approx(10 / 255)


def test_fgsm_is_one_step_of_the_sign():
    model, x, weight = linear(margin=1)
    radius = 30 / 255
    assert radius > 1 / float(weight.abs().sum())
    found = Fooling(target=1, method="fgsm", norm="linf", radius=radius).run(model, x)
    expected = (x + radius * weight.sign().reshape(x.shape)).clamp(0, 1)
    torch.testing.assert_close(found.pixels, expected, rtol=0, atol=1e-12)
    assert found.report["images"][0]["gradients"] == 1
    assert found.report["images"][0]["success"]


def test_untargeted(small, pixels):
    found = Fooling(method="minimal").run(small, pixels)
    for f in found.report["images"]:
        assert f["success"]
        assert f["before"] == f["class"] != f["after"]


def test_report_is_what_the_picture_says(small, pixels):
    found = Fooling(target="dog", method="minimal").run(small, pixels)
    logits = small(found.pixels)
    before = small(eight_bits(pixels)).softmax(1)
    for i, f in enumerate(found.report["images"]):
        assert f["success"] == (int(logits[i].argmax()) == 3)
        assert f["after"] == small.labels[int(logits[i].argmax())]
        assert f["confidence_before"] == pytest.approx(float(before[i, 3]))
        assert f["confidence_after"] == pytest.approx(float(logits[i].softmax(0)[3]))
        assert f["l2"] == pytest.approx(float((found.pixels[i] - eight_bits(pixels)[i]).norm()))
        for quality, survived in f["jpeg"].items():
            again = small(jpeg.saved(found.pixels[i : i + 1], int(quality)))
            assert survived == (int(again.argmax()) == 3)


def test_result_has_8_bits_and_its_file_fools(lite0, tmp_path):
    cat = pg.open_image("sample:cat", lite0)
    found = Fooling(target="goldfish", method="minimal", steps=20).run(lite0, cat)
    assert torch.equal(found.pixels, eight_bits(found.pixels))
    found.save(tmp_path / "fooled.png")
    again = pg.open_image(tmp_path / "fooled.png")
    assert torch.equal(again, found.pixels)
    assert lite0.top(again, 1)[0][0].label == "goldfish"
    assert found.report["images"][0]["l2"] < 2


def test_a_photograph_at_its_own_size(lite0, tmp_path):
    images.save(images.read("sample:coffee").crop((100, 0, 430, 300)), tmp_path / "coffee.png")
    photograph = pg.open_image(tmp_path / "coffee.png")
    assert photograph.shape == (1, 3, 300, 330)
    technique = Fooling(target="goldfish", resolution="original")
    found = technique.run(lite0, photograph)
    found.save(tmp_path / "fooled.png")
    assert images.read(tmp_path / "fooled.png").size == (330, 300)
    # as the model's users do: opened, resized, cropped
    assert lite0.top(pg.open_image(tmp_path / "fooled.png", lite0), 1)[0][0].label == "goldfish"


def test_robust_to_jpeg(small):
    x = pg.open_image("sample:cat").double()[..., 100:164, 200:264]
    robust = Fooling(target="bee", method="minimal", robust="jpeg").run(small, x)
    fact = robust.report["images"][0]
    assert fact["success"]
    assert fact["jpeg"]["75"]
    through = small(jpeg.saved(robust.pixels, 75))
    assert int(through.argmax()) == 1
    plain = Fooling(target="bee", method="minimal").run(small, x).report["images"][0]
    assert plain["l2"] < fact["l2"]


def test_exactly_has_the_value_of_one_and_the_gradient_of_the_other():
    value, x = torch.rand(100), torch.rand(100).requires_grad_()
    out = exactly(value, x**2)
    assert torch.equal(out, value)
    assert torch.equal(torch.autograd.grad(out.sum(), x)[0], 2 * x.detach())


def test_leads():
    logits = torch.tensor([[1.0, 5.0, 3.0], [1.0, 5.0, 3.0]])
    assert leads(logits, torch.tensor([1, 2]), away=False).tolist() == [2, -2]
    assert leads(logits, torch.tensor([1, 2]), away=True).tolist() == [-2, 2]


def test_interrupted_and_resumed_equals_uninterrupted(small, pixels, tmp_path):
    technique = Fooling(target=3, method="minimal", steps=12)
    whole = technique.run(small, pixels)

    def stop(step):
        if step.done == 5:
            raise Cancelled

    part = tmp_path / "part"
    first = technique.run(small, pixels, stop, checkpoint=part)
    assert first.report["interrupted"] == 5
    assert part.is_file()
    second = technique.run(small, pixels, checkpoint=part)
    assert torch.equal(second.pixels, whole.pixels)
    assert second.report["images"] == whole.report["images"]
    assert not part.exists()


@pytest.mark.parametrize(("settings", "message"), [
    ({"radius": 0, "method": "pgd"}, "radius is at least 0.001; got 0"),
    ({"radius": 0.001, "norm": "linf"}, "radius is at least 1/255, one step of 8 bits; got 0.001"),
    ({"radius": -1}, "radius is from 0 to 1000"),
    ({"steps": 0}, "steps is from 1"),
    ({"method": "cw"}, "method is one of ascent, minimal, fgsm, pgd"),
])  # fmt: skip
def test_bad_settings(settings, message):
    with pytest.raises(SettingError) as caught:
        Fooling(**settings)
    assert message in str(caught.value)


def test_target_that_is_the_class_already(small, pixels):
    now = small.top(eight_bits(pixels), 1)[0][0].label
    with pytest.raises(SettingError, match=f"small says '{now}' already; choose another target"):
        Fooling(target=now).run(small, pixels[:1])


def test_a_network_whose_gradient_is_zero(pixels):
    class Constant(nn.Module):
        def forward(self, x):
            return torch.stack([x.sum((1, 2, 3)) * 0 + 2, x.sum((1, 2, 3)) * 0], 1)

    with pytest.raises(ModelError, match="zero everywhere after 0 steps"):
        Fooling(target=1).run(pg.Classifier(Constant(), name="constant"), pixels)
