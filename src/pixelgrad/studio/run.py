"""The library's own recipe, run; its result in the names that visitors know, without paths of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .. import recipe
from ..classifier import Classifier
from ..gradient import Progress
from ..result import Result
from ..technique import Technique
from .tasks import Task


@dataclass(frozen=True)
class Asked:
    """What made a result, as visitors know it: without paths of this machine."""

    name: str
    named: Mapping[str, Any]

    def values(self) -> dict[str, Any]:
        """The settings that are not the defaults."""
        return dict(self.named)


def made_by(
    technique: Technique, settings: Mapping[str, Any], task: Task, model: Classifier, progress: Progress
) -> Result:
    """The library's own recipe, run; then in the names that visitors know. Of frames only those that make a film of
    their own (a flight) are kept: others are seen on the way (watch.py)."""
    asked = {
        "technique": technique.name,
        "settings": dict(settings),
        "model": task.model,
        "weights": None,
        "images": [{"path": str(p.path), "sha256": p.sha256} for p in task.pictures],
    }
    result = recipe.run(asked, model=model, progress=progress, frames=1)
    named = task.named if not task.compare else settings
    here = {str(v): str(named[k]) for k, v in settings.items() if k in named and named[k] != v}
    return replace(
        result,
        technique=Asked(technique.name, named),
        titles=_renamed(result.titles, here),
        report=_renamed(result.report, here),
        files=tuple({"path": p.name, "sha256": p.sha256} for p in task.pictures),
        weights=None if result.weights is None else Path(result.weights).name,
    )


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """The same with pictures' names in place of their paths here."""
    if isinstance(value, str):
        for path, name in names.items():
            value = value.replace(path, name)
        return value
    if isinstance(value, Mapping):
        return {key: _renamed(one, names) for key, one in value.items()}
    return type(value)(_renamed(one, names) for one in value) if type(value) in (tuple, list) else value
