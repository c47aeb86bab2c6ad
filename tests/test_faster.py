"""The faster form of a network gives what the network gives, and notices what is done to the network."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

import pixelgrad as pg
from pixelgrad.kernels import Stem
from pixelgrad.objectives.logit import Logit


@pytest.fixture
def plain(small):
    """Logits of the module itself."""

    def plain(pixels):
        with torch.no_grad():
            return small.module.eval()((pixels - 0.45) / 0.25)

    return plain


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)


def folded(model):
    return model._faster._folded


def test_the_same_logits_and_gradients(small, pixels, plain):
    close(small(pixels), plain(pixels))
    assert folded(small) == {"conv1"}
    x = pixels.clone().requires_grad_()
    score = small.module.eval()((x - 0.45) / 0.25)[:, 2]
    (expected,) = torch.autograd.grad(score.sum(), x)
    close(pg.gradient(small, Logit(2), pixels)[1], expected)


def test_the_default_network_is_folded_whole():
    model = pg.load("efficientnet_lite0")
    model.module.double()
    x = torch.rand(1, 3, 64, 64, dtype=torch.float64)
    norms = sum(isinstance(m, nn.BatchNorm2d) for m in model.module.modules())
    with torch.no_grad():
        close(model(x), model.module(model.normalise(x)))
    assert len(folded(model)) == norms == 49


def test_layers_are_the_networks_own(small, pixels):
    small(pixels)
    names = ["conv1", "bn1", "relu", "conv2"]
    together = small.activations(pixels, [*names, "logits"])
    seen = {}
    handles = [
        small.module.get_submodule(n).register_forward_hook(
            lambda m, i, o, n=n: seen.__setitem__(n, o.clone()) if n not in seen else None
        )
        for n in names
    ]
    small.module.eval()((pixels - 0.45) / 0.25)
    for handle in handles:
        handle.remove()
    for name in names:
        close(together[name], seen[name])
        close(small.activations(pixels, [name])[name], seen[name])


def scaled(model):
    with torch.no_grad():
        model.module.conv1.weight.mul_(-1.5)


def scaled_unseen(model):
    model.module.conv1.weight.data.neg_()


def shuffled_unseen(model):
    model.module.bn1.running_var.data.copy_(model.module.bn1.running_var.flip(0) + 1)


def replaced_weight(model):
    model.module.bn1.weight = nn.Parameter(torch.linspace(-1, 1, 8, dtype=torch.float64))


def replaced_part(model):
    model.module.fc = nn.Linear(12, 5).double()


def loaded(model):
    model.module.load_state_dict({k: v * 2 for k, v in model.module.state_dict().items()})


def trained(model):
    module = model.module.train()
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    module(torch.rand(4, 3, 16, 16, dtype=torch.float64)).sum().backward()
    optimizer.step()
    optimizer.zero_grad()


@pytest.mark.parametrize(
    "change",
    [scaled, scaled_unseen, shuffled_unseen, replaced_weight, replaced_part, loaded, trained],
)
def test_changes_of_the_network_are_noticed(small, pixels, plain, change):
    before = small(pixels)
    change(small)
    close(small(pixels), plain(pixels))
    assert not torch.allclose(small(pixels), before)
    assert folded(small) == {"conv1"}


def test_hooks_of_ones_own_are_called(small, pixels):
    small(pixels)
    seen = []
    handle = small.module.bn1.register_forward_hook(lambda m, i, o: seen.append(o * 0))
    small(pixels)
    handle.remove()
    assert len(seen) == 1


def test_a_forward_of_ones_own_is_run(small, pixels):
    """A copy of the network would share it, and its layers would not be the copy's."""
    small(pixels)
    old = small.module.eval().forward
    small.module.forward = lambda x: 2 * old(x)
    with torch.no_grad():
        found = small.activations(pixels, ["bn1", "logits"])
        close(found["logits"], 2 * old((pixels - 0.45) / 0.25))
    assert not found["bn1"].requires_grad


