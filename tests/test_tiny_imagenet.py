"""The reader of TinyImageNet's published layout, and what it says of each kind of damage."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from pixelgrad.datasets.tiny_imagenet import Picture, TinyImageNet, load
from pixelgrad.errors import DataError

from .miniature import draw, miniature


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return miniature(tmp_path / "tiny")


def everything(folder: Path) -> None:
    data = TinyImageNet(folder)
    load(data.train() + data.val())


def test_lists_classes_pictures_and_boxes(folder: Path) -> None:
    data = TinyImageNet(str(folder))
    assert data.wnids == ("n01", "n02", "n03")
    assert data.names == ("red thing", "green thing", "blue thing")
    assert len(data.train()) == 18
    assert [p.label for p in data.val()] == [0, 0, 1, 1, 2, 2]
    first = folder / "train" / "n01" / "images" / "n01_0.JPEG"
    assert data.train()[0] == Picture(first, 0, (0, 1, 60, 61))
    assert data.val()[-1] == Picture(folder / "val/images/val_2_1.JPEG", 2, (0, 0, 63, 11))


def test_subset_is_relabelled_in_the_order_given(folder: Path) -> None:
    part = TinyImageNet(folder).subset(["n03", "n01"])
    assert part.names == ("blue thing", "red thing")
    assert [p.label for p in part.val()] == [1, 1, 0, 0]
    assert {p.path.parts[-3] for p in part.train() if p.label == 0} == {"n03"}


def test_a_folder_cut_down_to_some_classes_is_whole(folder: Path) -> None:
    (folder / "wnids.txt").write_text("n02\n")
    shutil.rmtree(folder / "train" / "n01")
    data = TinyImageNet(folder)
    assert {p.label for p in data.train() + data.val()} == {0}


def test_load_decodes_in_order_and_reports_progress(folder: Path) -> None:
    pictures = TinyImageNet(folder).val()
    seen: list[int] = []
    pixels = load(pictures, seen.append)
    assert (pixels.shape, pixels.dtype) == ((6, 3, 64, 64), torch.uint8)
    assert seen == list(range(6))
    assert pixels.float().mean((2, 3)).argmax(1).tolist() == [0, 0, 1, 1, 2, 2]


def test_greyscale_becomes_rgb(folder: Path) -> None:
    picture = TinyImageNet(folder).val()[0]
    Image.new("L", (64, 64), 77).save(picture.path, "JPEG")
    assert load([picture]).eq(77).all()


def remove(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return damage


def write(name: str, content: str | bytes) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return damage


IMAGES, BOXES = "train/n02/images", "train/n02/n02_boxes.txt"
DAMAGE = {
    "no folder": (remove("."), "no folder '{0}'"),
    "foreign folder": (remove("wnids.txt"), "'{0}' is no TinyImageNet: it has no wnids.txt"),
    "no classes": (write("wnids.txt", ""), "'{0}/wnids.txt' is empty or names a class twice"),
    "class twice": (write("wnids.txt", "n01\nn01"), "'{0}/wnids.txt' is empty or names a class"),
    "no words": (remove("words.txt"), "no file '{0}/words.txt': the folder is incomplete"),
    "words of others": (write("words.txt", "n01\ta"), "'{0}/words.txt' has no name for 'n02'"),
    "words without tabs": (
        write("words.txt", "n01 a"),
        "'{0}/words.txt', line 1: 1 columns, not 2",
    ),
    "words not text": (write("words.txt", b"\xff\xfe\x00"), "'{0}/words.txt' cannot be read: "),
    "no train": (remove("train"), "no file '{0}/train/n01/n01_boxes.txt': the folder is incompl"),
    "no class folder": (remove("train/n02"), f"no file '{{0}}/{BOXES}': the folder is incomplete"),
    "no boxes": (remove(BOXES), f"no file '{{0}}/{BOXES}': the folder is incomplete"),
    "no images": (remove(IMAGES), f"no folder '{{0}}/{IMAGES}': the data are incomplete"),
    "one image": (remove(f"{IMAGES}/n02_3.JPEG"), f"'{{0}}/{IMAGES}' lacks 'n02_3.JPEG'$"),
    "odd box": (
        write(BOXES, "n02_0.JPEG\t1\t2\t3\tx"),
        "n02_0.JPEG': its box .* is not four integ",
    ),
    "no val": (remove("val"), "no file '{0}/val/val_annotations.txt': the folder is incomplete"),
    "val of others": (
        write("val/val_annotations.txt", "val_0_0.JPEG\tn01\t0\t0\t1\t1\n"),
        "'{0}/val/val_annotations.txt' has none of 'n02'",
    ),
    "no val images": (remove("val/images"), "no folder '{0}/val/images': the data are incomplete"),
    "cut image": (
        write(f"{IMAGES}/n02_3.JPEG", b"\xff\xd8\xff"),
        "n02_3.JPEG' cannot be decoded: ",
    ),
    "large image": (
        lambda folder: draw(folder / IMAGES / "n02_3.JPEG", 0, 0, (500, 375)),
        "n02_3.JPEG' is 500x375, not 64x64",
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_says_in_one_line_what_is_wrong(folder: Path, kind: str) -> None:
    everything(folder)
    damage, message = DAMAGE[kind]
    damage(folder)
    with pytest.raises(DataError, match=message.format(re.escape(str(folder)))) as caught:
        everything(folder)
    assert "\n" not in str(caught.value)


def test_several_missing_pictures_are_counted(folder: Path) -> None:
    for name in ("n02_0.JPEG", "n02_4.JPEG", "n02_5.JPEG"):
        (folder / IMAGES / name).unlink()
    with pytest.raises(DataError, match=r"lacks 'n02_0.JPEG' and 2 more$"):
        TinyImageNet(folder).train()


def test_one_level_too_high_is_pointed_out(folder: Path) -> None:
    with pytest.raises(DataError, match=r"has no wnids\.txt; did you mean its folder 'tiny'"):
        TinyImageNet(folder.parent)


@pytest.mark.parametrize("wnids", [[], ["n01", "n01"], ["n09"]])
def test_subset_refuses_what_is_not_there(folder: Path, wnids: list[str]) -> None:
    with pytest.raises(DataError, match=r"has no class 'n09'|at least one class"):
        TinyImageNet(folder).subset(wnids)


def test_listing_reads_no_pictures(tmp_path: Path) -> None:
    folder = miniature(tmp_path / "tiny", train=2)
    for path in folder.rglob("*.JPEG"):
        path.write_bytes(b"")
    started = time.perf_counter()
    data = TinyImageNet(folder)
    assert len(data.train() + data.val()) == 12
    assert time.perf_counter() - started < 1
