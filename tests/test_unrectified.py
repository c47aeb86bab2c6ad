"""A unit counts before its rectifier: the gradient against plain autograd in float64, and what it leaves alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import pixelgrad as pg
from pixelgrad.gradient import evaluate
from pixelgrad.objectives.channel import Channel
from pixelgrad.objectives.logit import Logit
from pixelgrad.objectives.variation import Variation
from pixelgrad.revive import FIRST_STEPS
from pixelgrad.unrectified import measured


class Branches(nn.Module):
    """Rectified layers after each other, joined and on a skip; a rectifier at the very end; a channel that is dead."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.act1 = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True)
        self.left, self.right = nn.Conv2d(4, 3, 1), nn.Conv2d(4, 3, 3, padding=1)
        self.act6, self.pool, self.joined = nn.ReLU6(), nn.MaxPool2d(2), nn.Identity()
        self.conv2, self.act2, self.skip = nn.Conv2d(6, 6, 3, padding=1), nn.ReLU(), nn.Identity()
        self.fc, self.last = nn.Linear(6, 3), nn.ReLU()
        self.right.bias.data[1] = -100

    def before(self, x):
        """What the joined layer has before its rectifiers and its pool."""
        x = self.conv1(x).relu()
        return torch.cat([self.left(x), self.right(x)], 1)

    def forward(self, x):
        x = self.act1(self.conv1(x))
        x = self.joined(self.pool(torch.cat([self.act6(self.left(x)), self.act6(self.right(x))], 1)))
        x = self.skip(x + self.act2(self.conv2(x)))
        return self.last(self.fc(x.mean((2, 3))))


@pytest.fixture
def model():
    torch.manual_seed(3)
    return pg.Classifier(Branches().double().eval(), size=16, name="branches")


@pytest.fixture
def x():
    return torch.rand(2, 3, 16, 16, dtype=torch.float64).requires_grad_()


def followed(model, objective, x, step=FIRST_STEPS):
    return measured(model, objective.resolve(model), x.detach(), (), step)


def gradient(value, x):
    return torch.autograd.grad(value.sum(), x)[0]


def pooled(before, channel):
    """The mean of a channel before its rectifier, where the pool looks after it."""
    where = nn.functional.max_pool2d(before.clamp(0, 6), 2, return_indices=True)[1]
    return before.flatten(2).gather(2, where.flatten(2))[:, channel].mean(1)


@pytest.mark.parametrize("channel", [0, 2, 3, 4])
def test_the_gradient_is_that_before_the_rectifier(model, x, channel):
    found = followed(model, Channel("joined", channel), x)
    expected = gradient(pooled(model.module.before(x), channel), x)
    torch.testing.assert_close(found.gradient, expected, rtol=1e-12, atol=1e-15)
    assert found.gradient[0].any()
    # the score is that of the unit itself: zero where it is dead
    torch.testing.assert_close(
        found.score, model.activations(x, ["joined"])["joined"][:, channel].mean((1, 2))
    )


def test_a_dead_channel_has_no_gradient_otherwise(model, x):
    assert not evaluate(model, Channel("joined", 4), x.detach()).gradient.any()
    assert bool((model.activations(x, ["joined"])["joined"][:, 4] == 0).all())


def test_a_weighted_sum_counts_each_unit_before_its_rectifier(model, x):
    objective = 2 * Channel("joined", 4) - 0.03 * Variation(2.0) - Channel("joined", 0)
    before = model.module.before(x)
    value = 2 * pooled(before, 4) - 0.03 * Variation(2.0)({"pixels": x}) - pooled(before, 0)
    found = followed(model, objective, x).gradient
    torch.testing.assert_close(found, gradient(value, x), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("objective", [Channel("conv2", 1), Channel("skip", 1), Logit(1)], ids=repr)
def test_what_is_no_rectified_unit_keeps_its_gradient(model, x, objective):
    model.module.fc.bias.data += 5  # so that the classes are not dead
    found, expected = followed(model, objective, x), evaluate(model, objective, x.detach())
    torch.testing.assert_close(found.gradient, expected.gradient, rtol=1e-10, atol=1e-15)
    assert expected.gradient.any()


def test_dead_rectifiers_further_down_are_passed_in_the_first_steps_only(model, x):
    model.module.conv1.bias.data -= 100
    model.module.left.weight.data.abs_()  # so that the unit would have more of what is too low
    first, later = (
        followed(model, Channel("joined"), x, step).gradient for step in (FIRST_STEPS - 1, FIRST_STEPS)
    )
    assert bool(first.flatten(1).any(1).all())
    assert not later.any()
