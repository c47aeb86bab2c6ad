"""Values to pictures: colour maps with their scale, overlays, and labelled sheets."""

from __future__ import annotations

import functools
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from . import images

MAP = "inferno"  # from black over red to pale yellow, evenly in lightness
SIGNED = "coolwarm"  # from blue over pale grey, which is zero, to red
GREY = "gray"  # signed too: mid grey is zero
PAPER, INK, FAINT = "white", (30, 30, 34), (110, 110, 118)
SIDE = 224  # sheets show pictures at least this large
GAP = 10
TILE_GAP, TILE_HEAD = 6, 13  # between small pictures; for the label over one


def colour(values: Tensor, lo: float, hi: float, name: str = MAP) -> Image.Image:
    """A map (h, w) in colours, from `lo` to `hi`; where the two are equal, all in the lowest colour."""
    array = values.detach().cpu().double().numpy()
    unit = np.clip((array - lo) / (hi - lo), 0, 1) if hi > lo else np.zeros_like(array)
    rgb = _colours(name)(unit)[..., :3]
    return Image.fromarray((rgb * 255).round().astype(np.uint8))


def scale(values: Tensor) -> tuple[float, float]:
    """The range of colours for values that are never negative: 0 to their 99.5 % quantile, or where that is zero to
    the highest; with negative ones as far below zero as above. A few pixels hold the highest values of a gradient;
    scaled to those, everything else would be black."""
    array = values.detach().cpu().double().numpy()
    size = np.abs(array)
    hi = float(np.quantile(size, 0.995)) or float(size.max())
    return (-hi if (array < 0).any() else 0.0), hi


def around_grey(values: Tensor, hi: float | None = None) -> Image.Image:
    """Signed values (3, h, w) of the colours, around mid grey: to their 99.5 % quantile, as `scale` has it."""
    hi = scale(values)[1] if hi is None else hi
    return images.to_image(0.5 + values.detach().cpu().double() / (2 * hi or 1.0))


def overlay(photo: Image.Image, heat: Image.Image, opacity: float) -> Image.Image:
    """The map laid over the photograph in greys."""
    grey = photo.convert("L").convert("RGB")
    return Image.blend(grey, heat.resize(photo.size, Image.Resampling.BILINEAR), opacity)


