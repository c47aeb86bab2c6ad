"""Backward rules on the graphs of real networks: every rectifier is found, nothing stays behind."""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from contextlib import suppress
from unittest.mock import patch

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

import pixelgrad as pg
from pixelgrad.errors import ModelError
from pixelgrad.gradient import evaluate
from pixelgrad.objectives.logit import Logit
from pixelgrad.rules import BackwardRule, nodes, rectifier
from tests.test_classifier import same, state_of
from tests.test_deconvnet import error

NETWORKS = {
    "googlenet": (64, {"init_weights": False}),
    "inception_v3": (96, {"init_weights": False}),
    "squeezenet1_0": (48, {}),
    "resnet18": (64, {}),
    "vgg11": (32, {}),
    "densenet121": (64, {}),
    "mobilenet_v2": (64, {}),
}


def random_network(name):
    size, more = NETWORKS[name]
    torch.manual_seed(0)
    module = torchvision.models.get_model(name, weights=None, **more).eval()
    return pg.Classifier(module, mean=0.45, std=0.25, size=size, name=name)


def counted(module, x):
    """How often a network rectifies, by what it calls."""
    calls = Counter()
    relu, relu6 = F.relu, F.hardtanh

    def count(name, function):
        def counting(*args, **more):
            calls[name] += 1
            return function(*args, **more)

        return counting

    # nn.ReLU and nn.ReLU6 call these as well
    counting_relu = patch.object(F, "relu", count("ReLU", relu))
    with counting_relu, patch.object(F, "hardtanh", count("ReLU6", relu6)), torch.no_grad():
        module(x)
    return calls


@pytest.mark.parametrize("name", NETWORKS)
def test_every_rectifier_is_found(name):
    model = random_network(name)
    size = model.preprocessing.size
    x = torch.rand(2, 3, *size)
    expected = counted(model.module.eval(), model.normalise(x))
    if name == "googlenet":
        assert expected == {"ReLU": 57}
    plain = evaluate(model, Logit(3), x).gradient
    for kind in ("deconvnet", "guided"):
        rule = BackwardRule(kind)
        found = evaluate(model, Logit(3), x, rule=rule, chunk=1).gradient
        assert rule.rectifiers == expected
        assert not rule.others
        assert error(found, plain) > 0.1
    assert torch.equal(evaluate(model, Logit(3), x).gradient, plain), "a rule is gone with its graph"


class Bounds(nn.Module):
    """Clamps that do not rectify, one that does, and GELU."""

    def forward(self, x):
        x = F.gelu(x.clamp(0, 1)) + F.hardtanh(x, -1, 1) + x.clamp(max=3) + F.threshold(x, 0.1, 0)
        x = x + x.clamp(min=x.new_zeros(())) + F.hardtanh(x, 0, 1)
        return x.clamp(min=0).mean((2, 3))


def test_a_clamp_for_other_purposes_is_no_rectifier():
    rule = BackwardRule("guided")
    evaluate(pg.Classifier(Bounds()), Logit(0), torch.rand(1, 3, 4, 4), rule=rule)
    assert rule.rectifiers == {"clamp": 1}
    assert rule.others == {"GELU": 1, "clamp": 3, "hardtanh": 2, "threshold": 1}


@pytest.mark.parametrize(("call", "name"), [
    (F.relu, "ReLU"), (lambda a: (a * 1).relu_(), "ReLU"), (nn.ReLU(), "ReLU"),
    (F.relu6, "ReLU6"), (nn.ReLU6(), "ReLU6"), (lambda a: F.hardtanh(a, 0, torch.inf), "hardtanh"),
    (lambda a: a.clamp(min=0), "clamp"), (lambda a: a.clamp(0, 6), "clamp"), (lambda a: a.clamp_min(0), "clamp"),
    (lambda a: F.threshold(a, 0, 0), "threshold"),
    (lambda a: a.clamp(max=0), ""), (lambda a: a.clamp(-1, 1), ""), (nn.Hardtanh(), ""), (torch.sigmoid, ""),
])  # fmt: skip
def test_what_a_rectifier_is(call, name):
    assert rectifier(call(torch.randn(4, requires_grad=True)).grad_fn) == name


@pytest.mark.parametrize("call", [F.relu, F.relu6, lambda a: a.clamp(min=0), lambda a: F.threshold(a, 0, 0)])
def test_guided_lets_nothing_through_at_zero(call):
    x = torch.zeros(1, 3, 2, 2)
    x[0, 0, 0, 0] = 0.5

    class Net(nn.Module):
        def forward(self, x):
            return call(x).sum((2, 3))

    found = evaluate(pg.Classifier(Net()), Logit(0), x, rule=BackwardRule("guided"))
    expected = torch.zeros_like(x)
    expected[0, 0, 0, 0] = 1
    assert torch.equal(found.gradient, expected)


@pytest.mark.parametrize("kind", ["deconvnet", "guided"])
def test_no_rectifier_is_an_error_that_names_what_there_is(kind):
    module = timm.create_model("vit_tiny_patch16_224", depth=2, img_size=32).eval()
    model = pg.Classifier(module, size=32)
    with pytest.raises(ModelError) as caught:
        evaluate(model, Logit(0), torch.rand(1, 3, 32, 32), rule=BackwardRule(kind))
    message = str(caught.value)
    assert message.startswith(f"no rectifier on the way: {kind} has no rule for layer norm (5), ")
    assert "GELU (2)" in message
    assert "attention (2)" in message
    assert message.endswith("; it works on layers that come after a ReLU")
    assert "\n" not in message
    linear = pg.Classifier(nn.Sequential(nn.Flatten(), nn.Linear(12, 3)))
    with pytest.raises(ModelError, match=f"no rectifier on the way: {kind} would be the gradient; it works"):
        evaluate(linear, Logit(0), torch.rand(1, 3, 2, 2), rule=BackwardRule(kind))


def test_silu_is_left_alone_beside_relu(pixels):
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.SiLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(576, 2)
    )
    rule = BackwardRule("deconvnet")
    evaluate(pg.Classifier(module.double()), Logit(0), pixels, rule=rule)
    assert rule.report() == {"rectifiers": {"ReLU": 1}, "left_alone": {"SiLU": 1}}


def test_hooks_are_removed_also_after_a_failure(small, pixels):
    state = state_of(small.module.train())
    x = pixels.requires_grad_()
    with small.borrowed():
        score = small(x)[:, 0]
        (before,) = torch.autograd.grad(score.sum(), x, retain_graph=True)
        with suppress(InterruptedError), BackwardRule("deconvnet")(score):
            (inside,) = torch.autograd.grad(score.sum(), x, retain_graph=True)
            raise InterruptedError
        (after,) = torch.autograd.grad(score.sum(), x)
    assert torch.equal(before, after)
    assert error(inside, before) > 0.01
    assert same(state, state_of(small.module))


def test_the_graph_is_freed():
    x = torch.randn(2, 3, requires_grad=True)
    a = x * 2
    held = weakref.ref(a)
    score = a.clamp(min=0).sum(1)
    with BackwardRule("guided")(score):
        torch.autograd.grad(score.sum(), x)
    del a, score
    gc.collect()
    assert held() is None


def test_nodes_are_walked_once():
    x = torch.randn(3, requires_grad=True)
    a = x.relu()
    assert (
        Counter(node.name().partition("Backward")[0] for node in nodes((a * a + a).sum().grad_fn))["Relu"]
        == 1
    )
