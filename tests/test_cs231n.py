"""The course's PyTorch edition: every function against its update rule, written out with plain autograd."""

from __future__ import annotations

import os
import pickle
import random
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from PIL import Image
from scipy.ndimage import gaussian_filter1d
from torch import nn
from torchvision import transforms as T

import pixelgrad as pg
from pixelgrad import cs231n, images
from pixelgrad.cs231n import pytorch_edition
from pixelgrad.errors import DataError, ImageError, ModelError, NotFound, PixelgradError, SettingError
from tests.conftest import ROOT
from tests.test_classifier import same, state_of

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture
def model(small):
    """A module in float64, in training mode, with dropout and batch norm."""
    return small.module.train()


@pytest.fixture(name="X")
def pictures():
    return torch.randn(5, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def shown(monkeypatch):
    """The titles of what a notebook would show."""
    titles = []

    def show():
        titles.append([axes.get_title() for axes in plt.gcf().axes])

    monkeypatch.setattr(plt, "show", show)
    return titles


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def score_and_gradient(model, X, y, l2=0.0):
    """Scores of the module in evaluation mode, and ∂/∂X Σ (s_y − λ‖X‖²)."""
    mode = [m.training for m in model.modules()]
    model.eval()
    x = X.detach().clone().requires_grad_()
    scores = model(x)
    (gradient,) = torch.autograd.grad(scores[range(len(x)), y].sum() - l2 * (x**2).sum(), x)
    for m, training in zip(model.modules(), mode, strict=True):
        m.training = training
    return scores.detach(), gradient


# ---------------------------------------------------------------- saliency


def test_saliency_through_the_score(model, X):
    y = torch.tensor([4, 0, 2, 2, 1])
    state = state_of(model)
    found = cs231n.compute_saliency_maps(X, y, model)
    assert same(state, state_of(model))
    _, gradient = score_and_gradient(model, X, y)
    close(found, gradient.abs().max(dim=1)[0])
    assert found.shape == (5, 16, 16)
    assert not found.requires_grad


def test_saliency_through_the_loss(model, X):
    y = torch.tensor([4, 0, 2, 2, 1])
    found = cs231n.compute_saliency_maps(X, y, model, through="loss")
    x = X.clone().requires_grad_()
    nn.CrossEntropyLoss()(model.eval()(x), y).backward()
    close(found, x.grad.abs().max(dim=1)[0])


def test_labels_may_be_an_array(model, X):
    y = np.array([4, 0, 2, 2, 1])
    assert torch.equal(
        cs231n.compute_saliency_maps(X, y, model), cs231n.compute_saliency_maps(X, torch.tensor(y), model)
    )


def test_show_saliency_maps(model, shown):
    photos = np.random.default_rng(0).integers(0, 256, (3, 20, 20, 3), dtype=np.uint8)
    names = {0: "ant", 1: "bee", 4: "eel"}
    cs231n.show_saliency_maps(photos, [1, 4, 0], model, names)
    assert shown == [["bee", "eel", "ant", "", "", ""]]
    with pytest.raises(ModelError, match=r"\(N, H, W, 3\)"):
        cs231n.show_saliency_maps(photos.transpose(0, 3, 1, 2), [1, 4, 0], model)


# ---------------------------------------------------------------- fooling


def test_every_step_of_fooling(model, X, monkeypatch):
    seen = []
    stepped = pytorch_edition._stepped

    def record(*args):
        seen.append(stepped(*args))
        return seen[-1]

    monkeypatch.setattr(pytorch_edition, "_stepped", record)
    before, state = X.clone(), state_of(model)
    steps = 0
    for i in range(5):
        seen.clear()
        target = int(score_and_gradient(model, X[i : i + 1], [0])[0].argsort()[0, -2])  # the second best
        found = cs231n.make_fooling_image(X[i : i + 1], target, model)
        x = X[i : i + 1].clone()
        expected = []
        for _ in range(100):
            scores, g = score_and_gradient(model, x, [target])
            if scores.argmax() == target:
                break
            x = x + 1 * g / torch.sqrt((g**2).sum())
            expected.append(x)
        steps += len(expected)
        assert len(seen) == len(expected)
        for a, b in zip(seen, expected, strict=True):
            close(a, b)
        close(found, x)
        assert model.eval()(found).argmax() == target
        model.train()
        assert not found.requires_grad
    assert steps >= 5
    assert torch.equal(X, before)
    assert same(state, state_of(model))


def test_fooling_that_does_not_succeed_says_so(X):
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 256, 2)).double()
    model[1].weight.data[1] = model[1].weight.data[0] * (1 - 1e-9)
    model[1].bias.data[:] = torch.tensor([0.0, -1e6])
    with pytest.warns(UserWarning, match="after 100 steps the model says class 0, not 1"):
        cs231n.make_fooling_image(X[:1], 1, model)


