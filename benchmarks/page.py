"""What was measured as a page: a table for each benchmark, a picture, and the numbers themselves as JSON."""

from __future__ import annotations

import dataclasses
import importlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.frame import Curve, Row
from pixelgrad import images

OWN, MISSED, GREY = "#2a6f97", "#c8553d", "#8a8f98"
# of the ratios, as drawn: what more pictures take may be lost in the noise of the memory
SHORTEST = 0.01


def write(
    out: Path,
    machine: dict[str, Any],
    asked: dict[str, Any],
    found: Sequence[Row | Curve],
    left_out: Sequence[str],
) -> None:
    """benchmarks.json, .md and .png, all or none."""
    rows = [one for one in found if isinstance(one, Row)]
    curves = [one for one in found if isinstance(one, Curve)]
    record = {
        "machine": machine,
        "asked": asked,
        "left_out": list(left_out),
        "rows": [dataclasses.asdict(row) | {"figure": row.figure, "met": row.met} for row in rows],
        "curves": [dataclasses.asdict(curve) for curve in curves],
    }
    images.write(
        {
            out / "benchmarks.json": (json.dumps(record, indent=1) + "\n").encode(),
            out / "benchmarks.md": markdown(machine, asked, rows, left_out).encode(),
            out / "benchmarks.png": picture(rows, curves),
        }
    )


def markdown(
    machine: dict[str, Any], asked: dict[str, Any], rows: Sequence[Row], left_out: Sequence[str]
) -> str:
    """The page."""
    aimed = [row for row in rows if row.goal is not None]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    parts = [
        "# Speed",
        "Beside what people would use instead, on the same work, and beside the limit of the machine: the fastest "
        "forward passes of the same network. Everything took turns with what it is compared with, in one "
        "run (`make bench`); a ratio is pixelgrad's median over the other's, so below 1 pixelgrad is faster.",
        f"{machine['processor']}, cores: {machine['cores']}, threads: {machine['threads']}, {machine['system']}; "
        f"{versions}. {asked['images']} pictures, at most {asked['rounds']} rounds, {asked['minutes']} minutes in all.",
        f"Of {len(aimed)} goals {sum(bool(row.met) for row in aimed)} are met.",
        "![Ratios with their goals, and how cost grows](benchmarks.png)",
        *(f"{line[:1].upper()}{line[1:]}." for line in left_out),
    ]
    for name in dict.fromkeys(row.benchmark for row in rows):
        said = (importlib.import_module(f"benchmarks.speed.{name}").__doc__ or "").strip()
        title, _, rest = said.partition("\n\n")
        parts.append(f"## {' '.join(title.split()).removesuffix('.')}")
        if rest:
            parts.append(" ".join(rest.split()))
        parts.append(table([row for row in rows if row.benchmark == name]))
    return "\n\n".join(parts) + "\n"


def table(rows: Sequence[Row]) -> str:
    """Ratios first."""
    lines = [
        "| ratio | goal | | network | what | beside | pixelgrad | the other | |",
        "| ---: | ---: | --- | --- | --- | --- | ---: | ---: | --- |",
    ]
    for row in rows:
        cells = (
            f"**{figure(row)}**",
            "" if row.goal is None else f"≤ {row.goal:.2f}{unit(row)}",
            {None: "", True: "met", False: "missed"}[row.met],
            row.network,
            row.what,
            row.against,
            f"{median(row.own):.3g} {row.unit}" if row.other else "",
            f"{median(row.other):.3g} {row.unit}" if row.other else "",
            row.note,
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def figure(row: Row) -> str:
    return f"{row.figure:.2f}{unit(row)}"


def unit(row: Row) -> str:
    """Of a number that is no ratio."""
    return "" if row.other else f" {row.unit}"


def picture(rows: Sequence[Row], curves: Sequence[Curve]) -> bytes:
    """Bars for the ratios, a stroke at each goal, and a small plot for each curve."""
    ratios = [row for row in rows if row.other][::-1]
    height = 1.2 + 0.24 * len(ratios)
    below = 2.6 if curves else 0.0
    with matplotlib.rc_context({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False}):
        sheet = Figure((11, height + below), layout="constrained")
        parts = sheet.subfigures(2, 1, height_ratios=(height, below)) if curves else [sheet]
        bars(parts[0].subplots(), ratios)
        if curves:
            for axes, curve in zip(parts[1].subplots(1, len(curves), squeeze=False)[0], curves, strict=True):
                grown(axes, curve)
        file = io.BytesIO()
        sheet.savefig(file, format="png", dpi=130)
    return file.getvalue()


def bars(axes: Axes, rows: Sequence[Row]) -> None:
    """Ratios on a logarithmic scale, from 1."""
    for y, row in enumerate(rows):
        colour = MISSED if row.met is False else OWN if row.met else GREY
        axes.barh(y, max(row.figure, SHORTEST) - 1, left=1, color=colour, height=0.7)
        at_the_edge = axes.get_yaxis_transform()
        axes.text(1.01, y, f"{row.figure:.2f}", transform=at_the_edge, va="center", color=colour)
        if row.goal is not None:
            axes.plot((row.goal, row.goal), (y - 0.42, y + 0.42), color="black", linewidth=1.5)
    axes.set_xscale("log")
    low = max(SHORTEST, min((min(row.figure, row.goal or 1) for row in rows), default=1))
    high = max((max(row.figure, row.goal or 1) for row in rows), default=1)
    axes.set_xlim(min(0.5, low / 1.6), max(2, high * 1.4))
    ticks = [t for t in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10) if axes.get_xlim()[0] <= t]
    ticks = [t for t in ticks if t <= axes.get_xlim()[1]]
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.minorticks_off()
    axes.set_yticks(range(len(rows)), [row.title for row in rows])
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_title(
        "pixelgrad's time over the other's\nstrokes: goals; blue: met, red: missed, grey: none",
        loc="left",
    )


def grown(axes: Axes, curve: Curve) -> None:
    """Points with a line; both axes begin at 0, so that what is linear is a straight line through it."""
    axes.plot(curve.at, curve.values, "o-", color=OWN, markersize=3)
    axes.set_xlim(0)
    axes.set_ylim(0, max(curve.values) * 1.15)
    axes.set_xlabel(curve.along)
    axes.set_title(f"{curve.what}, {curve.unit}", loc="left")
