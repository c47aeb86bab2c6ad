"""The classifier: one normalisation, layers tapped exactly, and a module that is given back as it was."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import pixelgrad as pg
from pixelgrad.errors import ModelError, NotFound
from pixelgrad.objectives.logit import Logit


def state_of(module):
    """Everything about a module that a careless tool changes."""
    return {
        "mode": [m.training for m in module.modules()],
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks)
                  for m in module.modules()],
        "flags": [p.requires_grad for p in module.parameters()],
        "grads": [None if p.grad is None else p.grad.clone() for p in module.parameters()],
        "values": [v.clone() for v in (*module.parameters(), *module.buffers())],
        "storage": [v.data_ptr() for v in (*module.parameters(), *module.buffers())],
    }  # fmt: skip


def same(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


USES = {
    "call": lambda m, x: m(x),
    "top": lambda m, x: m.top(x),
    "layers": lambda m, x: m.layers(),
    "activations": lambda m, x: m.activations(x, ["relu:2", "bn1"]),
    "gradient": lambda m, x: pg.gradient(m, Logit(), x),
}


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("use", USES)
def test_module_is_untouched(small, pixels, use, mode):
    module = small.module.train(mode)
    module.conv1.weight.requires_grad_(False)
    module.conv2.weight.grad = torch.ones_like(module.conv2.weight)
    module.drop.eval()
    before = state_of(module)
    USES[use](small, pixels)
    assert same(before, state_of(module))


@pytest.mark.parametrize("use", USES)
def test_module_is_untouched_after_a_failure(small, pixels, use):
    before = state_of(small.module)

    def explode(*_):
        raise ZeroDivisionError

    handle = small.module.conv2.register_forward_hook(explode)
    with pytest.raises(ZeroDivisionError):
        USES[use](small, pixels)
    handle.remove()
    assert same(before, state_of(small.module))


def test_the_state_comparison_sees_each_kind_of_change(small, pixels):
    before = state_of(small.module)
    changes = [
        lambda m: m.eval(),
        lambda m: m.fc.register_forward_hook(lambda *_: None),
        lambda m: m.fc.weight.requires_grad_(False),
        lambda m: m.fc(torch.ones(1, 12, dtype=torch.float64)).sum().backward(),
        lambda m: m(pixels),  # training mode: the statistics of batch norm move
    ]
    for change in changes:
        classifier = copy.deepcopy(small)
        reference = state_of(classifier.module)
        change(classifier.module)
        assert not same(reference, state_of(classifier.module))
    assert same(before, state_of(small.module))


class Counting(nn.Module):
    """Counts its calls in a buffer, and replaces another."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))
        self.register_buffer("last", torch.zeros(1))
        self.fc = nn.Linear(3, 2)

    def forward(self, x):
        self.calls += 1
        self.last = x.detach().mean().reshape(1)
        return self.fc(x.mean((2, 3)))


def test_buffers_that_a_forward_pass_writes_are_restored():
    model = pg.Classifier(Counting())
    last = model.module.last
    model(torch.rand(2, 3, 4, 4))
    assert model.module.calls.item() == 0
    assert model.module.last is last


def test_pixels_are_normalised_once(small, pixels):
    with torch.no_grad():
        expected = small.module.eval()((pixels - 0.45) / 0.25)
    torch.testing.assert_close(small(pixels), expected, rtol=1e-12, atol=1e-14)


def test_evaluation_mode_is_used(small, pixels):
    small.module.train()
    assert torch.equal(small(pixels), small(pixels)), "dropout was on"