def photographs() -> torch.Tensor:
    """100 pictures (100, 3, 64, 64) of 8 bits: of TinyImageNet's validation set, or pieces of the samples."""
    shared = Path(os.environ.get("PIXELGRAD_SHARED", ROOT.parent / "shared"))
    archive = shared / "data" / "tiny-imagenet-100-A.tar.xz"
    if archive.is_file():
        found = []
        with tarfile.open(archive) as tar:
            for member in tar:
                if "/val/images/" in member.name and member.isfile():
                    with Image.open(tar.extractfile(member)) as image:
                        found.append(np.asarray(image.convert("RGB")))
                    if len(found) == 100:
                        return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2)
    chosen = random.Random(0)
    pieces = []
    for _ in range(100):
        photo = images.read(f"sample:{chosen.choice(list(images.SAMPLES))}")
        side = chosen.randrange(100, min(photo.size))
        left, top = chosen.randrange(photo.width - side + 1), chosen.randrange(photo.height - side + 1)
        piece = photo.crop((left, top, left + side, top + side)).resize((64, 64))
        pieces.append(np.asarray(piece))
    return torch.from_numpy(np.stack(pieces)).permute(0, 3, 1, 2)


def test_fooling_succeeds_on_tinynet_for_every_picture_and_class():
    model = pg.load("tinynet").module
    chosen = random.Random(1)
    missed = []
    for i, picture in enumerate(photographs()):
        target = chosen.randrange(100)
        X = cs231n.preprocess(Image.fromarray(picture.permute(1, 2, 0).numpy()), 64)
        found = cs231n.make_fooling_image(X, target, model)
        with torch.no_grad():
            if int(model.eval()(found).argmax()) != target:
                missed.append((i, target))
        assert (found - X).norm() < X.norm()
    assert i == 99
    assert missed == []


# ---------------------------------------------------------------- class visualization


def test_update_step(model, X):
    img = X[:1].clone().requires_grad_()
    expected = X[:1].clone()
    state, place = state_of(model), img.data_ptr()
    for _ in range(6):
        cs231n.class_visualization_update_step(img, model, 3, 1e-3, 2.5)
        _, g = score_and_gradient(model, expected, [3], l2=1e-3)
        expected = expected + 2.5 * g / torch.sqrt((g**2).sum())
        close(img.detach(), expected)
    assert img.data_ptr() == place
    assert img.grad is None
    assert same(state, state_of(model))


def rolled(x, ox, oy):
    """Column j goes to j + ox, row i to i + oy, around the edge."""
    found = torch.empty_like(x)
    height, width = x.shape[2:]
    for i in range(height):
        for j in range(width):
            found[:, :, (i + oy) % height, (j + ox) % width] = x[:, :, i, j]
    return found


def blurred(x, sigma):
    found = x.numpy()
    for axis in (2, 3):
        found = gaussian_filter1d(found, sigma, axis=axis)
    return torch.from_numpy(found)


def test_every_step_of_class_visualization(model, monkeypatch, shown):
    seen = []
    step = cs231n.class_visualization_update_step

    def record(img, *args):
        step(img, *args)
        seen.append(img.clone())

    monkeypatch.setattr(pytorch_edition, "class_visualization_update_step", record)
    torch.manual_seed(5)
    random.seed(6)
    picture = cs231n.create_class_visualization(
        2, model, torch.DoubleTensor, num_iterations=12, max_jitter=5, show_every=6, size=16,
        class_names=["ant", "bee", "cat"],
    )  # fmt: skip

    torch.manual_seed(5)
    random.seed(6)
    x = torch.randn(1, 3, 16, 16).double()
    for t in range(12):
        ox, oy = random.randint(0, 5), random.randint(0, 5)
        x = rolled(x, ox, oy)
        _, g = score_and_gradient(model, x, [2], l2=1e-3)
        x = x + 25 * g / torch.sqrt((g**2).sum())
        close(seen[t], x)
        x = rolled(x, -ox, -oy)
        for c in range(3):
            x[:, c] = x[:, c].clamp(-np.float32(MEAN[c]) / np.float32(STD[c]),
                                    (1 - np.float32(MEAN[c])) / np.float32(STD[c]))  # fmt: skip
        if t % 10 == 0:
            x = blurred(x, 0.5)
    assert len(seen) == 12
    assert np.array_equal(np.asarray(picture), np.asarray(cs231n.deprocess(x)))
    assert shown == [["cat\nIteration 1 / 12"], ["cat\nIteration 6 / 12"], ["cat\nIteration 12 / 12"]]


