"""Pictures in a notebook, as the course shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def show(rows: Sequence[Sequence[Any]], titles: Sequence[str], inches: tuple[float, float]) -> None:
    """Pictures in rows, with titles over the first; maps (H, W) in matplotlib's `hot`."""
    from matplotlib import pyplot as plt  # slow, and needed only here

    figure, axes = plt.subplots(len(rows), len(titles), squeeze=False, figsize=inches)
    for across, row in zip(axes, rows, strict=True):
        for place, picture in zip(across, row, strict=True):
            place.imshow(picture, cmap="hot")
            place.axis("off")
    for place, title in zip(axes[0], titles, strict=True):
        place.set_title(title)
    plt.show()
    plt.close(figure)