class Twice(nn.Module):
    """A convolution whose output goes to a batch norm, and past it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.norm.running_mean.normal_()

    def forward(self, x):
        y = self.conv(x)
        return (self.norm(y).relu() + y).mean((2, 3))


def test_a_form_that_gives_something_else_is_not_used():
    module = Twice().double()
    model = pg.Classifier(module)
    x = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        assert torch.equal(model(x), module.eval()(x))


class Wide(Twice):
    """Norms after its convolution only where the picture is small."""

    def forward(self, x):
        y = self.conv(x)
        return (self.norm(y) if x.shape[-1] < 10 else y).relu().mean((2, 3))


def test_it_is_checked_at_every_size():
    module = Wide().double()
    model = pg.Classifier(module)
    for side in (8, 12):
        x = torch.rand(2, 3, side, side, dtype=torch.float64)
        with torch.no_grad():
            close(model(x), module.eval()(x))


@pytest.mark.parametrize("change", [weight_norm, spectral_norm])
def test_weights_that_are_computed_from_others_are_left_alone(small, pixels, plain, change):
    change(small.module.conv2)
    with torch.no_grad():
        close(small(pixels), plain(pixels))
    assert folded(small) == {"conv1"}


class ByHand(Twice):
    """It also uses the numbers and settings of its parts itself."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        y = F.conv2d(x, self.conv.weight - 1).relu() + self.conv(x).relu()
        return F.linear(y.mean((2, 3)), self.fc.weight) * self.conv.kernel_size[0]


def test_a_network_that_uses_the_numbers_of_its_parts_is_run_itself():
    module = ByHand().double().eval()
    x = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    found = pg.gradient(pg.Classifier(module), Logit(1), x)
    close(found[0], module(x)[:, 1])
    close(found[1], torch.autograd.grad(module(x.requires_grad_())[:, 1].sum(), x)[0])


def test_weights_that_are_not_changed_are_shared(small, pixels):
    small(pixels)
    form = small._faster._form
    assert form.fc.weight is small.module.fc.weight
    assert form.conv1.weight is not small.module.conv1.weight


def test_low_precision_is_left_alone():
    model = pg.load("tinynet")
    model.module.bfloat16()
    model(torch.rand(1, 3, 64, 64))
    assert model._faster._form is None


@pytest.mark.parametrize("kernel", [(3, 3), (7, 7), (5, 4), (11, 3)])
@pytest.mark.parametrize("stride", [2, 3, 4])
@pytest.mark.parametrize("padding", [0, 1, 3])
@pytest.mark.parametrize("side", [(23, 31), (24, 36), (29, 25)])
def test_a_stem_is_the_strided_convolution(kernel, stride, padding, side):
    conv = nn.Conv2d(3, 5, kernel, stride, padding).double().requires_grad_(False)
    x = torch.rand(2, 3, *side, dtype=torch.float64, requires_grad=True)
    expected, found = conv(x), Stem(conv)(x)
    close(found, expected)
    upstream = torch.rand_like(expected)
    close(*(torch.autograd.grad(y, x, upstream, retain_graph=True)[0] for y in (found, expected)))
    # and the way back of the way back
    first, second = (
        torch.autograd.grad(y.square().sum(), x, create_graph=True)[0] for y in (found, expected)
    )
    close(*(torch.autograd.grad(g.pow(3).sum(), x)[0] for g in (first, second)))


@pytest.mark.parametrize("conv", [
    nn.Conv2d(3, 4, 3), nn.Conv2d(8, 4, 3, 2), nn.Conv2d(3, 3, 3, 2, groups=3), nn.Conv2d(3, 4, 3, 2, dilation=2),
    nn.Conv2d(3, 4, 3, (2, 1)), nn.Conv2d(3, 4, 3, 2, 1, padding_mode="reflect"), nn.Conv2d(3, 4, 2, 2), nn.ReLU(),
])  # fmt: skip
def test_other_convolutions_stay(conv):
    assert not Stem.fits(conv)


def test_a_strided_first_convolution_is_replaced():
    module = nn.Sequential(
        nn.Conv2d(3, 4, 7, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ).double()
    model = pg.Classifier(module)
    x = torch.rand(2, 3, 20, 20, dtype=torch.float64)
    with torch.no_grad():
        close(model(x), module(x))
        close(model.activations(x, ["0"])["0"], F.conv2d(x, module[0].weight, module[0].bias, 2, 3))
    assert isinstance(model._faster._form[0], Stem)
