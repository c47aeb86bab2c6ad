"""Data, networks and photographs that the tests share."""

from __future__ import annotations

import os
from pathlib import Path

# Before torch is imported, here and in the processes that tests start: most tensors are small, and two threads on
# cores that have other work are many times slower than one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from torch import nn

import pixelgrad as pg
from pixelgrad.faster import Faster
from tests.commands import cat, done, fails, here, random_squeezenet, run  # noqa: F401 - fixtures

ROOT = Path(__file__).parent.parent


def pytest_addoption(parser):
    parser.addoption(
        "--as-loaded", action="store_true", help="run networks as they were loaded, in no faster form"
    )


@pytest.fixture(scope="session", autouse=True)
def as_loaded(request):
    """With --as-loaded, every result has to be the same without the faster form."""
    with pytest.MonkeyPatch.context() as patch:
        if request.config.getoption("--as-loaded"):
            patch.setattr(Faster, "form", lambda self, *_, **__: self._module)
        yield


@pytest.fixture(autouse=True)
def not_about_the_faster_form(request):
    """Left out with --as-loaded."""
    if request.config.getoption("--as-loaded") and request.path.stem in ("test_faster", "test_fused"):
        pytest.skip("about the faster form")


@pytest.fixture(autouse=True)
def one_seed():
    """Every test starts from the same random numbers."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of data that is not part of the repository."""
    folder = Path(os.environ.get("PIXELGRAD_SHARED", ROOT.parent / "shared"))
    if not (folder / "README.md").is_file():
        pytest.skip(f"needs the shared data ({folder}, or $PIXELGRAD_SHARED)")
    return folder


@pytest.fixture(scope="session")
def lite0() -> pg.Classifier:
    """The default model, with its real weights."""
    return pg.load("efficientnet_lite0")


@pytest.fixture(scope="session")
def squeezenet(shared: Path) -> pg.Classifier:
    """SqueezeNet 1.0 with real weights."""
    return pg.load("squeezenet1_0", weights=shared / "models" / "squeezenet1_0.safetensors")


class Small(nn.Module):
    """A small network with what breaks naive tools: in-place ReLU, a reused module, dropout, batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(8, 12, 3, padding=1)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(12, 5)

    def forward(self, x):
        x = self.pool(self.relu(self.bn1(self.conv1(x))))
        x = self.relu(self.conv2(x))
        return self.fc(self.drop(x.mean((2, 3))))


@pytest.fixture
def small() -> pg.Classifier:
    """`Small` in float64, in training mode, with batch-norm statistics that are not the initial ones."""
    torch.manual_seed(1)
    module = Small().double()
    module(torch.randn(8, 3, 16, 16, dtype=torch.float64))
    labels = ["ant", "bee", "cat", "dog", "eel"]
    return pg.Classifier(module, mean=0.45, std=0.25, size=16, labels=labels, name="small")


@pytest.fixture
def pixels() -> torch.Tensor:
    """Five random pictures for `small`."""
    return torch.rand(5, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
