"""One list of what there is: techniques, objectives, sources of models and kinds of data sets.

A file registers its class or function with `@technique`, `@objective` or `@model`. Command line, page,
documentation and tests read the list from here, and the settings of each entry with it:

    @technique
    class Saliency(Technique):
        target: str | int | None = setting(None, help="class whose score is looked at")

Files are found by looking into the package's folders, so a new file needs no other change.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import math
import pkgutil
import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, dataclass_transform

from .errors import NotFound, SettingError

VERBS = ("show", "follow", "find", "measure")
# what a setting of that name is the name of, in every technique
ROLES = {"target": "class", "layer": "layer", "objective": "objective"}

C = TypeVar("C", bound=type[Any])
F = TypeVar("F", bound=Callable[..., Any])

_techniques: dict[str, type[Any]] = {}
_surveys: dict[str, type[Any]] = {}
_objectives: dict[str, type[Any]] = {}
_settings: dict[type[Any], tuple[Setting, ...]] = {}
_sources: dict[str, Source] = {}
_datasets: dict[str, Kind] = {}


@dataclass(frozen=True)
class Setting:
    """One setting of a technique or objective: everything a form, an option or a check needs."""

    name: str
    kind: type  # what a person types: int, float, bool or str
    text: bool  # whether the value itself is always text
    default: Any
    help: str
    lo: float | None
    hi: float | None
    unit: str
    choices: tuple[str, ...]
    many: bool = False  # whether it may be a tuple, one value for each picture
    role: str = ""  # what it names: class, layer, objective, picture, folder, file or model; count: how many are shown

    def check(self, value: Any) -> None:
        """Raise SettingError unless `value` is of the kind and in the range that were declared."""
        if value is None and self.default is None:
            return
        if self.choices and value not in self.choices:
            raise SettingError(f"{self.name} is one of {', '.join(self.choices)}; got {value!r}")
        if self.text and not isinstance(value, str):
            raise SettingError(f"{self.name} is text; got {value!r}")
        if self.kind is bool and not isinstance(value, bool):
            raise SettingError(f"{self.name} is true or false; got {value!r}")
        if self.kind in (int, float):
            number = isinstance(value, int if self.kind is int else (int, float))
            if not number or isinstance(value, bool) or math.isnan(value):
                what = "a whole number" if self.kind is int else "a number"
                raise SettingError(f"{self.name} is {what}; got {value!r}")
            low = self.lo is not None and value < self.lo
            if low or (self.hi is not None and value > self.hi):
                raise SettingError(f"{self.name} is {self.range}; got {value!r}")

    @property
    def range(self) -> str:
        """The range in words, with the unit."""
        if self.lo is not None and self.hi is not None:
            words = f"from {self.lo:g} to {self.hi:g}"
        elif self.lo is not None:
            words = f"at least {self.lo:g}"
        else:
            words = f"at most {self.hi:g}"
        return f"{words} {self.unit}".rstrip()


@dataclass(frozen=True)
class Source:
    """Where classifiers come from: `names()` lists them, `load(name, weights)` makes one."""

    name: str
    summary: str
    prefix: str
    names: Callable[[], list[str]]
    load: Callable[[str, Any], Any]


@dataclass(frozen=True)
class Kind:
    """A kind of data set: `open(path)` makes one of what is there, or gives None where it is of another kind."""

    name: str
    summary: str
    last: bool
    open: Callable[[Any], Any]


def setting(
    default: Any,
    *,
    help: str,  # noqa: A002 - a field's help is called so everywhere
    lo: float | None = None,
    hi: float | None = None,
    unit: str = "",
    role: str = "",
) -> Any:
    """Declare a setting: the one place for its default, range, unit, explanation, and what it names (see ROLES)."""
    about = {"help": help, "lo": lo, "hi": hi, "unit": unit, "role": role}
    return dataclasses.field(default=default, metadata={"setting": about})


def settings(cls: type[Any]) -> tuple[Setting, ...]:
    """The declared settings of a technique or objective, in their order."""
    if cls not in _settings:
        _settings[cls] = tuple(_declared(cls))
    return _settings[cls]


def _declared(cls: type[Any]) -> Iterator[Setting]:
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        if "setting" in field.metadata:
            kind, choices = _kind(hints[field.name])
            about = field.metadata["setting"]
            text = hints[field.name] is str
            many = any(typing.get_origin(o) is tuple for o in typing.get_args(hints[field.name]))
            about = {**about, "role": about["role"] or ROLES.get(field.name, "")}
            yield Setting(field.name, kind, text, field.default, choices=choices, many=many, **about)


def _kind(hint: Any) -> tuple[type, tuple[str, ...]]:
    """What a person types for this annotation: a number, a switch, one of some words, or text."""
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    options = tuple(o for o in options if o is not type(None))
    if len(options) == 1:
        if typing.get_origin(options[0]) is Literal:
            return str, typing.get_args(options[0])
        if options[0] in (int, float, bool):
            return options[0], ()
    return str, ()


@dataclass_transform(frozen_default=True, field_specifiers=(setting,))
def technique(cls: C) -> C:
    """Register a technique under the path of its file: `show/guided_backprop.py` is
    `show/guided-backprop`. Makes the class a frozen dataclass."""
    return _named(cls, _techniques)


@dataclass_transform(frozen_default=True, field_specifiers=(setting,))
def survey(cls: C) -> C:
    """Register what is done over a whole data set, as `technique` does what is done with some pictures."""
    return _named(cls, _surveys)


def _named(cls: C, known: dict[str, type[Any]]) -> C:
    name = "/".join(cls.__module__.split(".")[-2:]).replace("_", "-")
    made: Any = dataclass(frozen=True)(cls)
    known[name] = made
    made.name = name
    return typing.cast(C, made)


@dataclass_transform(frozen_default=True, field_specifiers=(setting,))
def objective(cls: C) -> C:
    """Register an objective under its class name. Makes the class a frozen dataclass."""
    # the repr is the base class's: it leaves out what has its default
    made: Any = dataclass(frozen=True, repr=False)(cls)
    _objectives[made.__name__] = made
    return typing.cast(C, made)


def model(load: F) -> F:
    """Register `load(name, weights) -> Classifier` as the source of one network, named like the function."""
    return model_family(lambda: [load.__name__])(load)


def model_family(names: Callable[[], list[str]], prefix: str = "") -> Callable[[F], F]:
    """Register `load(name, weights) -> Classifier` as the source of all that `names()` lists; the names begin
    with `prefix`, so that a slow list is read only when one of them is meant."""

    def register(load: F) -> F:
        summary = (load.__doc__ or "").strip().partition("\n")[0]
        name = load.__module__.rpartition(".")[2]
        _sources[name] = Source(name, summary, prefix, names, load)
        return load

    return register


def dataset(*, last: bool = False) -> Callable[[F], F]:
    """Register `open(path) -> Data`, which gives None where the path holds data of another kind. last: it takes what no
    other does."""

    def register(open_it: F) -> F:
        summary = (open_it.__doc__ or "").strip().partition("\n")[0]
        _datasets[open_it.__name__] = Kind(open_it.__name__, summary, last, open_it)
        return open_it

    return register


@functools.cache
def discover(*folders: str) -> None:
    """Import every file in these folders, once. Only what is asked for: models bring all of torchvision along."""
    for folder in folders:
        name = f"{__package__}.{folder}"
        package = importlib.import_module(name)
        for found in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{name}.{found.name}")


def techniques() -> dict[str, type[Any]]:
    """All techniques by name, in the order of the verbs."""
    discover(*VERBS)
    order = {verb: i for i, verb in enumerate(VERBS)}
    return dict(sorted(_techniques.items(), key=lambda item: (order.get(item[0].split("/")[0], 9), item[0])))


def surveys() -> dict[str, type[Any]]:
    """All surveys by name."""
    discover(*VERBS)
    return dict(sorted(_surveys.items()))


def objectives() -> dict[str, type[Any]]:
    """All objectives by class name."""
    discover("objectives")
    return dict(sorted(_objectives.items()))


def sources() -> list[Source]:
    """All sources of models; those whose names need a prefix last."""
    discover("models")
    return sorted(_sources.values(), key=lambda s: (s.prefix, s.name))


def kinds_of_data() -> list[Kind]:
    """All kinds of data sets, those that take the rest last."""
    discover("datasets")
    return sorted(_datasets.values(), key=lambda kind: (kind.last, kind.name))


def make(name: str, **values: Any) -> Any:
    """The technique or survey `name` with these settings. Raises NotFound and SettingError."""
    known = techniques() | surveys()
    if name not in known:
        raise NotFound("technique", name, known)
    cls = known[name]
    names = [s.name for s in settings(cls)]
    for key in values:
        if key not in names:
            raise NotFound(f"setting of {name}", key, names, f"it has {', '.join(names)}")
    return cls(**values)
