"""Convolutions with the rectifier and max-pool after them as one node: the same logits, the same gradient."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import pixelgrad as pg
from pixelgrad import kernels
from pixelgrad.convolutions import call
from pixelgrad.fused import Fused
from pixelgrad.gradient import evaluate
from pixelgrad.kernels import Kernels
from pixelgrad.objectives.channel import Channel
from pixelgrad.objectives.logit import Logit
from pixelgrad.rules import BackwardRule


class Net(nn.Module):
    """Two convolutions and a third, joined in some way; 5 classes."""

    def __init__(self, way, act=nn.ReLU, inplace=False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c = (
            nn.Conv2d(3, 6, 3, padding=1),
            nn.Conv2d(6, 6, 3, padding=1),
            nn.Conv2d(6, 6, 1),
        )
        self.act = act(inplace=inplace) if act is not nn.Hardtanh else nn.Hardtanh(-0.2, 0.3, inplace)
        self.act2 = nn.ReLU(inplace)
        self.pool, self.drop = nn.MaxPool2d(3, 2, padding=1), nn.Dropout(0.5)
        self.way, self.fc = way, nn.Linear(6, 5)

    def forward(self, x):
        return self.fc(self.way(self, x).mean((2, 3)))


def chain(m, x):
    return m.c(m.act2(m.b(m.act(m.a(x)))))


def pooled(m, x):
    return m.c(m.act2(m.b(m.pool(m.act(m.a(x))))))


def dropped(m, x):
    return m.c(m.pool(m.drop(m.act(m.drop(m.a(x))))))


def same_act(m, x):
    x = m.act(m.a(x))
    return m.act(m.c(m.act(m.b(x))) + x)


def residual(m, x):
    x = m.act(m.a(x))
    return m.act2(m.b(x) + x)


def added_in_place(m, x):
    x = m.pool(m.act(m.a(x)))
    y = m.b(x)
    y += x
    return m.act2(m.c(m.act2(y)))


def two_readers(m, x):
    """Two convolutions take what one rectifier gives, as in SqueezeNet."""
    x = m.act(m.a(x))
    return torch.cat([m.act2(m.b(x)), m.act2(m.c(x))], 1)[:, 3:9]


def pool_and_more(m, x):
    """What is pooled is looked at elsewhere too."""
    x = m.act(m.a(x))
    return m.c(m.pool(x)).mean((2, 3), keepdim=True) + m.b(x)


def raw_and_more(m, x):
    y = m.a(x)
    return m.b(y) + m.c(y.relu()) + m.act(y).mean()


def twice(m, x):
    return m.b(m.act(m.b(m.act(m.a(x)))))


def act_after_act(m, x):
    x = m.act(m.a(x))
    return m.act2(m.b(m.act(x - 0.1)))


WAYS = [chain, pooled, dropped, same_act, residual, added_in_place, two_readers, pool_and_more, raw_and_more]
WAYS += [twice, act_after_act]


def plainly(module, pixels, y=2):
    """Logits and gradient of a class, by nothing but autograd."""
    x = pixels.clone().requires_grad_()
    logits = module((x - 0.45) / 0.25)
    return logits.detach(), torch.autograd.grad(logits[:, y].sum(), x)[0]


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


# in place, what reads the same numbers twice is no network with a gradient
EVERY = [(way, inplace) for way in WAYS for inplace in (False, True) if not (inplace and way is raw_and_more)]


@pytest.mark.parametrize("act", [nn.ReLU, nn.ReLU6, nn.Hardtanh])
@pytest.mark.parametrize(("way", "inplace"), EVERY)
def test_the_same_gradient_in_every_topology(way, act, inplace):
    module = Net(way, act, inplace).double().eval()
    model = pg.Classifier(module, mean=0.45, std=0.25)
    pixels = torch.rand(3, 3, 16, 18, dtype=torch.float64)
    logits, expected = plainly(module, pixels)
    found = evaluate(model, Logit(2), pixels, keep=["logits", "a", "act"])
    close(found.gradient, expected)
    close(found.kept["logits"], logits)
    for _ in range(2):  # without layers between, where all is fused
        close(evaluate(model, Logit(2), pixels).gradient, expected)


def fused(model):
    """Whether the last size went through the fused form."""
    return list(model._faster._fused_agrees.values())[-1]


@pytest.mark.parametrize("way", [chain, pooled, dropped, same_act, residual, two_readers, pool_and_more])
def test_these_are_fused(way):
    model = pg.Classifier(Net(way).eval(), mean=0.45, std=0.25)
    pg.gradient(model, Logit(2), torch.rand(2, 3, 16, 16))
    assert fused(model)


@pytest.mark.parametrize(
    ("name", "side"),
    [("squeezenet1_0", 64), ("resnet18", 64), ("vgg11_bn", 64), ("densenet121", 64), ("mobilenet_v2", 64),
     ("googlenet", 64), ("resnet50", 40), ("shufflenet_v2_x0_5", 64)],
)  # fmt: skip
def test_the_same_gradient_in_real_networks(name, side):
    import torchvision

    torch.manual_seed(0)
    extra = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    module = torchvision.models.get_model(name, weights=None, **extra).double().eval()
    model = pg.Classifier(module, mean=0.45, std=0.25)
    pixels = torch.rand(2, 3, side, side, dtype=torch.float64)
    _, expected = plainly(module, pixels)
    found = pg.gradient(model, Logit(2), pixels)[1]
    assert float((found - expected).abs().max()) < 1e-9 * float(expected.abs().max())
    assert fused(model)


@pytest.mark.parametrize("side", [(64, 64), (65, 77), (66, 63)])
def test_the_default_network_with_its_padding(side):
    model = pg.load("efficientnet_lite0")
    model.module.double()
    pixels = torch.rand(2, 3, *side, dtype=torch.float64)
    x = pixels.clone().requires_grad_()
    expected = torch.autograd.grad(model.module.eval()(model.normalise(x))[:, 2].sum(), x)[0]
    found = pg.gradient(model, Logit(2), pixels)[1]
    assert float((found - expected).abs().max()) < 1e-9 * float(expected.abs().max())
    assert fused(model)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "tinynet"])
def test_networks_of_ours_are_fused_as_they_are_loaded(name):
    model = pg.load(name)
    side = model.preprocessing.size[0]
    pg.gradient(model, Logit(2), torch.rand(1, 3, side, side))
    assert fused(model)
    convs = [m for m in model._faster._fused.modules() if isinstance(m, Fused)]
    laid_out = [kernel.is_mkldnn for m in convs for kernel in m.kernels._kept.values()]
    assert len(laid_out) > len(convs)  # on the way back too
    assert all(laid_out) or kernels._CONV is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("channels", "out", "groups"), [(3, 5, 1), (1, 4, 1), (6, 6, 6), (6, 4, 2), (16, 8, 1)]
)
@pytest.mark.parametrize(("kernel", "stride", "padding"), [
    ((3, 3), 1, 1), ((1, 1), 1, 0), ((5, 4), 1, 0), ((3, 3), 2, 0), ((7, 7), 2, 3), ((5, 4), 3, 1), ((11, 3), 4, 2),
])  # fmt: skip
@pytest.mark.parametrize("side", [(23, 31), (24, 36), (29, 25)])
def test_a_convolution_and_its_way_back_are_autograds(
    side, kernel, stride, padding, channels, out, groups, dtype
):
    conv = nn.Conv2d(channels, out, kernel, stride, padding, groups=groups).to(dtype)
    both = Kernels()
    for n in (2, 1):  # the layout is that of the first
        x = torch.rand(n, channels, *side, dtype=dtype, requires_grad=True)
        expected, made = conv(x), call(conv, x)
        with torch.no_grad():
            y = both.forward(made)
            upstream = torch.rand_like(y)
            found = both.backward(upstream, x.shape, *made[1:])
        exact = {"rtol": 1e-12, "atol": 1e-13} if dtype == torch.float64 else {"rtol": 1e-4, "atol": 1e-5}
        torch.testing.assert_close(y, expected, **exact)
        torch.testing.assert_close(found, torch.autograd.grad(expected, x, upstream)[0], **exact)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("some", ["one each", "one of all", "none", "nowhere looked", "two", "all"])
def test_where_one_channel_counts_the_others_are_left_out(some, dtype):
    conv = nn.Conv2d(12, 300, 1).to(dtype)
    x = torch.rand(3, 12, 9, 7, dtype=dtype, requires_grad=True)
    expected = conv(x)
    upstream = torch.zeros_like(expected)
    channels = {"one each": (7, 299, 0), "one of all": (20, 20, 20), "two": (3, 4, 5)}.get(some, ())
    for i, channel in enumerate(channels):
        upstream[i, channel, 1:] = torch.randn(8, 7, dtype=dtype)
    if some == "two":
        upstream[1, 100, 8, 6] = 1
    if some == "nowhere looked":
        upstream[2, 50, 3, 3] = 1
    if some == "all":
        upstream.normal_()
    made = call(conv, x)
    with torch.no_grad():
        found = Kernels().backward(upstream, x.shape, *made[1:])
    exact = {"rtol": 1e-12, "atol": 1e-13} if dtype == torch.float64 else {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(found, torch.autograd.grad(expected, x, upstream)[0], **exact)
    assert (kernels._only_channel(upstream) is None) == (some in ("nowhere looked", "two", "all"))


def test_a_layer_between_is_the_networks_own():
    """Before a rectifier, behind it, and behind the pool."""
    module = Net(pooled).double().eval()
    model = pg.Classifier(module, mean=0.45, std=0.25)
    pixels = torch.rand(2, 3, 16, 16, dtype=torch.float64)
    pg.gradient(model, Logit(2), pixels)
    raw = module.a((pixels - 0.45) / 0.25).detach()
    expected = {"a": raw, "act": raw.relu(), "pool": module.pool(raw.relu())}
    found = evaluate(model, Logit(2), pixels, keep=expected).kept
    for name, value in expected.items():
        close(found[name], value)
        x = pixels.clone().requires_grad_()
        score = {"a": lambda y: y, "act": F.relu, "pool": lambda y: module.pool(y.relu())}[name](
            module.a((x - 0.45) / 0.25)
        )[:, 4].mean((1, 2))
        close(evaluate(model, Channel(name, 4), pixels).gradient, torch.autograd.grad(score.sum(), x)[0])


def test_rules_see_every_rectifier():
    model = pg.Classifier(Net(pooled).double().eval(), mean=0.45, std=0.25)
    pixels = torch.rand(1, 3, 16, 16, dtype=torch.float64)
    pg.gradient(model, Logit(2), pixels)
    rule = BackwardRule("guided")
    evaluate(model, Logit(2), pixels, rule=rule)
    assert rule.rectifiers == {"ReLU": 2}


@pytest.mark.parametrize("way", [chain, pooled])
def test_changed_weights_are_noticed_on_the_way_back(way):
    """The turned kernels are copies."""
    module = Net(way).double().eval()
    model = pg.Classifier(module, mean=0.45, std=0.25)
    pixels = torch.rand(2, 3, 16, 16, dtype=torch.float64)
    pg.gradient(model, Logit(2), pixels)
    module.b.weight.data.mul_(-1.5)
    close(pg.gradient(model, Logit(2), pixels)[1], plainly(module, pixels)[1])


def test_activations_that_are_kept_stay_what_they_were():
    """The gradient is masked in place; nothing that somebody has may change with it."""
    module = Net(chain).double().eval()
    model = pg.Classifier(module, mean=0.45, std=0.25)
    pixels = torch.rand(2, 3, 16, 16, dtype=torch.float64)
    kept = evaluate(model, Logit(2), pixels, keep=["act", "act2"]).kept
    x = (pixels - 0.45) / 0.25
    close(kept["act"], module.a(x).relu().detach())
    close(kept["act2"], module.b(module.a(x).relu()).relu().detach())


def test_a_network_that_is_not_finite_says_so():
    """NaN passes rectifiers, in whatever form."""
    module = Net(chain).eval()
    model = pg.Classifier(module, mean=0.45, std=0.25)
    pixels = torch.rand(2, 3, 16, 16)
    pg.gradient(model, Logit(2), pixels)
    pixels[1, :, 3, 3] = torch.nan
    score = evaluate(model, Logit(2), pixels).score
    assert score[0].isfinite()
    assert score[1].isnan()
