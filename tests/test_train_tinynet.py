"""examples/train_tinynet.py on a data set of three colours: resuming, refusing, measuring."""

from __future__ import annotations

import importlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from .miniature import miniature

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # only a CPU repeats its bits
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # nor in the processes started here
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # for pictures so few, threads cost more than they save
    yield importlib.import_module("train_tinynet")
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return miniature(tmp_path_factory.mktemp("data") / "tiny")


def arguments(data: Path, out: Path, *more: str) -> list[str]:
    return ["--data", str(data), "--out", str(out), "--epochs", "3", "--batch", "7", *more]


def weights(out: Path) -> dict[str, Tensor]:
    return load_file(out / "tinynet.safetensors")


def test_interrupted_and_resumed_is_bit_identical(
    script: ModuleType, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert script.main(arguments(data, tmp_path / "whole")) == 0

    calls = 0
    augment = script.augment

    def interrupted(pixels: Tensor, rng: torch.Generator) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 5:  # in the middle of the second of three epochs
            raise KeyboardInterrupt
        result: Tensor = augment(pixels, rng)
        return result

    monkeypatch.setattr(script, "augment", interrupted)
    assert script.main(arguments(data, tmp_path / "parts")) == 130
    assert not (tmp_path / "parts" / "tinynet.safetensors").exists()
    torch.rand(3)  # the global generator is elsewhere, as in a new process
    assert script.main(arguments(data, tmp_path / "parts", "--resume")) == 0

    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    for key, value in whole.items():
        assert torch.equal(value, parts[key]), key


def test_another_seed_gives_another_network(script: ModuleType, data: Path, tmp_path: Path) -> None:
    for seed in "01":
        script.main(arguments(data, tmp_path / seed, "--seed", seed, "--epochs", "1"))
    key = "layer1.conv.weight"
    assert not torch.equal(weights(tmp_path / "0")[key], weights(tmp_path / "1")[key])


def test_what_was_trained_can_be_measured_and_resuming_the_finished_is_free(
    script: ModuleType, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ("--classes", "2", "--limit", "4")
    assert script.main(arguments(data, tmp_path, *small)) == 0
    before = weights(tmp_path)
    assert script.main(arguments(data, tmp_path, *small, "--resume")) == 0
    assert all(torch.equal(value, before[key]) for key, value in weights(tmp_path).items())
    file = tmp_path / "tinynet.safetensors"
    said = capsys.readouterr().out.strip().splitlines()[-1]
    assert script.main(["--evaluate", str(data), "--weights", str(file)]) == 0
    measured = capsys.readouterr().out.strip()
    assert measured.endswith("of 4 pictures")
    assert said == f"{file}: {measured}"


def test_refusals_are_one_line(
    script: ModuleType, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refusal(*args: str) -> str:
        assert script.main(list(args)) == 1
        line = capsys.readouterr().err
        assert line.startswith("error: ")
        assert line.count("\n") == 1
        return line

    out = tmp_path / "out"
    assert script.main(arguments(data, out, "--epochs", "1")) == 0
    capsys.readouterr()
    again = arguments(data, out, "--epochs", "1")
    assert "--resume goes on from it" in refusal(*again)
    assert "of a training with seed 0, not 5" in refusal(*again, "--resume", "--seed", "5")
    assert "of a training with classes" in refusal(*again, "--resume", "--classes", "2")

    state = torch.load(out / "checkpoint.pt", weights_only=True)
    state["net"]["classifier.weight"] = torch.zeros(3, 5)
    torch.save(state, out / "checkpoint.pt")
    assert "holds a network of another shape" in refusal(*again, "--resume")
    for foreign in (b"", b"no checkpoint at all"):
        (out / "checkpoint.pt").write_bytes(foreign)
        assert "is no checkpoint of this training" in refusal(*again, "--resume")
    torch.save({"weight": torch.zeros(2)}, out / "checkpoint.pt")
    assert "is no checkpoint of this training" in refusal(*again, "--resume")

    file = tmp_path / "file"
    file.write_text("")
    assert "cannot write to" in refusal(*arguments(data, file / "out"))
    assert "is no TinyImageNet" in refusal(*arguments(tmp_path, out))
    trained = str(out / "tinynet.safetensors")
    assert "no folder" in refusal("--evaluate", str(tmp_path / "no"), "--weights", trained)
    assert "no such weights file" in refusal("--evaluate", str(data), "--weights", trained + "x")


def test_killed_and_resumed_is_bit_identical(script: ModuleType, data: Path, tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    epochs = ("--epochs", "4")
    command = [sys.executable, str(EXAMPLES / "train_tinynet.py")]
    process = subprocess.Popen([*command, *arguments(data, killed, *epochs)])
    while process.poll() is None and not (killed / "checkpoint.pt").exists():
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert script.main(arguments(data, killed, *epochs, "--resume")) == 0
    assert script.main(arguments(data, whole, *epochs)) == 0
    assert all(torch.equal(value, weights(whole)[key]) for key, value in weights(killed).items())