def colour_bar(width: int, hi: float, name: str = MAP, words: str = "") -> Image.Image:
    """The scale under a map: its colours, with 0 and the values of the last ones, or with words."""
    ramp = _colours(name)(np.linspace(0, 1, width))[None, :, :3]
    bar = Image.new("RGB", (width, 26), PAPER)
    strip = Image.fromarray((ramp * 255).round().astype(np.uint8)).resize((width, 8))
    bar.paste(strip, (0, 0))
    draw = ImageDraw.Draw(bar)
    signed = name in (SIGNED, GREY)
    if words or hi == 0:
        draw.text((0, 10), words or "zero everywhere", FAINT, font(11))
        return bar
    if signed:
        draw.text((0, 10), f"≤ −{hi:.3g}", FAINT, font(11))
    draw.text((width // 2 if signed else 0, 10), "0", FAINT, font(11))
    draw.text((width, 10), f"≥ {hi:.3g}", FAINT, font(11), anchor="ra")
    return bar


def classes(grid: Tensor, names: Sequence[str], shown: int = 6) -> Image.Image:
    """A map (h, w) of classes, given by their places among `names`, in colours, with a legend under it; those after
    the first few share a grey."""
    palette = [*(_colours("Set2")(i)[:3] for i in range(shown)), (0.5, 0.5, 0.52)]
    rgb = (np.array(palette) * 255).round().astype(np.uint8)
    array = np.minimum(grid.cpu().numpy(), shown)
    whole = enlarged(Image.fromarray(rgb[array]))
    more = len(names) - shown
    labels = [*names[:shown], *([f"{more} others"] if more > 0 else [])]
    legend = Image.new("RGB", (whole.width, 16 * len(labels)), PAPER)
    draw = ImageDraw.Draw(legend)
    for i, label in enumerate(labels):
        draw.rectangle((0, 16 * i + 3, 9, 16 * i + 12), tuple(rgb[i].tolist()))
        share = f"{(array == i).mean():.1%}"
        draw.text((14, 16 * i), textwrap.shorten(label, 26, placeholder=" …"), FAINT, font(11))
        draw.text((whole.width, 16 * i), share, FAINT, font(11), anchor="ra")
    return stack([whole, legend], 4)


def image_sheet(rows: Sequence[Tensor], titles: Sequence[str] = ()) -> Image.Image:
    """Rows of images (n, 3, h, w), one column for each image; a single image: side by side."""
    drawn = [[enlarged(images.to_image(x)) for x in row] for row in rows]
    if len(drawn[0]) == 1:
        drawn = [[row[0] for row in drawn]]
    return sheet(drawn, titles)


def grid(pictures: Sequence[Image.Image], titles: Sequence[str] = ()) -> Image.Image:
    """Pictures in rows of equal length, about as many rows as columns, each with its title over it."""
    columns = math.ceil(len(pictures) ** 0.5)
    cuts = [slice(i, i + columns) for i in range(0, len(pictures), columns)]
    return stack([sheet([pictures[cut]], titles[cut]) for cut in cuts])


def tiles(pictures: Sequence[Image.Image], labels: Sequence[object]) -> Image.Image:
    """Small pictures of one size close together, each with its label over it; in about as many columns as rows, or some
    more where that fills the last row."""
    width, height = pictures[0].width + TILE_GAP, pictures[0].height + TILE_HEAD + TILE_GAP
    n, side = len(pictures), len(pictures) ** 0.5
    columns = min(range(math.ceil(side), math.floor(1.6 * side) + 1), key=lambda c: -n % c)
    rows = math.ceil(n / columns)
    whole = Image.new("RGB", (columns * width - TILE_GAP, rows * height - TILE_GAP), PAPER)
    draw = ImageDraw.Draw(whole)
    for i, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        x, y = i % columns * width, i // columns * height
        draw.text((x, y), str(label), FAINT, font(10))
        whole.paste(picture, (x, y + TILE_HEAD))
    return whole


def captioned(picture: Image.Image, text: str) -> Image.Image:
    """A picture, enlarged if it is small, with a line of text under it."""
    picture = enlarged(picture)
    line = Image.new("RGB", (picture.width, 18), PAPER)
    ImageDraw.Draw(line).text((0, 2), text, FAINT, font(12))
    return stack([picture, line])


def stack(pictures: Sequence[Image.Image], gap: int = 0) -> Image.Image:
    """Pictures one under the other."""
    height = sum(p.height for p in pictures) + gap * (len(pictures) - 1)
    whole = Image.new("RGB", (max(p.width for p in pictures), height), PAPER)
    y = 0
    for picture in pictures:
        whole.paste(picture, (0, y))
        y += picture.height + gap
    return whole


def sheet(rows: Sequence[Sequence[Image.Image]], titles: Sequence[str] = ()) -> Image.Image:
    """Rows of pictures in columns, with a title over each column."""
    columns = max(len(row) for row in rows)
    widths = [max(row[c].width for row in rows if c < len(row)) for c in range(columns)]
    heights = [max(picture.height for picture in row) for row in rows]
    # a lone title may run over all the columns
    spans = [sum(widths) + GAP * (columns - 1)] if len(titles) == 1 else widths
    wrapped = [_wrap(t, w) for t, w in zip(titles, spans, strict=False)]
    head = 18 * max((len(lines) for lines in wrapped), default=0)
    top = GAP + head + (4 if head else 0)
    width = sum(widths) + GAP * (columns + 1)
    whole = Image.new("RGB", (width, top + sum(heights) + GAP * len(rows)), PAPER)
    draw = ImageDraw.Draw(whole)
    x = GAP
    for c in range(columns):
        if c < len(wrapped):
            for i, line in enumerate(wrapped[c]):
                draw.text((x, GAP + 18 * i), line, INK, font(13))
        y = top
        for row, height in zip(rows, heights, strict=True):
            if c < len(row):
                whole.paste(row[c], (x, y))
            y += height + GAP
        x += widths[c] + GAP
    return whole


@functools.cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """matplotlib's own sans-serif: on every machine, with every letter and sign that is used."""
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(str(folder / "DejaVuSans.ttf"), size)


def enlarged(picture: Image.Image, side: int = SIDE) -> Image.Image:
    """A small picture enlarged to about that side, by a whole factor: its pixels stay square."""
    factor = max(1, round(side / max(picture.size)))
    size = (picture.width * factor, picture.height * factor)
    return picture.resize(size, Image.Resampling.NEAREST)


def _wrap(text: str, width: int) -> list[str]:
    """Lines that fit a width; at most three."""
    per_line = max(8, int(width / font(13).getlength("n")))
    return textwrap.wrap(text, per_line, max_lines=3, placeholder=" …")


def _colours(name: str) -> Any:
    """A colour map of matplotlib's, from values to red, green, blue and opacity."""
    import matplotlib  # slow, so only when something is drawn

    return matplotlib.colormaps[name]
