"""What is made from declared settings: they are checked once, when it is made."""

from __future__ import annotations

import re
import sys
from typing import Any, ClassVar

from . import objective_text
from .errors import SettingError
from .objectives.base import Objective
from .registry import Setting, settings


class Declared:
    """A frozen set of settings. A subclass declares them with `setting()`. The setting `objective` takes the text form
    as well."""

    name: ClassVar[str] = ""  # verb/technique; the registry gives it

    def __post_init__(self) -> None:
        for s in self.settings():
            value = getattr(self, s.name)
            if isinstance(value, list):  # a recipe's JSON has no tuples
                value = tuple(value)
            if s.name == "objective" and isinstance(value, str):
                value = objective_text.read(value)
            elif s.name == "objective" and not isinstance(value, (Objective, type(None))):
                raise SettingError(f"objective is one like Logit('tabby'); got {value!r}")
            object.__setattr__(self, s.name, value)
            s.check(value)

    @classmethod
    def title(cls) -> str:
        """What it is called in the field: the words that its file's docstring begins with."""
        return re.split(r" \(|:", sys.modules[cls.__module__].__doc__ or "", maxsplit=1)[0]

    @classmethod
    def settings(cls) -> tuple[Setting, ...]:
        """The declared settings, in their order."""
        return settings(cls)

    def values(self) -> dict[str, Any]:
        """The settings that are not the defaults, as JSON has them."""
        found = {s.name: getattr(self, s.name) for s in self.settings()}
        changed = {s.name: found[s.name] for s in self.settings() if found[s.name] != s.default}
        return {k: repr(v) if isinstance(v, Objective) else v for k, v in changed.items()}