def test_class_visualization_on_tinynet():
    model = pg.load("tinynet").module
    torch.manual_seed(0)
    random.seed(0)
    picture = cs231n.create_class_visualization(
        0, model, torch.FloatTensor, num_iterations=20, show_every=0, size=64, max_jitter=4
    )
    assert picture.size == (64, 64)
    with torch.no_grad():
        assert int(model.eval()(cs231n.preprocess(picture, 64)).argmax()) == 0


def test_the_defaults_are_the_courses(monkeypatch, shown):
    asked = []
    monkeypatch.setattr(
        pytorch_edition,
        "class_visualization_update_step",
        lambda img, *args: asked.append((img.clone(), *args)),
    )
    blurs = []
    monkeypatch.setattr(pytorch_edition, "blur_image", lambda img, sigma: blurs.append(sigma))
    model = nn.Flatten()
    cs231n.create_class_visualization(76, model, torch.FloatTensor)
    assert len(asked) == 100
    assert asked[0][0].shape == (1, 3, 224, 224)
    assert all(call[1:] == (model, 76, 1e-3, 25) for call in asked)
    assert blurs == [0.5] * 10
    assert [title for (title,) in shown] == [f"class 76\nIteration {t} / 100" for t in (1, 25, 50, 75, 100)]


# ---------------------------------------------------------------- pictures


def test_preprocess_is_the_courses():
    photo = images.read("sample:coffee")
    course = T.Compose([T.Resize(100), T.ToTensor(), T.Normalize(MEAN, STD), T.Lambda(lambda x: x[None])])
    assert torch.equal(cs231n.preprocess(photo, 100), course(photo))
    assert cs231n.preprocess(photo).shape[2] == 224
    assert cs231n.preprocess(photo.convert("L")).shape[:2] == (1, 3)


def test_deprocess_is_the_courses():
    X = cs231n.preprocess(images.read("sample:coffee"), 100)
    invert = T.Compose([
        T.Lambda(lambda x: x[0]),
        T.Normalize((0, 0, 0), (1 / cs231n.SQUEEZENET_STD).tolist()),
        T.Normalize((-cs231n.SQUEEZENET_MEAN).tolist(), (1, 1, 1)),
    ])  # fmt: skip
    x = invert(X)
    course = T.ToPILImage()((x - x.min()) / (x.max() - x.min()))
    assert np.array_equal(np.asarray(cs231n.deprocess(X)), np.asarray(course))
    assert np.array_equal(
        np.asarray(cs231n.deprocess(X, should_rescale=False)), np.asarray(T.ToPILImage()(x.clamp(0, 1)))
    )


def test_a_picture_of_one_value_can_be_shown():
    assert np.asarray(cs231n.deprocess(torch.zeros(1, 3, 4, 4))).shape == (4, 4, 3)
    assert torch.equal(cs231n.rescale(torch.ones(2, 2)), torch.zeros(2, 2))
    assert torch.equal(cs231n.rescale(torch.tensor([1.0, 2, 3])), torch.tensor([0, 0.5, 1]))


@pytest.mark.parametrize("sigma", [0.5, 1, 3])
def test_blur_image_is_scipys_in_place(X, sigma):
    before = X.clone()
    assert cs231n.blur_image(X, sigma=sigma) is X
    close(X, blurred(before, sigma))


@pytest.mark.parametrize(("ox", "oy"), [(0, 0), (3, 0), (0, 5), (7, 2), (-7, -2), (-1, 4)])
def test_jitter_rolls(X, ox, oy):
    assert torch.equal(cs231n.jitter(X, ox, oy), rolled(X, ox, oy))
    assert torch.equal(cs231n.jitter(cs231n.jitter(X, ox, oy), -ox, -oy), X)


def test_the_constants_are_arrays():
    assert cs231n.SQUEEZENET_MEAN.tolist() == np.float32(MEAN).tolist()
    assert cs231n.SQUEEZENET_STD.dtype == np.float32


