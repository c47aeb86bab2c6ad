"""The HTML of units' pages: of one unit, of a layer, and the index. They ask for nothing but the files beside them."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .report import STYLE
from .tally import SIDE, edges

UNIT_STYLE = """
body { max-width: 66rem; }
nav { color: var(--faint); margin: 0 0 1.5rem; } nav a { margin-right: 1.2rem; }
a { color: inherit; }
h2 { margin: 2rem 0 .6rem; }
.row { display: flex; flex-wrap: wrap; gap: 1.6rem; }
.row figure { margin: 0; } .row figcaption { margin: .4rem 0 0; max-width: 26rem; }
.row img { width: 26rem; } .noise img { width: 13rem; }
svg { width: 100%; height: auto; display: block; font: 11px system-ui, "DejaVu Sans", sans-serif; }
.units { display: flex; flex-wrap: wrap; gap: .8rem; margin: 0 0 2rem; }
.units a { text-decoration: none; font-size: .8rem; color: var(--faint); } .units img { width: 6rem; }
ol { columns: 2; padding-left: 1.4rem; overflow-wrap: anywhere; }
"""


def _page(title: str, body: str, mark: str = "") -> str:
    about = f'<meta name="made-from" content="{mark}">\n' if mark else ""
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{about}<title>{html.escape(title)}</title>
<style>{STYLE}{UNIT_STYLE}</style>
{body}
</html>
"""


def index(table: dict[str, Any], alive: Sequence[tuple[dict[str, Any], list[dict[str, Any]], Path]]) -> str:
    """The layers, each with its first units."""
    parts = []
    for layer, some, into in alive:
        link = quote(into.name)
        parts.append(
            f'<h2><a href="{link}/index.html">{html.escape(layer["layer"])}</a></h2>'
            f"<p>{_counts(layer, some)}</p>{_thumbs(some[:12], link + '/')}"
        )
    title = f"What the units of {table['model']} look for"
    lead = f"in {table['pictures']:,} pictures of {table['data']}"
    return _page(
        title, f'<h1>{html.escape(title)}</h1><p class="lead">{html.escape(lead)}</p>{"".join(parts)}'
    )


def of_layer(table: dict[str, Any], layer: dict[str, Any], some: Sequence[dict[str, Any]]) -> str:
    """All units of a layer."""
    name, dead = layer["layer"], [u["channel"] for u in layer["units"] if not u["best"]]
    last = f"<h2>Dead</h2><p>No picture activates channel {', '.join(map(str, dead))}.</p>" if dead else ""
    body = (
        f'<nav><a href="../index.html">{html.escape(table["model"])}</a></nav><h1>{html.escape(name)}</h1>'
        f'<p class="lead">{_counts(layer, some)}</p>{_thumbs(some, "")}{last}'
    )
    return _page(f"{name} of {table['model']}", body)


def _counts(layer: dict[str, Any], some: Sequence[dict[str, Any]]) -> str:
    sees = "{}×{} pixels".format(*layer["sees"]) if layer["sees"] else "the whole picture"
    dead = len(layer["units"]) - len(some)
    return f"{len(layer['units'])} channels, {dead} of them dead; a unit sees {sees}"


def _thumbs(some: Sequence[dict[str, Any]], link: str) -> str:
    cells = (
        f'<a href="{link}{u["channel"]}.html"><img loading="lazy" src="{link}{u["channel"]}-patches.png" '
        f'alt="patches of channel {u["channel"]}">{u["channel"]}</a>'
        for u in some
    )
    return f'<div class="units">{"".join(cells)}</div>'


