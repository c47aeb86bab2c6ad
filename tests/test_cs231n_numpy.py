"""The course's numpy edition: the model object, and every function against its update rule with plain autograd."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from matplotlib import pyplot as plt
from scipy.signal import convolve2d
from torch import nn

import pixelgrad as pg
from pixelgrad.cs231n import numpy_edition as course
from pixelgrad.errors import ModelError, NotFound, PixelgradError, SettingError
from tests.test_classifier import same, state_of

MEAN = 0.45 * 255  # of the network `small`


@pytest.fixture
def model(small):
    return course.PretrainedCNN(small)


@pytest.fixture(name="X")
def pictures():
    return np.random.default_rng(3).uniform(0, 255, (5, 3, 16, 16)) - MEAN


@pytest.fixture(name="shown", autouse=True)
def titles(monkeypatch):
    """What a notebook would show, in place of showing it."""
    seen = []
    monkeypatch.setattr(plt, "show", lambda: seen.append(plt.gcf().axes[0].get_title()))
    return seen


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def layers(module, x):
    """The outputs of the three layers of `small` on mean-subtracted pictures, by its own parts."""
    module.eval()
    first = F.relu(module.bn1(module.conv1(x / 255 / 0.25)))
    second = F.relu(module.conv2(module.pool(first)))
    scores = module.fc(second.mean((2, 3)))
    module.train()
    return first, second, scores


def outputs(module, X, layer):
    with torch.no_grad():
        return layers(module, torch.from_numpy(X))[layer].numpy()


def pull(module, X, layer, loss):
    """∂/∂X of a loss on the output of a layer."""
    x = torch.from_numpy(X).requires_grad_()
    (gradient,) = torch.autograd.grad(loss(layers(module, x)[layer]), x)
    return gradient.numpy()


def blurred(X):
    """With the weights written out, zeros outside."""
    kernel = np.array([[1, 2, 1], [2, 188, 2], [1, 2, 1]]) / 200
    return np.stack([[convolve2d(c, kernel, mode="same") for c in x] for x in X])


def rolled(X, ox, oy):
    return np.roll(np.roll(X, ox, -1), oy, -2)


# ---------------------------------------------------------------- the model


def test_forward_to_every_layer(model, small, X):
    state = state_of(small.module)
    assert model.layers == ("relu", "relu:2", "logits")
    for layer in range(3):
        out, _ = model.forward(X, end=layer, mode="test")
        close(out, outputs(small.module, X, layer))
    close(model.forward(X)[0], outputs(small.module, X, 2))
    close(model.loss(X), outputs(small.module, X, 2))
    assert same(state, state_of(small.module))


def test_forward_from_a_layer_goes_on_where_it_ended(model, X):
    whole, _ = model.forward(X)
    for layer in (0, 1):
        part, _ = model.forward(X, end=layer)
        close(model.forward(part, start=layer + 1)[0], whole)
    first, _ = model.forward(X, end=0)
    close(model.forward(first, start=1, end=1)[0], model.forward(X, end=1)[0])


def test_backward(model, small, X):
    random = np.random.default_rng(0)
    for layer in range(3):
        out, cache = model.forward(X, end=layer)
        dout = random.normal(size=out.shape)
        for _ in range(2):  # a cache can be used again
            dX, grads = model.backward(dout, cache)
            close(dX, pull(small.module, X, layer, lambda f, d=dout: (f * torch.from_numpy(d)).sum()))
            assert grads == {}


def test_backward_of_parts_is_the_chain_rule(model, X):
    scores, cache = model.forward(X)
    dscores = np.random.default_rng(0).normal(size=scores.shape)
    feats, lower = model.forward(X, end=0)
    _, upper = model.forward(feats, start=1)
    dfeats, _ = model.backward(dscores, upper)
    close(model.backward(dfeats, lower)[0], model.backward(dscores, cache)[0])


def test_the_loss_with_labels(model, X):
    y = np.array([0, 1, 4, 2, 2])
    loss, grads = model.loss(X, y)
    p = torch.from_numpy(model.loss(X)).softmax(1).numpy()
    close(loss, -np.log(p[range(5), y]).mean())
    assert grads == {}


def test_the_mean_image_and_the_names(model):
    assert model.data["mean_image"].shape == (3, 16, 16)
    assert np.all(model.data["mean_image"] == MEAN)
    assert model.data["class_names"][1] == ["bee"]
    tiny = course.PretrainedCNN()
    assert tiny.data["mean_image"].shape == (3, 64, 64)
    assert len(tiny.layers) == 9
    assert tiny.layers[0] == "layer1.relu"


def test_a_plain_module_is_of_normalised_pictures():
    module = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(4))
    module(torch.zeros(1, 3, 64, 64))
    model = course.PretrainedCNN(module)
    X = course.preprocess_image(np.full((64, 64, 3), 200), model.data["mean_image"])
    x = (200 / 255 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        expected = module(x[None, :, None, None].expand(1, 3, 64, 64))
    np.testing.assert_allclose(model.loss(X), expected, rtol=1e-4, atol=1e-4)
    assert model.layers == ("1", "logits")


class Skip(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.relu, self.fc = nn.ReLU(), nn.Linear(3, 2)

    def forward(self, x):
        return self.fc(self.relu(self.conv2(self.relu(self.conv1(x))) + x).mean((2, 3)))


def test_a_branch_around_the_start_is_said():
    model = course.PretrainedCNN(pg.Classifier(Skip(), size=8, name="skip"))
    feats, _ = model.forward(np.zeros((2, 3, 8, 8)), end=1)
    with pytest.raises(ModelError, match=r"layer 1 of skip needs more than 'relu' gives"):
        model.forward(feats, start=1, end=1)
    assert model.forward(feats, start=2)[0].shape == (2, 2)


def test_the_default_model_too():
    model = course.PretrainedCNN("efficientnet_lite0")
    scores = model.loss(np.zeros((1, 3, 224, 224)))
    assert scores.shape == (1, 1000)
    assert model.layers[-1] == "logits"
    assert all(name.endswith(("bn1", "bn2", "bn3")) for name in model.layers[:-1])


# ---------------------------------------------------------------- functions, step by step


def test_saliency_both_ways(model, small, X):
    y = np.array([0, 1, 4, 2, 2])
    close(
        course.compute_saliency_maps(X, y, model),
        np.abs(pull(small.module, X, 2, lambda s: s[range(5), y].sum())).max(axis=1),
    )
    close(
        course.compute_saliency_maps(X, y, model, through="loss"),
        np.abs(pull(small.module, X, 2, lambda s: F.cross_entropy(s, torch.from_numpy(y)))).max(axis=1),
    )


class Recording:
    """The model, keeping the pictures that it is shown."""

    def __init__(self, model):
        self.data, self.backward, self.given, self.seen = model.data, model.backward, model.forward, []

    def forward(self, X, **more):
        self.seen.append(X.copy())
        return self.given(X, **more)


def test_every_step_of_fooling(model, small, X):
    before, watched, steps = X.copy(), Recording(model), 0
    for i in range(5):
        target = int(model.loss(X[i : i + 1])[0].argsort()[-2])
        watched.seen.clear()
        found = course.make_fooling_image(X[i : i + 1], target, watched, learning_rate=5e4)
        x = X[i : i + 1]
        for picture in watched.seen:
            close(picture, x)
            if outputs(small.module, x, 2).argmax() == target:
                break
            x = x + 5e4 * pull(small.module, x, 2, lambda s, t=target: s[0, t])
            steps += 1
        close(found, x)
        assert model.loss(found).argmax() == target
    assert steps >= 5
    assert np.array_equal(X, before)


def test_fooling_that_does_not_succeed_says_so(model, X):
    target = int(model.loss(X[:1])[0].argmin())
    with pytest.warns(UserWarning, match="after 2 steps the model says class"):
        course.make_fooling_image(X[:1], target, model, learning_rate=1e-6, num_iterations=2)


def test_every_step_of_class_visualization(model, small, shown):
    watched = Recording(model)
    np.random.seed(4)
    found = course.create_class_visualization(3, watched, num_iterations=8, l2_reg=1e-5, show_every=3)
    np.random.seed(4)
    x = np.random.randn(1, 3, 16, 16)
    for t in range(8):
        ox, oy = np.random.randint(-4, 5, 2)
        x = rolled(x, ox, oy)
        close(watched.seen[t], x)
        x = x + 10000 * pull(small.module, x, 2, lambda s: s[0, 3]) - 10000 * 2 * 1e-5 * x
        x = np.clip(rolled(x, -ox, -oy), -MEAN, 255 - MEAN)
        x = blurred(x)
    close(found, x)
    assert len(watched.seen) == 8
    assert shown == ["t = 0", "t = 3", "t = 6"]


@pytest.mark.parametrize(("layer", "rate"), [(0, 10.0), (1, 1000.0), (2, 10000.0)])
def test_every_step_of_inversion(model, small, X, layer, rate, shown):
    feats, _ = model.forward(X[:1], end=layer)
    watched = Recording(model)
    np.random.seed(4)
    found = course.invert_features(
        feats, layer, watched, num_iterations=8, learning_rate=rate, l2_reg=1e-5, blur_every=3, show_every=5
    )
    np.random.seed(4)
    x = np.random.randn(1, 3, 16, 16)
    for t in range(8):
        close(watched.seen[t], x)
        g = pull(small.module, x, layer, lambda f: ((f - torch.from_numpy(feats)) ** 2).sum())
        x = np.clip(x - rate * (g + 2 * 1e-5 * x), -MEAN, 255 - MEAN)
        if t % 3 == 0:
            x = blurred(x)
    close(found, x)
    assert shown == ["t = 0", "t = 5", "t = 7"]


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_every_step_of_deepdream(model, small, X, layer, shown):
    before, watched = X.copy(), Recording(model)
    np.random.seed(4)
    found = course.deepdream(X[:1], layer, watched, num_iterations=6, max_jitter=5, show_every=3)
    np.random.seed(4)
    x = X[:1]
    for t in range(6):
        ox, oy = np.random.randint(-5, 6, 2)
        x = rolled(x, ox, oy)
        close(watched.seen[t], x)
        x = x + 5 * pull(small.module, x, layer, lambda f: (f**2).sum() / 2)
        x = np.clip(rolled(x, -ox, -oy), -MEAN, 255 - MEAN)
    close(found, x)
    assert np.array_equal(X, before)
    assert shown == ["t = 1", "t = 3", "t = 6"]


@pytest.mark.parametrize(("function", "defaults"), [
    (course.create_class_visualization, {"learning_rate": 10000, "blur_every": 1, "l2_reg": 1e-6,
                                         "max_jitter": 4, "num_iterations": 100, "show_every": 25}),
    (course.invert_features, {"learning_rate": 10000, "num_iterations": 500, "l2_reg": 1e-7, "blur_every": 1,
                              "show_every": 50}),
    (course.deepdream, {"learning_rate": 5, "max_jitter": 16, "num_iterations": 100, "show_every": 25}),
])  # fmt: skip
def test_the_defaults_are_the_courses(function, defaults):
    given = inspect.signature(function).parameters.values()
    assert {p.name: p.default for p in given if p.default is not p.empty} == defaults


# ---------------------------------------------------------------- tinynet


def cat(model):
    tiny = pg.load("tinynet")
    return pg.open_image("sample:cat", tiny).numpy() * 255 - model.data["mean_image"]


def test_every_layer_of_tinynet_is_inverted():
    model = course.PretrainedCNN()
    X = cat(model)
    for layer in range(9):
        feats, _ = model.forward(X, end=layer)
        np.random.seed(0)
        rate = 100 if layer else 10
        found = course.invert_features(
            feats, layer, model, learning_rate=rate, num_iterations=40, show_every=0
        )
        off = np.linalg.norm(model.forward(found, end=layer)[0] - feats)
        blank = np.linalg.norm(model.forward(np.zeros_like(X), end=layer)[0] - feats)
        assert off < 0.8 * blank, layer


def test_tinynet_dreams_and_sees_a_class():
    model = course.PretrainedCNN()
    X = cat(model)
    energy = []
    for steps in (0, 5):
        dream = course.deepdream(X, 4, model, num_iterations=steps, learning_rate=50, show_every=0)
        energy.append((model.forward(dream, end=4)[0] ** 2).sum())
    assert energy[1] > 1.5 * energy[0]
    np.random.seed(0)
    picture = course.create_class_visualization(0, model, num_iterations=20, show_every=0)
    assert model.loss(picture).argmax() == 0


@pytest.mark.parametrize("layer", ["layer1", "layer4", "layer6"])
def test_deconvnet_of_tinynet(layer):
    tiny = pg.load("tinynet")
    found = pg.make("show/deconvnet", layer=layer, top=2).run(tiny, pg.open_image("sample:cat", tiny))
    assert found.pixels.shape == (1, 2, 3, 64, 64)
    assert found.pixels.isfinite().all()
    assert (found.pixels.flatten(2).abs().amax(2) > 0).all()


# ---------------------------------------------------------------- pictures


def test_blur_image(X):
    close(course.blur_image(X), blurred(X))


def test_pictures_there_and_back(model):
    photo = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    mean = np.random.default_rng(1).uniform(90, 130, (3, 16, 16))
    X = course.preprocess_image(photo, mean)
    assert X.shape == (1, 3, 16, 16)
    close(X[0, 1, 2, 3], photo[2, 3, 1] - mean[1, 2, 3])
    pixel = course.preprocess_image(photo, mean, mean="pixel")
    close(pixel[0, 1, 2, 3], photo[2, 3, 1] - mean[1].mean())
    close(course.preprocess_image(photo, mean, mean="none")[0, 1, 2, 3], photo[2, 3, 1])
    assert np.array_equal(course.deprocess_image(X + 0.01, mean), photo)
    assert np.array_equal(course.deprocess_image(X[0] + 0.01, mean), photo)
    assert np.array_equal(course.deprocess_image(pixel + 0.01, mean, mean="pixel"), photo)
    assert course.deprocess_image(X + 1000, mean).min() == 255  # and not around to 0 again
    stretched = course.deprocess_image(X / 10, np.zeros_like(mean), renorm=True)
    assert (stretched.min(), stretched.max()) == (0, 255)


Xs = np.zeros((2, 3, 16, 16))
BAD = {
    "shape of X": (lambda m: m.forward(Xs[0]), ModelError, r"\(N, 3, H, W\).*\(3, 16, 16\)"),
    "channels last": (lambda m: m.loss(Xs.transpose(0, 2, 3, 1)), ModelError, r"\(N, 3, H, W\)"),
    "end": (lambda m: m.forward(Xs, end=3), NotFound, "end is an index: small has layers 0 to 2"),
    "start": (lambda m: m.forward(Xs, start=-1), NotFound, "start is an index"),
    "order": (lambda m: m.forward(Xs, start=2, end=1), SettingError, "end is the last layer, 2 or later; got 1"),
    "mode": (lambda m: m.forward(Xs, mode="train"), SettingError, "mode is 'test'"),
    "dout": (lambda m: m.backward(np.zeros((2, 4)), m.forward(Xs)[1]), ModelError, r"\(2, 5\); got \(2, 4\)"),
    "labels": (lambda m: m.loss(Xs, np.array([0])), ModelError, r"\(N,\), one for each of 2"),
    "range of labels": (lambda m: m.loss(Xs, np.array([0, 5])), NotFound, "classes are 0 to 4"),
    "kind of labels": (lambda m: course.compute_saliency_maps(Xs, [0.5, 1], m), ModelError, "whole numbers"),
    "through": (lambda m: course.compute_saliency_maps(Xs, [0, 1], m, "x"), SettingError, "'score' or 'loss'"),
    "no mean": (lambda m: course.compute_saliency_maps(Xs + 255, [0, 1], m), ModelError, "less the mean image, -115"),
    "not a number": (lambda m: course.deepdream(Xs[:1] + np.nan, 0, m), ModelError, "got nan"),
    "two pictures": (lambda m: course.make_fooling_image(Xs, 1, m), ModelError, r"\(1, 3, H, W\)"),
    "target": (lambda m: course.make_fooling_image(Xs[:1], 5, m), NotFound, "classes are 0 to 4"),
    "class": (lambda m: course.create_class_visualization(-1, m), NotFound, "classes are 0 to 4"),
    "features": (lambda m: course.invert_features(Xs, 0, m), ModelError, r"\(1, 8, 16, 16\); got \(2, 3"),
    "a photograph": (lambda m: course.preprocess_image(Xs[0], Xs[0]), ModelError, r"\(H, W, 3\)"),
    "its mean": (lambda m: course.preprocess_image(np.zeros((8, 8, 3)), Xs[0]), ModelError, "mean='pixel'"),
    "which mean": (lambda m: course.deprocess_image(Xs, Xs[0], mean="x"), SettingError, "'image', 'pixel'"),
    "no layers": (lambda m: course.PretrainedCNN(pg.Classifier(nn.Flatten(), size=8)), ModelError, "no convolution"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_said_in_one_line(model, small, case):
    call, error, message = BAD[case]
    state = state_of(small.module)
    with pytest.raises(error, match=message) as caught:
        call(model)
    assert isinstance(caught.value, PixelgradError)
    assert "\n" not in str(caught.value)
    assert same(state, state_of(small.module))


def test_weights_that_are_no_numbers_are_said(model, small, X):
    small.module.conv2.weight.data[:] = float("nan")
    with pytest.raises(ModelError, match="not finite"):
        course.deepdream(X[:1], 1, model)
