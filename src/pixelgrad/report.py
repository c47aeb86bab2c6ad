"""The page of a tour: what the network says, and each technique with its meaning, picture and command."""

from __future__ import annotations

import html
import inspect
import sys
from collections.abc import Sequence
from typing import NamedTuple

from .classifier import Guess
from .technique import Technique

STYLE = """
:root { color-scheme: light; --ink: #1e1e22; --faint: #6e6e76; --line: #e4e4e8; --warm: #b8352a; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 3rem 1.5rem 5rem; background: #fff; color: var(--ink);
       font: 16px/1.55 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.3rem; margin: 0 0 .2rem; }
.lead, figcaption { color: var(--faint); margin: 0 0 2rem; }
header section, .stop { border-top: 1px solid var(--line); padding: 1.6rem 0; }
header section { display: flex; flex-wrap: wrap; gap: 2rem; align-items: center; }
img { max-width: 100%; height: auto; display: block; }
table { border-collapse: collapse; }
td { padding: .15rem .8rem .15rem 0; }
td:first-child { text-align: right; font-variant-numeric: tabular-nums; }
td i { display: block; height: .7rem; background: var(--warm); min-width: 1px; }
pre { overflow-x: auto; margin: .8rem 0 0; padding: .6rem .9rem; background: #f6f6f8; border-radius: 4px;
      font: 14px/1.5 ui-monospace, "DejaVu Sans Mono", monospace; }
details { margin: .6rem 0 1rem; } summary { cursor: pointer; color: var(--faint); }
.problem { color: var(--faint); }
.trust { margin: .8rem 0 .3rem; font-size: .85rem; color: var(--faint); }
.trust th, .trust td { text-align: right; padding: .05rem .9rem .05rem 0; font-weight: normal; }
.trust th:first-child, .trust td:last-child { text-align: left; }
"""


class Stop(NamedTuple):
    """One technique of the tour; `problem` where it could not be done; `card`: how far to trust it, as HTML."""

    name: str
    technique: type[Technique]
    file: str
    command: str
    problem: str
    card: str = ""


def page(image: str, model: str, guesses: Sequence[Guess], stops: Sequence[Stop]) -> str:
    """The HTML of a tour; its pictures lie beside it, and it asks for nothing else."""
    rows = "".join(
        f"<tr><td>{g.probability:.1%}</td><td>{html.escape(g.label)}</td>"
        f'<td><i style="width:{10 * g.probability:.2f}rem"></i></td></tr>'
        for g in guesses
    )
    name = html.escape(model)
    title = f"What {name} sees"
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{STYLE}</style>
<header>
<h1>{title}</h1>
<p class="lead">in {html.escape(image)}</p>
<section>
<img src="photograph.png" alt="the photograph, as the network is given it">
<table>{rows}</table>
</section>
</header>
{"".join(_stop(stop) for stop in stops)}
</html>
"""


def _stop(stop: Stop) -> str:
    about = inspect.cleandoc(stop.technique.__doc__ or "")
    exact = inspect.cleandoc(sys.modules[stop.technique.__module__].__doc__ or "")
    title = stop.technique.title()
    result = (
        f'<p class="problem">{html.escape(stop.problem)}</p>'
        if stop.problem
        else f'<img src="{stop.file}" alt="{html.escape(title)}">'
    )
    return f"""<section class="stop">
<h2>{html.escape(title)}</h2>
<p>{html.escape(about)}</p>
{result}
{stop.card}
<details><summary>exactly</summary><pre>{html.escape(exact)}</pre></details>
<pre>{html.escape(stop.command)}</pre>
</section>
"""
