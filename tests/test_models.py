"""Where classifiers come from: the package, the caches, a file; what does not fit is explained, no code is run."""

from __future__ import annotations

import csv
import os
import pickle
import socket
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torchvision import models as tv

import pixelgrad as pg
from pixelgrad.errors import ModelError, NotFound, PixelgradError
from pixelgrad.models import efficientnet_lite0 as package
from pixelgrad.models.weights import read


@pytest.fixture(autouse=True)
def no_network(monkeypatch) -> Iterator[None]:
    """Whoever asks for the network fails the test, even where the refusal is swallowed."""
    asked = []

    def refuse(*args, **_):
        asked.append(args)
        raise OSError("the network was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    # where timm would begin a download; without this huggingface_hub tries again for a minute
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", refuse)
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_url", refuse)
    yield
    assert asked == []


@pytest.fixture
def checkpoints(tmp_path, monkeypatch) -> Path:
    """An empty torch cache; Hugging Face's is empty too."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def squeezenet_state(seed: int = 0) -> dict[str, torch.Tensor]:
    """Random weights for SqueezeNet 1.1, the smallest of torchvision's."""
    random = torch.Generator().manual_seed(seed)
    own = tv.get_model("squeezenet1_1").state_dict()
    return {k: torch.randn(v.shape, generator=random) * 0.05 for k, v in own.items()}


def refused(*args, **kwargs) -> str:
    """The one line that a load is refused with."""
    with pytest.raises(ModelError) as caught:
        pg.load(*args, **kwargs)
    message = str(caught.value)
    assert "\n" not in message
    return message


# ---------------------------------------------------------------------- the default


def test_the_default_carries_the_packages_weights_under_timms_names(lite0):
    raw = read(Path(package.EfficientnetLite0ModelFile.get_model_file_path()))
    own = lite0.module.state_dict()
    assert len(raw) == len(own) == 296
    renamed = package.renamed(raw)
    assert list(renamed) == list(own)
    assert all(torch.equal(renamed[key], own[key]) for key in own)


def test_the_default_has_the_names_of_imagenet(lite0):
    assert len(lite0.labels) == 1000
    assert [lite0.labels[i] for i in (0, 1, 281, 999)] == ["tench", "goldfish", "tabby", "toilet tissue"]
    assert lite0.label("tabby") == 281


def test_the_default_needs_no_file_and_no_network():
    model = pg.load("efficientnet_lite0")
    assert (model.name, model.weights) == ("efficientnet_lite0", None)
    assert model.top(pg.open_image("sample:cat", model), 1)[0][0].label in (
        "tabby",
        "tiger cat",
        "Egyptian cat",
    )


@pytest.mark.parametrize("damage", ["changed", "cut", "empty", "gone"])
def test_a_damaged_package_file_is_found_out(tmp_path, monkeypatch, damage):
    data = bytearray(Path(package.EfficientnetLite0ModelFile.get_model_file_path()).read_bytes())
    data[len(data) // 2] ^= 1
    file = tmp_path / "weights.pth"
    if damage != "gone":
        file.write_bytes({"changed": data, "cut": data[: len(data) // 2], "empty": b""}[damage])
    monkeypatch.setattr(package.EfficientnetLite0ModelFile, "get_model_file_path", lambda: str(file))
    assert str(file) in refused("efficientnet_lite0")


def test_the_default_takes_weights_under_either_names(tmp_path, lite0):
    raw = read(Path(package.EfficientnetLite0ModelFile.get_model_file_path()))
    raw = {k: v.contiguous() for k, v in raw.items()}
    raw["_fc.bias"] = raw["_fc.bias"] + 1
    torch.save(raw, tmp_path / "package.pth")
    save_file(package.renamed(raw), tmp_path / "timm.safetensors")
    for name in ("package.pth", "timm.safetensors"):
        model = pg.load("efficientnet_lite0", weights=tmp_path / name)
        assert torch.equal(model.module.classifier.bias, lite0.module.classifier.bias + 1)


@pytest.mark.parametrize(
    "key",
    ["_blocks.0._se_reduce.weight", "_blocks.16._bn0.weight", "_head.weight", "_blocks.x._bn0.weight", "fc"],
)
def test_other_efficientnets_for_the_default_are_explained(tmp_path, key):
    raw = dict(read(Path(package.EfficientnetLite0ModelFile.get_model_file_path())))
    raw[key] = torch.zeros(3)
    save_file({k: v.contiguous() for k, v in raw.items()}, tmp_path / "b0.safetensors")
    message = refused("efficientnet_lite0", weights=tmp_path / "b0.safetensors")
    assert "does not fit efficientnet_lite0" in message
    assert key in message


# ---------------------------------------------------------------------- every source


def test_loaded_modules_are_frozen_and_in_evaluation_mode(lite0, tmp_path):
    save_file(squeezenet_state(), tmp_path / "w.safetensors")
    for model in (lite0, pg.load("squeezenet1_1", weights=tmp_path / "w.safetensors")):
        assert not any(m.training for m in model.module.modules())
        assert not any(p.requires_grad for p in model.module.parameters())


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("efficientnet_lite", "efficientnet_lite0"),
        ("resnet19", "resnet18"),
        ("SqueezeNet1_1", "squeezenet1_1"),
        ("timm/resnet18.a1_in1", "timm/resnet18.a1_in1k"),
        ("resnet18.a1_in1k", "timm/resnet18.a1_in1k"),
    ],
)
def test_an_unknown_model_is_answered_with_the_nearest(wrong, right):
    with pytest.raises(NotFound, match="did you mean") as caught:
        pg.load(wrong)
    assert repr(right) in str(caught.value)


@pytest.mark.parametrize("name", ["", "timm/", "/etc/passwd", "../resnet18", "timm/hf-hub:x/y", "hf-hub:x/y"])
def test_a_name_that_is_none_is_not_found(name):
    with pytest.raises(NotFound):
        pg.load(name)


def test_a_device_that_is_not_there_is_a_clear_error():
    assert "cuda:77 cannot be used" in refused("efficientnet_lite0", device="cuda:77")
    assert "nonsense cannot be used" in refused("efficientnet_lite0", device="nonsense")


# ---------------------------------------------------------------------- torchvision


def test_torchvision_weights_in_torchs_cache_load(checkpoints):
    state = squeezenet_state()
    torch.save(state, checkpoints / "squeezenet1_1-b8a52dc0.pth")
    model = pg.load("squeezenet1_1")
    own = model.module.state_dict()
    assert own.keys() == state.keys()
    assert all(torch.equal(own[k], state[k]) for k in own)
    assert model.labels[281] == "tabby"
    assert (model.name, model.weights) == ("squeezenet1_1", None)


def test_torchvision_gives_the_logits_of_the_module_itself(checkpoints):
    state = tv.resnet18().state_dict()
    torch.save(state, checkpoints / "resnet18-f37072fd.pth")
    model = pg.load("resnet18")
    alone = tv.resnet18().eval()
    alone.load_state_dict(state)
    pixels = torch.rand(2, 3, 96, 96)
    preset = tv.ResNet18_Weights.DEFAULT.transforms()
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (preset.mean, preset.std))
    with torch.no_grad():
        torch.testing.assert_close(model(pixels), alone((pixels - mean) / std), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "file"), [("resnet18", "resnet18-f37072fd.pth"), ("vgg16", "vgg16-397923af.pth")]
)
def test_missing_torchvision_weights_say_which_file_and_where_it_goes(checkpoints, name, file):
    message = refused(name)
    assert name in message
    assert file in message
    assert str(checkpoints) in message
    assert f"https://download.pytorch.org/models/{file}" in message


def test_googlenet_with_its_published_heads_loads(checkpoints):
    """The published file holds the auxiliary heads, and input scaling is on."""
    whole = tv.googlenet(init_weights=False, aux_logits=True, transform_input=True)
    torch.save(whole.state_dict(), checkpoints / "googlenet-1378be20.pth")
    model = pg.load("googlenet")
    assert model.module.transform_input
    assert model(torch.rand(1, 3, 64, 64)).shape == (1, 1000)


# ---------------------------------------------------------------------- timm


def hub_file(hub: Path, repository: str, name: str = "model.safetensors") -> Path:
    """Where huggingface_hub keeps a file of a repository."""
    folder = hub / f"models--{repository.replace('/', '--')}"
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = folder / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(commit)
    return snapshot / name


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_timm_weights_in_hugging_faces_cache_load(checkpoints, tmp_path, file):
    state = timm.create_model("test_resnet").state_dict()
    path = hub_file(tmp_path / "hub", "timm/test_resnet.r160_in1k", file)
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    assert huggingface_hub.try_to_load_from_cache("timm/test_resnet.r160_in1k", file) == str(path)
    model = pg.load("timm/test_resnet.r160_in1k")
    own = model.module.state_dict()
    assert all(torch.equal(own[k], state[k]) for k in state)
    assert model.preprocessing.size == (160, 160)
    assert model.preprocessing.resize == 168
    assert model.labels[281] == "tabby"
    assert model.name == "timm/test_resnet.r160_in1k"


def test_timms_name_without_a_training_is_the_default_one(checkpoints, tmp_path):
    state = timm.create_model("test_resnet").state_dict()
    save_file(state, hub_file(tmp_path / "hub", "timm/test_resnet.r160_in1k"))
    assert torch.equal(pg.load("timm/test_resnet").module.state_dict()["fc.bias"], state["fc.bias"])


def test_missing_timm_weights_say_which_file_is_missing_and_where_it_goes(checkpoints, tmp_path):
    message = refused("timm/resnet18.a1_in1k")
    assert "model.safetensors" in message
    assert "timm/resnet18.a1_in1k" in message
    assert str(tmp_path / "hub") in message


def test_timm_weights_of_the_first_trainers_are_renamed_by_timm(tmp_path):
    """ConvNeXt's authors name the stages otherwise."""
    state = timm.create_model("test_convnext").state_dict()
    original = {"norm.weight": state["head.norm.weight"], "norm.bias": state["head.norm.bias"]}
    for key, value in state.items():
        if key.startswith("head.fc"):
            original[key.replace("head.fc", "head")] = value
        elif key.startswith("stem."):
            original[key.replace("stem.", "downsample_layers.0.")] = value
        elif ".downsample." in key:
            _, stage, _, rest = key.split(".", 3)
            original[f"downsample_layers.{stage}.{rest}"] = value
        elif key.startswith("stages."):
            key = key.replace(".blocks.", ".").replace("mlp.fc", "pwconv").replace("conv_dw", "dwconv")
            original[key] = value
    torch.save(original, tmp_path / "convnext.pth")
    assert not original.keys() & {"stem.0.weight", "head.fc.weight"}
    own = pg.load("timm/test_convnext", weights=tmp_path / "convnext.pth").module.state_dict()
    assert all(torch.equal(own[k], v) for k, v in state.items())


@pytest.mark.parametrize(
    "name", ["test_resnet", "test_convnext", "test_vit", "test_efficientnet", "test_nfnet", "test_byobnet"]
)
@pytest.mark.parametrize("alien", ["squeezenet", "empty", "one"])
def test_weights_of_another_architecture_for_timm_say_which_keys_differ(tmp_path, name, alien):
    state = {"squeezenet": squeezenet_state(), "empty": {}, "one": {"head.weight": torch.zeros(3)}}[alien]
    torch.save(state, tmp_path / "w.pth")
    message = refused(f"timm/{name}", weights=tmp_path / "w.pth")
    assert f"does not fit timm/{name}" in message
    assert "lacks" in message


def test_shapes_that_timms_own_renaming_trips_over_are_explained(tmp_path):
    state = {"pos_embed": torch.zeros(1), "patch_embed.proj.weight": torch.zeros(1)}
    torch.save(state, tmp_path / "w.pth")
    assert "does not fit timm/test_vit" in refused("timm/test_vit", weights=tmp_path / "w.pth")


# ---------------------------------------------------------------------- a file of your own


@pytest.mark.parametrize("form", ["safetensors", "state dict", "checkpoint", "old format"])
def test_weights_from_a_file(tmp_path, form):
    state = squeezenet_state()
    file = tmp_path / ("w.safetensors" if form == "safetensors" else "w.pth")
    if form == "safetensors":
        save_file(state, file)
    elif form == "checkpoint":
        torch.save({"epoch": 7, "lr": [0.1], "state_dict": state}, file)
    else:
        torch.save(state, file, _use_new_zipfile_serialization=form != "old format")
    model = pg.load("squeezenet1_1", weights=os.fspath(file))
    own = model.module.state_dict()
    assert all(torch.equal(own[k], state[k]) for k in own)
    assert (model.weights, model.labels[281]) == (str(file), "tabby")


def test_half_precision_on_disk_is_single_precision_in_memory(tmp_path):
    save_file({k: v.half() for k, v in squeezenet_state().items()}, tmp_path / "w.safetensors")
    assert pg.load("squeezenet1_1", weights=tmp_path / "w.safetensors").dtype == torch.float32


def test_old_files_without_the_counters_of_batch_norm_load(tmp_path):
    state = {k: v for k, v in tv.resnet18().state_dict().items() if "num_batches" not in k}
    save_file(state, tmp_path / "w.safetensors")
    own = pg.load("resnet18", weights=tmp_path / "w.safetensors").module.state_dict()
    assert torch.equal(own["fc.bias"], state["fc.bias"])


class Trap:
    """Unpickled, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (os.fspath(self.folder),)


@pytest.mark.parametrize("form", ["zip", "old format", "plain pickle", "named safetensors"])
def test_a_pickle_that_runs_code_is_refused_and_its_code_not_run(tmp_path, form):
    trap = tmp_path / "sprung"
    file = tmp_path / ("w.safetensors" if form == "named safetensors" else "w.pth")
    if form in ("plain pickle", "named safetensors"):
        file.write_bytes(pickle.dumps({"state_dict": Trap(trap)}))
    else:
        torch.save(squeezenet_state() | {"x": Trap(trap)}, file, _use_new_zipfile_serialization=form == "zip")
    message = refused("squeezenet1_1", weights=file)
    assert not trap.exists()
    assert str(file) in message
    if form != "named safetensors":
        assert "code" in message


def test_a_whole_pickled_module_is_refused_with_the_cure(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "w.pth")
    assert "state_dict()" in refused("squeezenet1_1", weights=tmp_path / "w.pth")


def test_a_scripted_module_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.pt", "w") as archive:
        for name in ("w/constants.pkl", "w/data.pkl", "w/version", "w/code/__torch__.py"):
            archive.writestr(name, b"3\n")
    assert str(tmp_path / "w.pt") in refused("squeezenet1_1", weights=tmp_path / "w.pt")


@pytest.mark.parametrize(
    "thing",
    [
        [torch.zeros(2)],
        torch.zeros(2),
        {"a": 1},
        {"model": {"a": torch.zeros(2)}},
        "text",
        None,
        {3: torch.zeros(2)},
    ],
    ids=["list", "tensor", "numbers", "nested", "text", "none", "numbered"],
)
def test_what_is_no_state_dict_is_refused(tmp_path, thing):
    torch.save(thing, tmp_path / "w.pth")
    assert str(tmp_path / "w.pth") in refused("squeezenet1_1", weights=tmp_path / "w.pth")


@pytest.mark.parametrize("ending", [".safetensors", ".pth", ".bin", ""])
@pytest.mark.parametrize("damage", ["empty", "text", "header", "half", "noise"])
def test_damaged_weights_files_are_refused(tmp_path, ending, damage):
    whole = tmp_path / "whole"
    save_file(squeezenet_state(), whole) if ending == ".safetensors" else torch.save(
        squeezenet_state(), whole
    )
    data = whole.read_bytes()
    noise = np.random.default_rng(0).bytes(3000)
    file = tmp_path / f"w{ending}"
    file.write_bytes(
        {
            "empty": b"",
            "text": b"weights\n" * 9,
            "header": data[:100],
            "half": data[: len(data) // 2],
            "noise": noise,
        }[damage]
    )
    assert str(file) in refused("squeezenet1_1", weights=file)


def test_a_missing_weights_file_a_folder_and_an_impossible_name_are_refused(tmp_path):
    assert "no such weights file" in refused("squeezenet1_1", weights=tmp_path / "none.pth")
    refused("squeezenet1_1", weights=tmp_path)
    refused("squeezenet1_1", weights=tmp_path / ("x" * 300 + ".pth"))


def test_weights_of_another_architecture_say_which_keys_differ(tmp_path):
    state = squeezenet_state()
    save_file(state, tmp_path / "w.safetensors")
    message = refused("resnet18", weights=tmp_path / "w.safetensors")
    assert "does not fit resnet18" in message
    assert "lacks conv1.weight" in message
    assert "has besides features.0.weight" in message or "has besides classifier.1" in message
    assert "more" in message


def test_weights_of_a_sibling_say_which_shapes_differ(tmp_path):
    save_file(squeezenet_state(), tmp_path / "w.safetensors")
    message = refused("squeezenet1_0", weights=tmp_path / "w.safetensors")
    assert "features.0.weight is 64×3×3×3, not 96×3×7×7" in message


def test_weights_that_lack_one_key_or_have_one_too_many_are_refused(tmp_path):
    state = squeezenet_state()
    extra = state | {"surplus": torch.zeros(1)}
    del state["classifier.1.bias"]
    for content, words in ((state, "lacks classifier.1.bias"), (extra, "has besides surplus")):
        save_file(content, tmp_path / "w.safetensors")
        assert words in refused("squeezenet1_1", weights=tmp_path / "w.safetensors")


# ---------------------------------------------------------------------- a module of your own


def test_your_own_module_needs_nothing_else():
    model = pg.Classifier(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    pixels = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(model(pixels), pixels.mean((2, 3)))
    assert model.top(pixels)[0][0].label.startswith("class ")


def test_your_own_mean_and_std_are_applied_once():
    model = pg.Classifier(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), mean=(0.1, 0.2, 0.3), std=0.5)
    expected = (torch.full((1, 3), 0.6) - torch.tensor([0.1, 0.2, 0.3])) / 0.5
    torch.testing.assert_close(model(torch.full((1, 3, 4, 4), 0.6)), expected)


@pytest.mark.parametrize("number", [np.float32(0.5), np.float64(0.5), torch.tensor(0.5), 1], ids=str)
def test_any_kind_of_number_is_a_mean(number):
    assert pg.Classifier(nn.Flatten(), mean=number).mean == (float(number),) * 3


@pytest.mark.parametrize("size", [np.int64(16), (16, 16), [16, 16]], ids=repr)
def test_any_kind_of_whole_number_is_a_size(size):
    model = pg.Classifier(nn.Flatten(), size=size)
    assert pg.open_image("sample:cat", model).shape == (1, 3, 16, 16)


@pytest.mark.parametrize(
    "bad",
    [
        {"mean": (0.5, 0.5)},
        {"mean": "half"},
        {"mean": float("nan")},
        {"mean": (0.5, 0.5, "x")},
        {"mean": None},
        {"std": 0},
        {"std": (0.2, 0.2, 0)},
        {"std": -1.0},
        {"std": float("nan")},
        {"std": (0.2, float("nan"), 0.2)},
        {"std": float("inf")},
        {"size": 0},
        {"size": -5},
        {"size": 16.5},
        {"size": "16"},
        {"size": (16,)},
        {"size": (16, 16, 16)},
        {"size": (16, 0)},
        {"resize": 0},
        {"resize": (8, -8)},
        {"size": 16, "resize": 1.5},
        {"interpolation": "cubic"},
        {"labels": "tabby"},
        {"labels": 1000},
        {"labels": [1, 2, 3]},
    ],
    ids=str,
)
def test_bad_arguments_are_refused_by_their_name(bad):
    with pytest.raises(PixelgradError, match=list(bad)[-1]):
        pg.Classifier(nn.Flatten(), **bad)


@pytest.mark.parametrize("module", [None, torch.relu, nn.Linear, "resnet18", nn.Linear(2, 2).state_dict()])
def test_what_is_no_module_is_refused(module):
    with pytest.raises(ModelError, match="torch module"):
        pg.Classifier(module)


def test_labels_that_do_not_match_the_logits_are_refused():
    model = pg.Classifier(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), labels=["a", "b"])
    with pytest.raises(ModelError, match="3 logits but has 2 labels"):
        model(torch.rand(1, 3, 8, 8))


# ---------------------------------------------------------------------- real photographs


def accuracy(model: pg.Classifier, shared: Path) -> float:
    """The share of the 48 photographs whose most probable class is the true one."""
    with (shared / "images" / "labels.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 48
    photos = [shared / "images" / "photos" / row["filename"] for row in rows]
    guesses = [model.top(pg.open_image(photo, model), 1)[0][0].index for photo in photos]
    return sum(g == int(row["class_index"]) for g, row in zip(guesses, rows, strict=True)) / len(rows)


def test_the_default_is_right_on_80_percent_of_the_photographs(lite0, shared):
    assert accuracy(lite0, shared) >= 0.80


def test_squeezenet_is_right_on_45_percent_of_the_photographs(squeezenet, shared):
    assert accuracy(squeezenet, shared) >= 0.45


def test_squeezenet_loads_strictly_from_the_shared_file(squeezenet, shared):
    state = load_file(shared / "models" / "squeezenet1_0.safetensors")
    own = squeezenet.module.state_dict()
    assert own.keys() == state.keys()
    assert all(torch.equal(own[k], state[k]) for k in own)
