"""Feature inversion: the loss against its formula, what can be inverted exactly, sweeps, early ends, going on."""

from __future__ import annotations

import csv

import pytest
import torch
from torch import nn

import pixelgrad as pg
from pixelgrad.errors import Cancelled, ModelError, NotFound, SettingError
from pixelgrad.follow.inversion import _LogLoss
from pixelgrad.gradient import evaluate
from pixelgrad.objectives.alpha_norm import AlphaNorm
from pixelgrad.objectives.variation import Variation


def make(**settings):
    return pg.make("follow/inversion", **({"steps": 6} | settings))


def error(model, layer, got, pixels):
    """√(‖Φ − Φ₀‖² / ‖Φ₀‖²) of each picture."""
    with torch.no_grad():
        a, b = (model.activations(x, [layer])[layer].flatten(1) for x in (got, pixels))
    return (a - b).norm(dim=1) / b.norm(dim=1)


def test_the_alpha_norm_is_its_formula(pixels):
    slow = torch.stack([sum(abs(v - 0.5) ** 6 for v in x.flatten()) for x in pixels])
    torch.testing.assert_close(AlphaNorm()({"pixels": pixels}), slow, rtol=1e-12, atol=0)


def test_the_loss_is_its_formula(small, pixels):
    with torch.no_grad():
        wanted = small.activations(pixels, ["conv2"])["conv2"]
    objective = _LogLoss(
        "conv2", wanted, wanted.flatten(1).norm(dim=1), 0.01 * Variation(1.5) + 0.02 * AlphaNorm(4)
    )
    x = torch.rand_like(pixels, requires_grad=True)
    features = small.module.eval()
    phi = features.conv2(features.pool(features.bn1(features.conv1((x - 0.45) / 0.25)).relu()))
    share = ((phi - wanted) ** 2).sum((1, 2, 3)) / (wanted**2).sum((1, 2, 3))
    across, down = x[:, :, :-1, 1:] - x[:, :, :-1, :-1], x[:, :, 1:, :-1] - x[:, :, :-1, :-1]
    tv = ((across**2 + down**2) ** 0.75).sum((1, 2, 3))
    loss = share + 0.01 * tv + 0.02 * ((x - 0.5) ** 4).sum((1, 2, 3))
    (expected,) = torch.autograd.grad(loss.sum(), x)
    found = evaluate(small, objective, x.detach())
    torch.testing.assert_close(found.score, -loss.detach().log(), rtol=1e-10, atol=0)
    torch.testing.assert_close(
        found.gradient, -expected / loss.detach()[:, None, None, None], rtol=1e-9, atol=1e-13
    )


