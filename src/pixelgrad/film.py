"""Pictures one after the other as a file that moves: a GIF, or with the extra `video` an MP4."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from .errors import OutputError

FASTEST = 40  # milliseconds for a picture: 25 in a second
DWELL = 1000  # milliseconds more for the last one


def check(path: str | os.PathLike[str]) -> None:
    """Raises OutputError where the ending is of no film, or what writes it is not installed."""
    ending = Path(path).suffix.lower()
    if ending not in (".gif", ".mp4"):
        raise OutputError(f"{path}: an animation is a .gif or an .mp4")
    if ending == ".mp4" and not (find_spec("imageio") and find_spec("av")):
        raise OutputError(f"{path}: an .mp4 needs the video extra: pip install 'pixelgrad[video]'")


def encode(stills: Sequence[Image.Image], path: str | os.PathLike[str], seconds: float) -> bytes:
    """The bytes of a film of pictures of one size that lasts so long, or longer where it has too many pictures; it
    dwells on the last."""
    check(path)
    each = max(FASTEST, round(1000 * seconds / len(stills)))
    if Path(path).suffix.lower() == ".mp4":
        return _mp4(stills, each)
    data = io.BytesIO()
    duration = [*[each] * (len(stills) - 1), each + DWELL]
    stills[0].save(data, "GIF", save_all=True, append_images=stills[1:], duration=duration, loop=0)
    return data.getvalue()


def _mp4(stills: Sequence[Image.Image], each: int) -> bytes:
    """H.264, as every browser plays it; that takes even sides, so an odd one has its last line twice."""
    import imageio.v3 as iio

    width, height = stills[0].size
    shown = [*stills, *[stills[-1]] * round(DWELL / each)]
    frames = np.stack([np.asarray(still) for still in shown])
    frames = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    made: bytes = iio.imwrite(
        "<bytes>", frames, extension=".mp4", plugin="pyav", codec="libx264", fps=1000 / each
    )
    return made