def test_taps_equal_a_forward_pass_by_hand(small, pixels):
    m = small.module
    found = small.activations(
        pixels, ["conv1", "bn1", "relu", "pool", "conv2", "relu:2", "fc", "logits", "pixels"]
    )
    with small.borrowed(), torch.no_grad():
        conv1 = m.conv1((pixels - 0.45) / 0.25)
        bn1 = m.bn1(conv1)
        relu = F.relu(bn1)
        pool = m.pool(relu)
        conv2 = m.conv2(pool)
        relu2 = F.relu(conv2)
        fc = m.fc(relu2.mean((2, 3)))
    expected = {"conv1": conv1, "bn1": bn1, "relu": relu, "pool": pool, "conv2": conv2, "relu:2": relu2}
    expected |= {"fc": fc, "logits": fc, "pixels": pixels}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-12, atol=1e-12)
    # the ReLU works in place: without care both would be what it left
    assert (found["bn1"] < 0).any()
    assert (found["conv2"] < 0).any()


def test_gradient_with_respect_to_a_tapped_layer(small, pixels):
    found = small.activations(pixels.requires_grad_(), ["bn1", "logits"])
    (grad,) = torch.autograd.grad(found["logits"][:, 2].sum(), found["bn1"])
    with small.borrowed():
        m = small.module
        leaf = found["bn1"].detach().requires_grad_()
        x = F.relu(m.conv2(m.pool(F.relu(leaf))))
        (expected,) = torch.autograd.grad(m.fc(x.mean((2, 3)))[:, 2].sum(), leaf)
    torch.testing.assert_close(grad, expected, rtol=1e-12, atol=1e-12)


def test_forward_stops_at_the_deepest_layer_asked_for(small, pixels):
    ran = []
    for name, module in small.module.named_modules():
        module.register_forward_hook(lambda *_, name=name: ran.append(name))
    small.activations(pixels, ["conv1", "pool"])
    assert ran == ["conv1", "bn1", "relu", "pool"]


def test_a_network_that_catches_exceptions_is_stopped_too(pixels):
    class Catching(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(3, 2, 1)
            self.went_on = False

        def forward(self, x):
            try:
                x = self.first(x)
            except Exception:
                self.went_on = True
            self.went_on = True
            return x.mean((2, 3))

    model = pg.Classifier(Catching())
    assert model.activations(pixels.float(), ["first"])["first"].shape == (5, 2, 16, 16)
    assert not model.module.went_on


def test_layers_in_execution_order_with_shapes(small):
    found = [(layer.name, layer.kind, layer.shape) for layer in small.layers()]
    assert found == [
        ("conv1", "Conv2d", (8, 16, 16)),
        ("bn1", "BatchNorm2d", (8, 16, 16)),
        ("relu", "ReLU", (8, 16, 16)),
        ("pool", "MaxPool2d", (8, 8, 8)),
        ("conv2", "Conv2d", (12, 8, 8)),
        ("relu:2", "ReLU", (12, 8, 8)),
        ("drop", "Dropout", (12,)),
        ("fc", "Linear", (5,)),
    ]
    assert small.layers(32)[3].shape == (8, 16, 16)


def test_every_listed_layer_can_be_tapped(lite0):
    x = torch.rand(1, 3, 64, 64)
    listed = lite0.layers(64)
    found = lite0.activations(x, [layer.name for layer in listed])
    for layer in listed:
        assert found[layer.name].shape == (1, *layer.shape)


@pytest.mark.parametrize("wrap", [
    lambda x: x,
    lambda x: (x, x.sum()),
    lambda x: {"logits": x, "loss": 0},
    lambda x: type("Output", (), {"logits": x})(),
])  # fmt: skip
def test_outputs_of_other_libraries(wrap, pixels):
    class Wrapped(nn.Module):
        def forward(self, x):
            return wrap(x.mean((2, 3)))

    x = pixels.float()
    assert torch.equal(pg.Classifier(Wrapped())(x), x.mean((2, 3)))


def test_an_output_that_is_no_logits(pixels):
    with pytest.raises(ModelError, match=r"gives logits \(5, classes\) here; Identity gave \(5, 3, 16, 16\)"):
        pg.Classifier(nn.Identity())(pixels)


def test_a_network_that_cannot_take_the_picture(small):
    with pytest.raises(ModelError, match="small fails on pixels of 1×3×1×1"):
        small(torch.rand(1, 3, 1, 1, dtype=torch.float64))


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize("kind", ["scripted", "traced", "scripted within"])
def test_a_scripted_network(kind, pixels):
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.LazyLinear(5))
    module = module.double().eval()
    x = pixels.clone().requires_grad_()
    expected = module(x)[:, 2]
    (slope,) = torch.autograd.grad(expected.sum(), x)
    if kind == "scripted within":
        made = nn.Sequential(*module[:2], torch.jit.script(module[2]), *module[3:])
    else:
        made = torch.jit.script(module) if kind == "scripted" else torch.jit.trace(module, pixels)
    made.train()
    model = pg.Classifier(made, name="net")
    score, gradient = pg.gradient(model, Logit(2), pixels)
    torch.testing.assert_close(score, expected.detach())
    torch.testing.assert_close(gradient, slope)
    assert made.training
    assert all(p.requires_grad for p in made.parameters())
    closed = [lambda: model.activations(pixels, ["2"])]
    if kind == "scripted within":
        assert [layer.name for layer in model.layers(16)] == ["0", "1", "3", "4"]
        assert model.activations(pixels, ["3"])["3"].shape == (5, 784)
    else:
        closed.append(lambda: model.layers(16))
    for look in closed:
        with pytest.raises(ModelError, match="scripted or traced cannot be looked into, it has only its"):
            look()