class Turning(nn.Module):
    """An invertible linear map of the colours at each pixel, and then logits."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3, 3, 1)
        self.mix.weight.data = torch.tensor([[1.0, 0.5, 0.0], [0.0, 1.0, -0.5], [0.5, 0.0, 1.0]])[
            ..., None, None
        ]

    def forward(self, x):
        return self.mix(x).mean((2, 3))


@pytest.mark.parametrize(("optimizer", "steps"), [("adam", 400), ("momentum", 400)])
def test_an_invertible_layer_gives_the_picture_back(optimizer, steps):
    model = pg.Classifier(Turning(), mean=0.5, std=0.5, size=16)
    smooth = torch.linspace(0.2, 0.8, 16)
    pixels = torch.stack([smooth.expand(16, 16), smooth[:, None].expand(16, 16), 1 - smooth.expand(16, 16)])[
        None
    ]
    found = make(layer="mix", steps=steps, optimizer=optimizer, variation=0.0).run(model, pixels)
    assert found.report["images"][0]["error"]["mix"] < 0.02
    assert (found.pixels - pixels).abs().max() < 0.05


def test_the_error_is_that_of_the_picture_as_saved(small, pixels, tmp_path):
    found = make(layer="relu").run(small, pixels[:1])
    found.save(tmp_path / "back.png")
    again = pg.open_image(tmp_path / "back.png").double()
    told = found.report["images"][0]["error"]["relu"]
    assert float(error(small, "relu", again, pixels[:1])) == pytest.approx(told, rel=1e-9)


def test_more_steps_remember_more(small, pixels):
    few, many = (make(layer="relu", steps=steps).run(small, pixels) for steps in (3, 60))
    for a, b in zip(few.report["images"], many.report["images"], strict=True):
        assert b["error"]["relu"] < 0.6 * a["error"]["relu"]


def test_a_sweep_is_its_layers_one_by_one(small, pixels, tmp_path):
    together = make(layer=("conv1", "pool", "conv2")).run(small, pixels[:2])
    assert together.pixels.shape == (2, 3, 3, 16, 16)
    for k, layer in enumerate(("conv1", "pool", "conv2")):
        alone = make(layer=layer).run(small, pixels[:2])
        assert torch.equal(alone.pixels, together.pixels[:, k])
        for i in range(2):
            one, all_ = (r.report["images"][i]["error"][layer] for r in (alone, together))
            assert one == all_
    together.save(tmp_path / "strip.png")
    with (tmp_path / "strip.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["image"], row["layer"]) for row in rows] == [
        (i, layer) for i in "01" for layer in ("conv1", "pool", "conv2")
    ]
    assert float(rows[4]["error"]) == together.report["images"][1]["error"]["pool"]


def test_a_picture_is_finished_at_the_target_error(small, pixels):
    whole = make(layer="relu", steps=80, error=0.3).run(small, pixels)
    for fact in whole.report["images"]:
        assert fact["error"]["relu"] <= 0.3
        assert fact["gradients"]["relu"] < 80
    assert len({fact["gradients"]["relu"] for fact in whole.report["images"]}) > 1


def test_the_pass_stops_at_the_layer(small, pixels):
    small.module.conv2.register_forward_hook(lambda *_: pytest.fail("ran past the layer"))
    make(layer="pool").run(small, pixels)


@pytest.mark.parametrize("at", [1, 8, 13])
def test_a_sweep_that_was_interrupted_goes_on_bit_for_bit(small, pixels, tmp_path, at):
    technique = make(layer=("conv1", "pool", "conv2"), steps=5)
    seen = []

    def stop(step):
        seen.append(step.done)
        if step.done == at:
            raise Cancelled

    file = tmp_path / "part"
    part = technique.run(small, pixels, stop, checkpoint=file, frames=2)
    assert part.report["interrupted"] == at
    assert part.table[-1]["layer"] == ("conv1", "pool", "conv2")[(at - 1) // 5]
    found = technique.run(small, pixels, seen.append, checkpoint=file, frames=2)
    whole = technique.run(small, pixels, frames=2)
    assert torch.equal(found.pixels, whole.pixels)
    assert found.report["images"] == whole.report["images"]
    assert all(torch.equal(a, b) for a, b in zip(found.frames, whole.frames, strict=True))
    assert seen[-1].done == seen[-1].total == 15
    assert list(tmp_path.iterdir()) == []


def test_what_was_left_over_by_a_run_that_was_given_up_is_not_gone_on_with(small, pixels, tmp_path):
    def stop(_):
        raise Cancelled

    make(layer="conv1").run(small, pixels, stop, checkpoint=tmp_path / "part")
    (tmp_path / "part").unlink()
    found = make(layer="conv1", seed=1).run(small, pixels, checkpoint=tmp_path / "part")
    assert torch.equal(found.pixels, make(layer="conv1", seed=1).run(small, pixels).pixels)


def test_without_a_layer_the_stages_are_swept(small, pixels):
    from pixelgrad.stages import stages

    found = make(steps=1).run(small, pixels)
    assert tuple(found.report["images"][0]["error"]) == stages(small)


def test_a_dead_layer_is_explained(small, pixels, tmp_path):
    small.module.bn1.weight.data.zero_()
    small.module.bn1.bias.data.fill_(-1)
    with pytest.raises(ModelError, match="'pool' of small is zero everywhere"):
        make(layer="pool").run(small, pixels, checkpoint=tmp_path / "part")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("settings", "kind", "message"), [
    ({"layer": "conv9"}, NotFound, "no layer 'conv9'"),
    ({"layer": ()}, SettingError, "or several; got none"),
    ({"beta": 0.5}, SettingError, "beta is from 1 to 4"),
    ({"error": -1.0}, SettingError, "error is from 0 to 1"),
    ({"optimizer": "sgd"}, SettingError, "optimizer is one of adam, momentum"),
])  # fmt: skip
def test_bad_settings_are_said(small, pixels, settings, kind, message):
    with pytest.raises(kind, match=message):
        make(**settings).run(small, pixels)


def test_tokens_of_a_transformer_are_inverted_as_they_are():
    import timm

    torch.manual_seed(0)
    vit = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2, num_classes=5)
    model = pg.Classifier(vit, size=32)
    found = make(layer="blocks.0", steps=30).run(model, torch.rand(1, 3, 32, 32))
    assert found.report["images"][0]["error"]["blocks.0"] < 0.5


def test_on_the_command_line(done, here):
    out = done("follow", "inversion", "sample:cat", "--model", "tinynet", "--steps", "3", "--layer", "layer2")
    assert "layer2" in out
    assert sorted(p.name for p in here.iterdir()) == ["cat-inversion.csv", "cat-inversion.png"]
