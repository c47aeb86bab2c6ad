"""The gradient against finite differences and closed forms, whatever the batch and the cut."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

import pixelgrad as pg
from pixelgrad.errors import ModelError
from pixelgrad.gradient import evaluate, logits_of, pulsed
from pixelgrad.objectives.base import Objective
from pixelgrad.objectives.channel import Channel
from pixelgrad.objectives.log_probability import LogProbability
from pixelgrad.objectives.logit import Logit

gradient_module = sys.modules["pixelgrad.gradient"]  # pg.gradient is the function

OBJECTIVES = [
    Logit("cat"),
    Logit(),
    Logit((0, 1, 2, 3, 4)),
    LogProbability("dog"),
    Channel("conv2", 3),
    Channel("bn1", 0),
    Logit("bee") - 0.3 * Channel("relu:2", 5),
]


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
def test_finite_differences(small, pixels, objective):
    score, grad = pg.gradient(small, objective, pixels)
    direction = torch.randn(pixels.shape, dtype=torch.float64)
    # small enough that no ReLU or maximum switches on the way, which would not be the gradient's fault
    h = 1e-7
    fixed = objective
    if objective == Logit():  # the predicted class is that of the picture itself
        fixed = Logit(tuple(small(pixels).argmax(1).tolist()))
    ahead, _ = pg.gradient(small, fixed, pixels + h * direction)
    behind, _ = pg.gradient(small, fixed, pixels - h * direction)
    expected = (ahead - behind) / (2 * h)
    torch.testing.assert_close((grad * direction).sum((1, 2, 3)), expected, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(score, (ahead + behind) / 2, rtol=1e-6, atol=1e-8)


def linear(classes=4, side=6):
    torch.manual_seed(3)
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * side * side, classes)).double()
    return pg.Classifier(module, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.5)), module[1].weight


def test_the_gradient_of_a_linear_model_is_the_weight_row():
    model, weight = linear()
    score, grad = pg.gradient(model, Logit(2), torch.rand(3, 3, 6, 6, dtype=torch.float64))
    std = torch.tensor([0.2, 0.25, 0.5], dtype=torch.float64)[:, None, None]
    expected = (weight[2].reshape(3, 6, 6) / std).detach().expand(3, 3, 6, 6)
    torch.testing.assert_close(grad, expected, rtol=1e-12, atol=0)
    assert score.shape == (3,)


def test_log_probability_is_minus_the_cross_entropy(small, pixels):
    y = torch.tensor([0, 1, 2, 3, 4])
    _, grad = pg.gradient(small, LogProbability(tuple(y.tolist())), pixels)
    x = pixels.clone().requires_grad_()
    loss = nn.functional.cross_entropy(small(x), y, reduction="sum")
    torch.testing.assert_close(grad, -torch.autograd.grad(loss, x)[0], rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
@pytest.mark.parametrize("chunk", [1, 2, 3])
def test_the_cut_changes_nothing(small, pixels, objective, chunk):
    whole = evaluate(small, objective, pixels, keep=["logits", "pool"])
    cut = evaluate(small, objective, pixels, keep=["logits", "pool"], chunk=chunk)
    torch.testing.assert_close(cut.score, whole.score, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(cut.gradient, whole.gradient, rtol=1e-12, atol=1e-14)
    for name in ("logits", "pool"):
        torch.testing.assert_close(cut.kept[name], whole.kept[name], rtol=1e-12, atol=1e-14)


def test_memory_running_out_halves_the_cut_for_good(small, pixels, monkeypatch):
    monkeypatch.setitem(gradient_module.TOGETHER, "cpu", 8)
    expected = pg.gradient(small, Logit((0, 1, 2, 3, 4)), pixels)
    sizes = []
    one = gradient_module._one

    def scarce(model, objective, pixels, rows, *more):
        sizes.append(rows.stop - rows.start)
        if sizes[-1] > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return one(model, objective, pixels, rows, *more)

    monkeypatch.setattr(gradient_module, "_one", scarce)
    with pytest.warns(UserWarning, match="memory is too small for") as said:
        found = pg.gradient(small, Logit((0, 1, 2, 3, 4)), pixels)
    assert [str(w.message) for w in said] == [
        f"memory is too small for {many} pictures at once; going on with {few}"
        for many, few in ((5, 2), (2, 1))
    ]
    assert sizes == [5, 2, 1, 1, 1, 1, 1]
    pg.gradient(small, Logit((0, 1, 2, 3, 4)), pixels)
    assert sizes[7:] == [1] * 5
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.filterwarnings("ignore:memory is too small")
def test_memory_too_small_for_one_picture_is_said(small, pixels, monkeypatch):
    monkeypatch.setitem(gradient_module.TOGETHER, "cpu", 8)

    def never(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(gradient_module, "_one", never)
    with pytest.raises(ModelError, match="memory is too small for one picture of 16×16"):
        pg.gradient(small, Logit(), pixels)


def test_no_weight_gradient_is_computed(small, pixels):
    small.module.conv1.weight.register_hook(lambda _: pytest.fail("a weight gradient was computed"))
    pg.gradient(small, Logit(), pixels)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_inside_no_grad(small, pixels, mode):
    expected = pg.gradient(small, Logit(1), pixels)
    with mode():
        found = pg.gradient(small, Logit(1), pixels.clone())
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_input_is_untouched(small, pixels):
    before = pixels.clone()
    pixels.requires_grad_()
    pg.gradient(small, Logit(), pixels)
    assert torch.equal(pixels, before)
    assert pixels.grad is None


def test_progress_is_reported_per_cut(small, pixels):
    seen = []
    evaluate(small, Logit(), pixels, chunk=2, progress=seen.append)
    assert [(step.done, step.total) for step in seen] == [(2, 5), (4, 5), (5, 5)]


def test_a_network_without_gradient_is_said(pixels):
    class Cut(nn.Module):
        def forward(self, x):
            return x.detach().mean((2, 3))

    with pytest.raises(ModelError, match="has no gradient: Cut cuts the graph"):
        pg.gradient(pg.Classifier(Cut()), Logit(), pixels)


def test_an_objective_with_one_score_for_the_batch_is_said(small, pixels):
    class Mean(Objective):
        needs = frozenset({"logits"})

        def __repr__(self):
            return "Mean()"

        def __call__(self, activations):
            return activations["logits"].mean()

    with pytest.raises(ModelError, match="one score per image"):
        pg.gradient(small, Mean(), pixels)


def test_no_images(small, pixels):
    with pytest.raises(ModelError, match="no images"):
        pg.gradient(small, Logit(), pixels[:0])


def test_a_pulse_comes_before_every_pass_and_what_it_raises_ends_the_work(small, pixels):
    class Ended(BaseException):
        pass

    pulses = []

    def pulse():
        pulses.append(len(pulses))
        if len(pulses) == 4:
            raise Ended

    with pulsed(pulse):
        evaluate(small, Logit(), pixels, chunk=2)
        with pulsed(lambda: None):
            logits_of(small, pixels)
        with pytest.raises(Ended):
            pg.make("show/saliency").run(small, pixels.float())
    logits_of(small, pixels)
    assert pulses == [0, 1, 2, 3]
    assert all(module.training for module in small.module.modules())  # as it was before