@pytest.mark.parametrize(
    ("error", "reason"),
    [(AssertionError("height 8 is not 4\nat all"), "height 8 is not 4"), (ValueError(), "ValueError")],
)
def test_a_network_that_refuses_the_picture_in_its_own_way(error, reason):
    class Picky(nn.Module):
        def forward(self, x):
            raise error

    with pytest.raises(ModelError, match=rf"Picky fails on pixels of 1×3×8×8: {reason}$") as caught:
        pg.Classifier(Picky())(torch.rand(1, 3, 8, 8))
    assert caught.value.__cause__ is error


def test_top(small, pixels):
    probability = small(pixels).softmax(1)
    for row, expected in zip(small.top(pixels, 3), probability, strict=True):
        best = sorted(range(5), key=lambda i: -expected[i])[:3]
        assert [g.index for g in row] == best
        assert [g.label for g in row] == [small.labels[i] for i in best]
        assert [g.probability for g in row] == pytest.approx([float(expected[i]) for i in best])
    assert len(small.top(pixels, 99)[0]) == 5


@pytest.mark.parametrize(("target", "index"), [("cat", 2), ("CAT", 2), ("3", 3), (4, 4)])
def test_label(small, target, index):
    assert small.label(target) == index


@pytest.mark.parametrize(("target", "message"), [
    ("bea", "no class 'bea'; did you mean 'bee'?"),
    (5, "no class '5' (the classes of small are 0 to 4)"),
    ("-1", "no class '-1' (the classes of small are 0 to 4)"),
    (1.5, "no class '1.5' (a class is a name or a whole number)"),
])  # fmt: skip
def test_label_that_is_not_there(small, target, message):
    with pytest.raises(NotFound) as caught:
        small.label(target)
    assert str(caught.value) == message


def test_label_that_is_there_twice():
    model = pg.Classifier(nn.Identity(), labels=["crane", "Dog", "crane"])
    with pytest.raises(NotFound, match="say 0 or 2"):
        model.label("crane")
    assert model.label("dog") == 1


@pytest.mark.parametrize("name", ["conv3", "", "relu:x"])
def test_layer_that_is_not_there(small, pixels, name):
    with pytest.raises(NotFound, match="no layer"):
        small.activations(pixels, [name])


@pytest.mark.parametrize(("name", "found"), [
    ("features.3.squeeze", "features.3.squeeze"), ("3.squeeze", "features.3.squeeze"),
    ("3.squeeze:2", "features.3.squeeze:2"), ("3.squeeze:1", "features.3.squeeze"),
    (0, "features.0"), ("3", "features.3.squeeze"), (66, "classifier"),
])  # fmt: skip
def test_a_layer_by_its_name_an_ending_or_its_number(squeezenet, name, found):
    assert squeezenet.layer(name) == found