# ---------------------------------------------------------------- the file of pictures


def npz(path, **arrays):
    np.savez(path, **({"X": np.zeros((3, 8, 8, 3), np.uint8), "y": np.arange(3)} | arrays))
    return path


def test_load_imagenet_val(tmp_path):
    X = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    names = {958: "hay", 85: "quail", 244: "Tibetan mastiff, a dog"}
    file = npz(tmp_path / "val.npz", X=X, y=np.array([958, 85, 244]), label_map=names)
    found, y, class_names = cs231n.load_imagenet_val(num=2, path=file)
    assert np.array_equal(found, X[:2])
    assert y.tolist() == [958, 85]
    assert class_names == names
    assert len(cs231n.load_imagenet_val(path=file)[0]) == 3


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_names_as_any_python_wrote_them(tmp_path, protocol):
    names = {np.int64(3): "tench", np.str_("4") if protocol else 4: np.str_("crane")}
    array = np.empty((), object)
    array[()] = names
    file = npz(tmp_path / "val.npz")
    with zipfile.ZipFile(file, "a") as archive, archive.open("label_map.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "|O", "fortran_order": False, "shape": ()})
        pickle.dump(array, member, protocol=protocol)
    assert cs231n.load_imagenet_val(path=file)[2] == {3: "tench", 4: "crane"}


def test_names_in_a_list(tmp_path):
    file = npz(tmp_path / "val.npz", label_map=np.array(["ant", "bee"]))
    assert cs231n.load_imagenet_val(path=file)[2] == {0: "ant", 1: "bee"}


class Evil:
    def __reduce__(self):
        return os.mkdir, ("was-run",)


def test_a_pickle_that_wants_to_run_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = npz(tmp_path / "val.npz", label_map={0: Evil()})
    with pytest.raises(DataError, match=r"wants to run (posix|nt)\.mkdir"):
        cs231n.load_imagenet_val(path=file)
    assert not Path("was-run").exists()


@pytest.mark.parametrize(("arrays", "message"), [
    ({}, "no .npz with X, y and label_map"),
    ({"X": np.zeros((3, 3, 8, 8)), "label_map": {0: "a"}}, r"X is \(N, H, W, 3\)"),
    ({"y": np.zeros(2), "label_map": {0: "a"}}, r"y is \(N,\)"),
])  # fmt: skip
def test_another_file_is_said(tmp_path, arrays, message):
    with pytest.raises(DataError, match=message):
        cs231n.load_imagenet_val(path=npz(tmp_path / "val.npz", **arrays))


def test_a_file_that_is_missing_or_none_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"no file 'cs231n/datasets/imagenet_val_25\.npz'"):
        cs231n.load_imagenet_val(num=5)
    (tmp_path / "a.npz").write_bytes(b"not a file of arrays")
    with pytest.raises(DataError, match=r"is no \.npz"):
        cs231n.load_imagenet_val(path=tmp_path / "a.npz")


# ---------------------------------------------------------------- the notebook's own cells, and bad input


