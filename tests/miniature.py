"""A TinyImageNet of three classes, small enough to be drawn for a test."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

NAMES = {"n01": "red thing, res rubra", "n02": "green thing", "n03": "blue thing, another name"}


def miniature(root: Path, train: int = 6, val: int = 2) -> Path:
    """Writes the published layout: `train` and `val` pictures per class, each class a colour."""
    (root / "val" / "images").mkdir(parents=True)
    (root / "wnids.txt").write_text("".join(f"{w}\n" for w in NAMES))
    (root / "words.txt").write_text("".join(f"{w}\t{n}\n" for w, n in NAMES.items()))
    annotations = []
    for k, wnid in enumerate(NAMES):
        images = root / "train" / wnid / "images"
        images.mkdir(parents=True)
        boxes = []
        for i in range(train):
            draw(images / f"{wnid}_{i}.JPEG", k, i)
            boxes.append(f"{wnid}_{i}.JPEG\t{i}\t{i + 1}\t60\t61\n")
        (images.parent / f"{wnid}_boxes.txt").write_text("".join(boxes))
        for i in range(val):
            draw(root / "val" / "images" / f"val_{k}_{i}.JPEG", k, i + 50)
            annotations.append(f"val_{k}_{i}.JPEG\t{wnid}\t0\t0\t63\t{10 + i}\n")
    (root / "val" / "val_annotations.txt").write_text("".join(annotations))
    return root


def draw(path: Path, colour: int, i: int, size: tuple[int, int] = (64, 64)) -> None:
    """A plain picture: channel `colour` is bright, the others vary a little with i."""
    rgb = [20 + 3 * (i % 20)] * 3
    rgb[colour] = 230
    Image.new("RGB", size, (rgb[0], rgb[1], rgb[2])).save(path, "JPEG", quality=95)