def test_a_number_is_that_of_the_list(lite0, small):
    for model in (lite0, small):
        listed = [layer.name for layer in model.layers()]
        assert [model.layer(i) for i in range(0, len(listed), 40)] == listed[::40]
    assert small.layer(5) == small.layer("5") == "relu:2"


def test_a_name_counts_before_a_number():
    model = pg.Classifier(nn.Sequential(nn.Sequential(nn.Flatten(), nn.Identity()), nn.Linear(12, 2)), size=2)
    assert model.layer(0) == model.layer("0") == "0"
    assert model.layer("1") == "1"
    assert model.layer("0.1") == "0.1"
    assert model.layer("2") == "0"


@pytest.mark.parametrize(("name", "message"), [
    ("squeeze", "no single layer 'squeeze' (8 end so: features.3.squeeze, features.4.squeeze, "
                "features.5.squeeze, …)"),
    ("squeeze_activatio", "no layer 'squeeze_activatio'; did you mean"),
    (67, "no layer '67' (the 67 layers of squeezenet1_0 are 0 to 66)"),
    ("-1", "no layer '-1' (the 67 layers of squeezenet1_0 are 0 to 66)"),
])  # fmt: skip
def test_a_layer_that_is_not_there_or_not_alone(squeezenet, name, message):
    with pytest.raises(NotFound) as caught:
        squeezenet.layer(name)
    assert str(caught.value).startswith(message)
    assert len(str(caught.value).splitlines()) == 1


def test_a_run_that_does_not_happen(small, pixels):
    with pytest.raises(ModelError, match="'relu:3' of small gave no tensor"):
        small.activations(pixels, ["relu:3"])


@pytest.mark.parametrize(("bad", "message"), [
    (torch.rand(3, 8, 8), r"\(n, 3, height, width\)"),
    (torch.rand(1, 1, 8, 8), r"got \(1, 1, 8, 8\)"),
    (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "uint8: divide by 255"),
    ("cat.png", "got str"),
])  # fmt: skip
def test_bad_pixels(small, bad, message):
    with pytest.raises(ModelError, match=message):
        small(bad)


@pytest.mark.parametrize(("factor", "cure"), [(4, "applied inside"), (255, "divide by 255")])
def test_pixels_outside_the_range_are_warned_of_once(small, pixels, factor, cure):
    with pytest.warns(UserWarning, match=cure):
        small(pixels * factor)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small(pixels * factor)


def test_probabilities_in_place_of_logits_are_warned_of_once(small, pixels):
    model = pg.Classifier(nn.Sequential(small.module.double(), nn.Softmax(1)), name="sure")
    with pytest.warns(UserWarning, match="outputs of sure look like probabilities"):
        model(pixels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model(pixels)
        small(pixels)


def test_other_precision_inside(small, pixels):
    small.module.float()
    x = pixels.requires_grad_()
    out = small(x)
    (grad,) = torch.autograd.grad(out.sum(), x)
    assert out.dtype == torch.float32
    assert grad.dtype == torch.float64


def test_numbers_of_labels_and_logits_differ(small, pixels):
    model = pg.Classifier(small.module, labels=["a", "b"])
    with pytest.raises(ModelError, match="5 logits but has 2 labels"):
        model(pixels)


def test_layers_are_listed_also_while_the_network_is_borrowed(lite0):
    with lite0.borrowed():
        cat = pg.open_image("sample:cat", lite0)
        before = lite0(cat)
        inside = lite0.layers()
        assert torch.equal(lite0(cat), before)  # the same form of the network as before
    assert inside == lite0.layers()


def test_a_copy_made_while_it_is_borrowed_notices_its_own_changes(small, pixels):
    with small.borrowed():
        small(pixels)
        twin = copy.deepcopy(small)
    before = twin(pixels)
    twin.module.conv1.weight.data.neg_()
    assert not torch.allclose(twin(pixels), before)
    assert torch.equal(small(pixels), before)
