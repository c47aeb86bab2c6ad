"""find/patches against a plain loop over a DataLoader, pictures per second.

The plain loop is what one writes first: PIL and torchvision's transforms in as many workers as there are cores, the
network as it is made under no_grad, hooks on the same layers, the highest value of each channel on each picture, and
its nine best so far. It draws nothing, keeps no histogram, and cannot be gone on with. The pictures are JPEG files,
cut at random from the photographs at the network's size. Both rates are from the first batch to the last, without the
start of the workers.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import pixelgrad as pg
from benchmarks.find import through
from benchmarks.frame import Curve, Row
from benchmarks.setting import Setting, plain
from pixelgrad.datasets import open_data

BATCH, K = 64, 9
NETWORKS = ("tinynet", "efficientnet_lite0")


def rows(setting: Setting) -> Iterator[Row | Curve]:
    """64 pictures for each of the others; the times are of 1,000."""
    n = max(2 * BATCH, 64 * setting.images)
    for name in NETWORKS:
        model = pg.load(name)
        own: list[float] = []
        other: list[float] = []
        with tempfile.TemporaryDirectory() as folder:
            assert model.preprocessing.size is not None
            write(setting.files(16), Path(folder), n, model.preprocessing.size)
            data, survey = open_data(folder), pg.make("find/patches")
            layers = survey.prepare(model).layers.split(",")
            for _ in range(min(2, setting.rounds)):
                own.append(1000 / through(survey, model, data)[0])
                other.append(1000 / loop(model, layers, folder))
        what = f"{len(layers)} layers' channels over {n} pictures, seconds for 1,000"
        yield Row("patches", what, name, "a DataLoader loop", tuple(own), tuple(other))


def write(photos: Sequence[str], folder: Path, n: int, size: tuple[int, int]) -> None:
    """n pieces of the photographs, of (height, width)."""
    dice, whole = random.Random(0), [pg.images.read(photo) for photo in photos]
    for i in range(n):
        photo = whole[i % len(whole)]
        width = dice.randint(min(photo.size) // 2, min(photo.size))
        left, top = (dice.randint(0, side - width) for side in photo.size)
        piece = photo.resize(size[::-1], Image.Resampling.BILINEAR, (left, top, left + width, top + width))
        piece.save(folder / f"{i:05}.jpg", quality=90)


class Files(Dataset[Tensor]):
    """Pictures as torchvision prepares them."""

    def __init__(self, folder: str, model: pg.Classifier) -> None:
        from torchvision import transforms

        self.paths = sorted(Path(folder).iterdir())
        self.transform = transforms.Compose(
            [
                transforms.Resize(model.preprocessing.size),
                transforms.ToTensor(),
                transforms.Normalize(model.mean, model.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> Tensor:
        with Image.open(self.paths[i]) as image:
            pixels: Tensor = self.transform(image.convert("RGB"))
        return pixels


@torch.no_grad()
def loop(model: pg.Classifier, layers: Sequence[str], folder: str) -> float:
    """Pictures per second."""
    module = plain(model, hooked=True)
    found: dict[str, Tensor] = {}
    for name in layers:

        def keep(_: Any, __: Any, output: Tensor, name: str = name) -> None:
            found[name] = output.flatten(2).amax(2) if output.dim() > 2 else output

        module.get_submodule(name).register_forward_hook(keep)
    loader = DataLoader(Files(folder, model), BATCH, num_workers=torch.get_num_threads())
    best: dict[str, Tensor] = {}
    start = None
    done = 0
    for x in loader:
        module(x)
        for name in layers:
            best[name] = torch.cat([best.get(name, found[name][:0]), found[name]]).topk(
                min(K, len(best.get(name, ())) + len(x)), 0
            )[0]
        if start is None:
            start = time.perf_counter()
        else:
            done += len(x)
    assert start is not None
    return done / (time.perf_counter() - start)
