"""The network tinynet, and the weights of it that come with the package."""

from __future__ import annotations

import tarfile
import time
from importlib.resources import as_file, files
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import pixelgrad as pg
from pixelgrad.datasets.tiny_imagenet import TinyImageNet, load
from pixelgrad.errors import ModelError
from pixelgrad.models.tinynet import TinyNet, about

FLOOR = 0.55  # top-1 on the validation pictures; the model card says what was measured


@pytest.fixture(scope="module")
def tinynet() -> pg.Classifier:
    return pg.load("tinynet")


@pytest.mark.parametrize(("height", "width"), [(64, 64), (16, 16), (65, 47), (224, 224)])
def test_takes_any_size(height: int, width: int) -> None:
    net = TinyNet(7).eval()
    assert net(torch.rand(2, 3, height, width)).shape == (2, 7)


def test_is_as_small_as_its_docstring_says() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    net = TinyNet().eval()
    with FlopCounterMode(display=False) as counter:
        net(torch.rand(1, 3, 64, 64))
    assert counter.get_total_flops() / 2e9 == pytest.approx(0.12, abs=0.005)
    assert sum(p.numel() for p in net.parameters()) / 1e6 == pytest.approx(2.4, abs=0.05)


def test_layers_are_called_as_one_says_them(tinynet: pg.Classifier) -> None:
    shapes = {layer.name: tuple(layer.shape) for layer in tinynet.layers()}
    assert shapes["layer1"][-3:] == (32, 64, 64)
    assert shapes["layer4"][-3:] == (96, 16, 16)
    assert shapes["layer8"][-3:] == (384, 4, 4)
    assert shapes["classifier"][-1] == 100
    pools = [layer.name for layer in tinynet.layers() if layer.kind == "MaxPool2d"]
    assert pools == ["pool1", "pool2", "pool4", "pool6"]


def test_bundled_weights_bring_their_labels(tinynet: pg.Classifier) -> None:
    assert tinynet.labels is not None
    assert len(set(tinynet.labels)) == 100
    assert tinynet.label("goldfish") == 0
    facts = about()
    assert len(facts["recipe"]["classes"]) == 100
    assert facts["top1"] >= FLOOR
    assert "research" in facts["licence"]


def test_bundled_weights_are_small_and_quick_to_load() -> None:
    with as_file(files("pixelgrad.models") / "tinynet.safetensors") as file:
        assert file.stat().st_size < 6e6
        tensors = load_file(file)
    assert {t.dtype for t in tensors.values()} == {torch.float16, torch.int64}
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        model = pg.load("tinynet")
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.1
    assert model.dtype == torch.float32


def test_large_pictures_are_taken_as_they_are(tinynet: pg.Classifier) -> None:
    large = torch.rand(1, 3, 200, 300)
    assert tinynet(large).shape == (1, 100)
    assert tinynet.activations(large, ["layer4"])["layer4"].shape == (1, 96, 50, 75)


def test_own_weights_bring_their_own_labels(tmp_path: Path) -> None:
    file = tmp_path / "own.safetensors"
    facts = {"labels": '["a", "b"]', "mean": "[0, 0, 0]", "std": "[1, 1, 1]", "recipe": "{}"}
    save_file(TinyNet(2).state_dict(), file, facts)
    model = pg.load("tinynet", weights=file)
    assert model.labels == ("a", "b")
    assert model(torch.rand(1, 3, 64, 64)).shape == (1, 2)


def test_a_plain_state_dict_is_for_the_bundled_labels(tmp_path: Path) -> None:
    net = TinyNet().eval()
    torch.save(net.state_dict(), tmp_path / "own.pt")
    model = pg.load("tinynet", weights=tmp_path / "own.pt")
    assert model.labels == pg.load("tinynet").labels
    pixels = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(model(pixels), net(model.normalise(pixels)), rtol=1e-4, atol=1e-5)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    torch.save(TinyNet(3).state_dict(), tmp_path / "three.pt")
    with pytest.raises(ModelError, match=r"classifier\.weight is 3×384, not 100×384"):
        pg.load("tinynet", weights=tmp_path / "three.pt")


def test_accuracy_on_the_validation_pictures(tinynet: pg.Classifier, shared: Path, tmp_path: Path) -> None:
    archive = shared / "data" / "tiny-imagenet-100-A.tar.xz"
    if not archive.is_file():
        pytest.skip(f"needs {archive}")
    with tarfile.open(archive) as tar:
        parts = (m for m in tar if "/train/" not in m.name)
        tar.extractall(tmp_path, parts, filter="data")
    data = TinyImageNet(next(tmp_path.glob("*/wnids.txt")).parent)
    assert list(data.wnids) == about()["recipe"]["classes"]
    assert data.names == tinynet.labels
    pictures = data.val()
    labels = torch.tensor([p.label for p in pictures])
    with torch.no_grad():
        logits = torch.cat([tinynet(part / 255) for part in torch.split(load(pictures), 250)])
    top1 = (logits.argmax(1) == labels).float().mean().item()
    assert top1 >= FLOOR
    assert top1 == pytest.approx(about()["top1"], abs=0.002)  # kernels differ between machines
