"""What benchmarks of speed are run on: networks, pictures, this machine, and the peers that are there."""

from __future__ import annotations

import copy
import functools
import importlib
import os
import platform
import resource
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

import pixelgrad as pg

ROOT = Path(__file__).parent.parent
LUCENT = ROOT / ".venv-lucent"
PEERS = ("captum", "foolbox")


@dataclass(frozen=True)
class Setting:
    """images: in a batch; rounds: at most; photos: folder of photographs, else the samples; squeezenet: file with its
    weights; say: told what is left out."""

    images: int
    rounds: int
    photos: Path | None
    squeezenet: str | None
    say: Callable[[str], None]

    @functools.cached_property
    def networks(self) -> Sequence[pg.Classifier]:
        """EfficientNet-Lite0, and SqueezeNet where its weights are."""
        found = [pg.load("efficientnet_lite0")]
        try:
            found.append(pg.load("squeezenet1_0", weights=self.squeezenet))
        except pg.PixelgradError as error:
            self.say(f"SqueezeNet is left out: {error}")
        return found

    def files(self, n: int) -> list[str]:
        """n photographs; where there are fewer, the same again."""
        endings = (".png", ".jpg", ".jpeg")
        found = [] if self.photos is None else sorted(self.photos.iterdir())
        names = [str(path) for path in found if path.suffix.lower() in endings]
        if self.photos is not None and not names:
            raise SystemExit(f"no PNG or JPEG files in {self.photos}")
        names = names or [f"sample:{name}" for name in pg.images.SAMPLES]
        return (names * -(-n // len(names)))[:n]

    def pictures(self, model: pg.Classifier, n: int) -> Tensor:
        """Pixels (n, 3, h, w), a little noise over them, so that none is there twice."""
        pixels = pg.open_images(self.files(n), model)
        random = torch.Generator().manual_seed(0)
        return (pixels + 0.02 * torch.rand(pixels.shape, generator=random)).clamp(0, 1)

    def peer(self, name: str) -> ModuleType | None:
        """A module to compare with, if it is installed; if not, that is said."""
        try:
            return importlib.import_module(name)
        except ImportError as error:
            self.say(f"{name.partition('.')[0]} is left out: {error}")
            return None


def plain(model: pg.Classifier, hooked: bool = False) -> nn.Module:
    """The network as its own library makes it, which is what people give to the peers: its weights ask for gradients.
    hooked: hooks will read its layers' outputs, which an in-place module would change."""
    module = copy.deepcopy(model.module).to(memory_format=torch.contiguous_format)
    for m in module.modules():
        if hooked and getattr(m, "inplace", False):
            m.inplace = False
    return module.eval().requires_grad_(True)


def machine() -> dict[str, Any]:
    """What the numbers were measured on, and with what."""
    names = ("torch", "torchvision", "timm", *PEERS)
    versions = {name: version for name in names if (version := version_of(name))}
    lucent = [d.version for d in metadata.distributions(path=lucent_packages()) if d.name == "torch-lucent"]
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {
            "pixelgrad": version_of("pixelgrad"),
            "Python": platform.python_version(),
            **versions,
            **({"torch-lucent": lucent[0]} if lucent else {}),
        },
    }


def processor() -> str:
    """What the processor calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "unknown")


def most() -> float:
    """The most memory that this process has had, in MiB. Linux counts in `ru_maxrss` what the parent had."""
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return int(text.partition("VmHWM:")[2].split()[0]) / 1024


def lucent_packages() -> list[str]:
    """Where Lucent is, in an environment of its own."""
    return [str(path) for path in LUCENT.glob("lib/python*/site-packages")]


def version_of(name: str) -> str | None:
    """The version of what is installed under a name."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
