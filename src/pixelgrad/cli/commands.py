"""The list of commands, and each of them once it is asked for: what they import takes seconds, the list does not."""

from __future__ import annotations

import ast
from importlib import import_module
from importlib.resources import files
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

from ..registry import VERBS

# modules, and the functions in them that are commands
MODULES = {
    "look": ("classify", "models", "layers"),
    "make": ("redo",),
    "report": ("report",),
    "compare": ("compare",),
    "tour": ("tour",),
    "studio": ("studio",),
}


class Commands(TyperGroup):
    """A group that lists its commands by their docstrings, and makes the one that is to run."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands.update((name, TyperCommand(name, help=about)) for name, about in _docstrings().items())

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command that the arguments begin with, and the rest of them."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, None if name is None else _made(name), rest


def _docstrings() -> dict[str, str | None]:
    """What each command is about, read from its file without running it; of a verb, its package's docstring."""
    found: dict[str, str | None] = {}
    for module, names in MODULES.items():
        body = ast.parse(files(__package__).joinpath(f"{module}.py").read_text("utf-8")).body
        functions = {f.name: ast.get_docstring(f) for f in body if isinstance(f, ast.FunctionDef)}
        found |= {name: functions[name] for name in names}
    return found | {verb: _about(verb) for verb in VERBS}


def _about(verb: str) -> str | None:
    return import_module(f"..{verb}", __package__).__doc__


def _made(name: str) -> Any:
    """The command, or the group of a verb with a command for each of its techniques and surveys."""
    if name in VERBS:
        from . import make, survey

        group = typer.Typer(help=_about(name), no_args_is_help=True)
        make.add_techniques(group, name)
        survey.add_surveys(group, name)
        return get_group(group)
    module = next(module for module, names in MODULES.items() if name in names)
    group = typer.Typer()
    import_module(f".{module}", __package__).add(group)
    return get_group(group).commands[name]
