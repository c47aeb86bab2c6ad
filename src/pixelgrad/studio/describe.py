"""What there is, as the page is told: techniques with their settings, and the names of classes, from the registry."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from ..errors import nearest
from ..images import SAMPLES
from ..methods import METHOD, comparable
from ..registry import Setting, surveys, techniques
from ..technique import Technique

HIDDEN = ("file", "folder")  # of the server's disk: nobody names those from outside
MOST = 20  # names of classes in an answer
SHOWN = 64  # of what a setting counts, channels or pictures, at most: each takes work and is a picture on the page


def all_techniques(models: Sequence[str]) -> list[dict[str, Any]]:
    """Every technique, with what a form needs. models: those that can be asked for."""
    measurable = [f"show/{name}" for name in comparable()]
    return [
        {
            "name": name,
            "verb": name.split("/")[0],
            "title": technique.title(),
            "summary": inspect.cleandoc(technique.__doc__ or ""),
            "exact": inspect.cleandoc(sys.modules[technique.__module__].__doc__ or ""),
            "needs_pixels": technique.needs_pixels,
            "follows": follows(name),
            "measurable": name in measurable,
            "available": available(technique) or True,
            "settings": [_setting(s, models) for s in offered(technique)],
            "presets": [c for s in technique.settings() if s.name == "preset" for c in s.choices],
        }
        for name, technique in techniques().items()
    ]


def all_surveys(models: Sequence[str], data: bool) -> list[dict[str, Any]]:
    """Every survey of a data set, in the same words as techniques. data: whether there is one to go over."""
    return [
        {
            "name": name,
            "verb": "find",
            "title": survey.title(),
            "summary": inspect.cleandoc(survey.__doc__ or ""),
            "exact": inspect.cleandoc(sys.modules[survey.__module__].__doc__ or ""),
            "needs_pixels": False,
            "needs_labels": survey.needs_labels,
            "follows": False,
            "measurable": False,
            "available": data or "start the studio with --data FOLDER",
            "settings": [_setting(s, models) for s in survey.settings()],
        }
        # those that any data set will do for come first
        for name, survey in sorted(surveys().items(), key=lambda item: item[1].needs_labels)
    ]


def follows(name: str) -> bool:
    """Whether it is a technique that follows a gradient, with pictures along the way."""
    return name.startswith("follow/")


def offered(technique: type[Technique]) -> list[Setting]:
    """The settings that a visitor may change."""
    return [s for s in technique.settings() if s.role not in HIDDEN]


def available(technique: type[Technique]) -> str:
    """Why a technique cannot be used here; empty where it can."""
    if technique.extra is None or find_spec(technique.extra[0]):
        return ""
    extra = technique.extra[1]
    return f"needs the {extra} extra: pip install 'pixelgrad[{extra}]'"


def _setting(s: Setting, models: Sequence[str]) -> dict[str, Any]:
    choices = list(s.choices)
    if s.role == "model":
        choices = list(models)
    elif s.role == "picture":
        choices = [f"sample:{name}" for name in SAMPLES]
    elif s.help == METHOD:
        choices = comparable()
    kind = "choice" if choices else "text" if s.kind is str else s.kind.__name__
    return {
        "name": s.name,
        "kind": kind,
        "default": s.default,
        "help": s.help,
        "lo": s.lo,
        "hi": highest(s),
        "unit": s.unit,
        "choices": choices,
        "many": s.many,
        "role": s.role or None,
    }


def highest(s: Setting) -> float | None:
    """The highest value that may be asked for here."""
    return SHOWN if s.role == "count" else s.hi


def labels(names: Sequence[str], query: str) -> list[dict[str, Any]]:
    """The classes that a few typed letters or an index may mean, the nearest first; the first ones where nothing is
    typed."""
    wanted = query.strip().casefold()
    folded = [name.casefold() for name in names]
    found = [i for i in range(len(names)) if str(i) == wanted]
    found += [i for i, name in enumerate(folded) if name.startswith(wanted)]
    found += [i for i, name in enumerate(folded) if f" {wanted}" in name or f"-{wanted}" in name]
    found += [i for i, name in enumerate(folded) if wanted in name]
    if not found:
        found = [names.index(name) for name in nearest(wanted, names, MOST)]
    return [{"index": i, "label": names[i]} for i in list(dict.fromkeys(found))[:MOST]]