def of_unit(
    table: dict[str, Any],
    layer: dict[str, Any],
    some: Sequence[dict[str, Any]],
    unit: dict[str, Any],
    rule: str,
    problem: str | None,
    mark: str,
) -> str:
    """One unit, with links to those beside it. rule: how what counts was found; problem: why there are no pictures from
    noise, empty where there are, None where they are left out; mark: what the page was made from."""
    name, channel = layer["layer"], unit["channel"]
    place = [u["channel"] for u in some].index(channel)
    beside = {"previous": some[place - 1 : place], "next": some[place + 1 : place + 2]}
    links = "".join(f'<a href="{u["channel"]}.html">{word}</a>' for word, one in beside.items() for u in one)
    title = f"{name}, channel {channel}"
    facts = (
        f"active in {unit['pictures_active']:.1%} of {table['pictures']:,} pictures, at {unit['places_active']:.2%} of "
        f"the places; mean {unit['mean']:.4g}, highest {unit['maximum']:.4g}"
    )
    noise = "" if problem is None else f"<h2>Pictures of its own</h2>{_noise(channel, problem)}"
    pictures = "".join(
        f"<li>{html.escape(b['picture'])}: {b['score']:.4g} at {b['row']},{b['column']}</li>"
        for b in unit["best"]
    )
    body = f"""<nav><a href="../index.html">{html.escape(table["model"])}</a>
<a href="index.html">{html.escape(name)}</a>{links}</nav>
<h1>{html.escape(title)}</h1>
<p class="lead">{facts}</p>
<div class="row">{_figure(channel, "patches", "the patches that activate it most, strongest first")}
{_figure(channel, "patterns", f"what in them counts ({rule})")}</div>
<details><summary>the pictures</summary><ol>{pictures}</ol></details>
{noise}
<h2>How strongly pictures activate it</h2>
{_histogram(unit["histogram"])}
{_classes(unit["classes"])}"""
    return _page(f"{title} of {table['model']}", body, mark)


def _noise(channel: int, problem: str) -> str:
    """The pictures from noise, or why there are none."""
    if problem:
        return f'<p class="problem">{html.escape(problem)}</p>'
    raised = _figure(channel, "raised", "made from noise to raise it")
    return (
        f'<div class="row noise">{raised}{_figure(channel, "lowered", "made from noise to lower it")}</div>'
    )


def _figure(channel: int, kind: str, words: str) -> str:
    return (
        f'<figure><img src="{channel}-{kind}.png" alt="{html.escape(words)}">'
        f"<figcaption>{html.escape(words)}</figcaption></figure>"
    )


def _classes(served: Sequence[tuple[str, float]]) -> str:
    """The classes with the highest mean score, with bars."""
    if not served:
        return ""
    most = max(mean for _, mean in served)
    rows = "".join(
        f"<tr><td>{mean:.4g}</td><td>{html.escape(label)}</td>"
        f'<td><i style="width:{10 * mean / most:.2f}rem"></i></td></tr>'
        for label, mean in served
    )
    words = "How strongly it is activated, on average, by the pictures that are predicted as one."
    return f"<h2>Classes it serves most</h2><p>{words}</p><table>{rows}</table>"


def _histogram(counts: dict[str, int]) -> str:
    """Bars of one width for the bins, which grow with the value: four for each power of two."""
    found = {int(i): n for i, n in counts.items()}
    first, last = min(found), max(found)
    width, height = 900 / (last - first + 1), 150
    most = max(found.values())
    bars = "".join(
        f'<rect x="{(i - first) * width:.2f}" y="{height * (1 - n / most):.2f}" width="{width * 0.92:.2f}" '
        f'height="{height * n / most:.2f}" fill="#b8352a"><title>{n:,} pictures</title></rect>'
        for i, n in sorted(found.items())
    )
    return (
        f'<svg viewBox="0 0 900 {height + 18}" role="img" aria-label="histogram">{bars}'
        f'<path d="M0 {height}H900" stroke="#6e6e76"/>{"".join(_ticks(first, last, width, height))}</svg>'
    )


def _ticks(first: int, last: int, width: float, height: int) -> Iterator[str]:
    """The values at which some bins begin, and the zero in the middle of its own."""
    ends, free = edges().tolist(), -40.0
    for i in range(first, last + 2):
        middle = i == SIDE and i <= last
        x = (i - first + (0.5 if middle else 0)) * width
        power = (i <= SIDE and (SIDE - i) % 4 == 0) or (i > SIDE and (i - SIDE - 1) % 4 == 0)
        if not (middle or power) or x < free or x > 890:
            continue
        free, text = x + 60, "0" if middle else f"{ends[i]:g}"
        yield f'<text x="{max(x, 12):.1f}" y="{height + 14}" text-anchor="middle" fill="#6e6e76">{text}</text>'