def test_the_notebook_runs_on_the_names_alone(tmp_path, shown):
    """What a student's notebook does with the functions, as it does it."""
    photos = torch.stack([images.open_image(f"sample:{n}", pg.load("tinynet"))[0] for n in ("cat", "coffee")])
    photos = (photos * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    file = npz(
        tmp_path / "val.npz", X=photos, y=np.array([76, 6]), label_map={6: "stingray", 76: "tarantula"}
    )
    names: dict = {}
    exec("from pixelgrad.cs231n import *", names)
    model = pg.load("tinynet").module
    for parameter in model.parameters():
        parameter.requires_grad = False
    X, y, _ = names["load_imagenet_val"](num=5, path=file)
    X_tensor = torch.cat([names["preprocess"](Image.fromarray(x), 64) for x in X], dim=0)
    y_tensor = torch.LongTensor(y)
    saliency = names["compute_saliency_maps"](X_tensor, y_tensor, model).numpy()
    assert saliency.shape == (2, 64, 64)
    X_fooling = names["make_fooling_image"](X_tensor[0:1], 6, model)
    assert model.eval()(X_fooling).data.max(1)[1][0].item() == 6
    fooled = np.asarray(names["deprocess"](X_fooling.clone())).astype(np.uint8)
    assert fooled.shape == (64, 64, 3)
    dtype = torch.FloatTensor
    model.type(dtype)
    img = torch.randn(1, 3, 64, 64).mul_(1.0).type(dtype).requires_grad_()
    img.data.copy_(names["jitter"](img.data, 3, 5))
    names["class_visualization_update_step"](img, model, 76, 1e-3, 25)
    img.data.copy_(names["jitter"](img.data, -3, -5))
    names["blur_image"](img.data, sigma=0.5)
    assert img.isfinite().all()
    out = names["create_class_visualization"](76, model, dtype, num_iterations=2, size=64)
    assert out.size == (64, 64)
    assert set(names) >= set(cs231n.__all__)


Xs = torch.zeros(2, 3, 16, 16, dtype=torch.float64)
BAD = {
    "shape of X": (lambda m: cs231n.compute_saliency_maps(Xs[0], [0, 1], m), ModelError, r"\(N, 3, H, W\).*\(3, 16"),
    "channels last": (
        lambda m: cs231n.compute_saliency_maps(Xs.permute(0, 2, 3, 1), [0, 1], m), ModelError, r"\(N, 3, H, W\)"),
    "an array": (
        lambda m: cs231n.compute_saliency_maps(Xs.numpy(), [0, 1], m), ModelError, r"tensor \(N, 3, H, W\)"),
    "whole numbers": (
        lambda m: cs231n.compute_saliency_maps(Xs.long(), [0, 1], m), ModelError, "floats.*int64"),
    "not normalised": (
        lambda m: cs231n.compute_saliency_maps(Xs + 200, [0, 1], m), ModelError, "got 200 to 200: preprocess"),
    "not a number": (
        lambda m: cs231n.compute_saliency_maps(Xs + torch.nan, [0, 1], m), ModelError, "got nan"),
    "shape of y": (lambda m: cs231n.compute_saliency_maps(Xs, [0], m), ModelError, r"\(N,\), one for each of 2"),
    "kind of y": (lambda m: cs231n.compute_saliency_maps(Xs, [0.0, 1], m), ModelError, "whole numbers"),
    "y too high": (lambda m: cs231n.compute_saliency_maps(Xs, [0, 5], m), NotFound, "classes are 0 to 4"),
    "y too low": (lambda m: cs231n.compute_saliency_maps(Xs, [0, -1], m), NotFound, "no class '-1'"),
    "through": (lambda m: cs231n.compute_saliency_maps(Xs, [0, 1], m, "los"), SettingError, "'score' or 'loss'"),
    "two pictures": (lambda m: cs231n.make_fooling_image(Xs, 1, m), ModelError, r"\(1, 3, H, W\).*\(2, 3"),
    "target": (lambda m: cs231n.make_fooling_image(Xs[:1], 5, m), NotFound, "classes are 0 to 4"),
    "target's name": (lambda m: cs231n.make_fooling_image(Xs[:1], "ant", m), NotFound, "no class 'ant'"),
    "img": (lambda m: cs231n.class_visualization_update_step(Xs, m, 1, 0, 1), ModelError, r"img is one picture"),
    "dtype": (lambda m: cs231n.create_class_visualization(1, m, "float", size=16), SettingError, "FloatTensor"),
    "a photograph": (lambda m: cs231n.preprocess(np.zeros((4, 4, 3))), ImageError, "PIL image.*fromarray"),
    "sigma": (lambda m: cs231n.blur_image(Xs.clone(), 0), SettingError, "above 0"),
    "a classifier": (
        lambda m: cs231n.make_fooling_image(Xs[:1], 1, pg.Classifier(m, name="x")), ModelError, r"give x's \.module"),
    "no module": (lambda m: cs231n.make_fooling_image(Xs[:1], 1, len), ModelError, "from a torch module"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_said_in_one_line(model, case):
    call, error, message = BAD[case]
    state = state_of(model)
    with pytest.raises(error, match=message) as caught:
        call(model)
    assert isinstance(caught.value, PixelgradError)
    assert "\n" not in str(caught.value)
    assert same(state, state_of(model))


def test_a_gradient_that_leads_nowhere_is_said(model, X):
    for p in model.parameters():
        p.data.zero_()
    model.fc.bias.data[0] = 2
    with pytest.raises(ModelError, match="leads nowhere"):
        cs231n.make_fooling_image(X[:1], 1, model)
    img = X[:1].clone()
    with pytest.raises(ModelError, match="leads nowhere"):
        cs231n.class_visualization_update_step(img, model, 1, 0, 1)
    assert torch.equal(img, X[:1])
