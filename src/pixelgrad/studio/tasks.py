"""What a visitor asks for, checked: a technique with its settings, or several side by side, on some pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import NotFound, PixelgradError, SettingError
from ..images import SAMPLES
from ..methods import comparable, known
from ..objectives.of_class import indices
from ..registry import Setting, make, techniques
from ..technique import Technique
from .describe import SHOWN, available, offered
from .networks import Networks
from .store import Store

PICTURES = 4  # in one job
LENGTH, SEVERAL = 1000, 64  # of a text, and of a list of values


class Wrong(SettingError):
    """Something that cannot be asked for, and the setting that is to blame, if it is one."""

    def __init__(self, message: object, field: str | None = None) -> None:
        super().__init__(str(message))
        self.field = field


class Picture(NamedTuple):
    """A picture that a visitor brought: its name and the sha256 of its file there; where it is kept here."""

    id: str
    name: str
    sha256: str
    path: Path


@dataclass(frozen=True)
class Task:
    """techniques: one, or those compared. settings: of the one, with the paths that pictures have here; named: with
    their names in place of those."""

    techniques: tuple[Technique, ...]
    model: str
    pictures: tuple[Picture, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    named: Mapping[str, Any] = field(default_factory=dict)
    compare: bool = False
    trust: bool = False


def read(body: Any, networks: Networks, store: Store) -> Task:
    """The task that a request's JSON describes. Raises Wrong."""
    if not isinstance(body, dict):
        raise Wrong("a job is an object: {technique, settings, model, pictures}")
    model = blaming("model", lambda: networks.check(body.get("model", networks.names[0])))
    ids, settings = body.get("pictures", []), body.get("settings", {})
    if not isinstance(ids, list) or len(ids) > PICTURES:
        raise Wrong(f"pictures is a list of at most {PICTURES} ids", "pictures")
    if not isinstance(settings, dict):
        raise Wrong(f"settings is an object; got {type(settings).__name__}")
    pictures = tuple(picture(made, store) for made in ids)
    settings = {name: plain_value(name, value) for name, value in settings.items() if value is not None}
    if (names := body.get("compare")) is not None:
        return Task(_compared(names, settings, pictures), model, pictures, compare=True)
    name = body.get("technique")
    if not isinstance(name, str) or name not in techniques():
        raise Wrong(NotFound("technique", name, techniques()), "technique")
    technique = techniques()[name]
    if reason := available(technique):
        raise Wrong(f"{name} {reason}", "technique")
    if technique.needs_pixels and not pictures:
        raise Wrong(f"{name} looks at a picture; choose one", "pictures")
    trust = body.get("trust") is True and name.removeprefix("show/") in comparable()
    real, named = _settings(name, offered(technique), settings, networks, store)
    made = made_of(name, real)
    named = {key: named[key] for key in made.values() if key in named}
    return Task((made,), model, pictures, real, named, trust=trust)


def picture(made: object, store: Store) -> Picture:
    """A picture that is here. Raises Wrong."""
    about = store.about("pictures", made) if isinstance(made, str) else None
    path = store.path("pictures", str(made), "picture.png")
    if about is None or path is None:
        raise Wrong("this picture is not here (any more); choose it again", "pictures")
    store.use("pictures", str(made))
    return Picture(str(made), about["name"], about["sha256"], path)


def check(task: Task, networks: Networks) -> None:
    """What only the network can tell: that it has such classes and layers. For the device's thread. Raises Wrong."""
    model = networks.get(task.model)
    for technique in task.techniques:
        for s in technique.settings():
            value = getattr(technique, s.name)
            if value is None:
                continue
            if s.role == "class":
                blaming(s.name, lambda value=value: indices(value, model))  # type: ignore[misc]
            elif s.role == "layer":
                for one in value if isinstance(value, tuple) else (value,):
                    blaming(s.name, lambda one=one: model.layer(one))  # type: ignore[misc]
            elif s.role == "objective":
                blaming(s.name, lambda value=value: value.resolve(model))  # type: ignore[misc]


def _compared(names: Any, settings: dict[str, Any], pictures: Sequence[Picture]) -> tuple[Technique, ...]:
    """The methods of a sheet, all of the same class."""
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise Wrong("compare is a list of techniques, like show/saliency", "compare")
    if not pictures:
        raise Wrong("methods are compared on a picture; choose one", "pictures")
    if other := sorted(set(settings) - {"target"}):
        raise Wrong(f"methods that are compared have a target in common, and no {other[0]}", other[0])
    among = comparable()
    chosen = dict.fromkeys(blaming("compare", lambda n=n: known(n, among)) for n in names)  # type: ignore[misc]
    return tuple(made_of(f"show/{name}", settings) for name in chosen)


def _settings(
    name: str, own: Sequence[Setting], given: dict[str, Any], networks: Networks, store: Store
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings with pictures as their files here, and as visitors know them."""
    by_name = {s.name: s for s in own}
    real, named = dict(given), dict(given)
    for key, value in given.items():
        if key not in by_name:
            raise Wrong(NotFound(f"setting of {name}", key, by_name, f"it has {', '.join(by_name)}"), key)
        if isinstance(value, (int, float)) and by_name[key].role == "count" and value > SHOWN:
            raise Wrong(f"{key} is at most {SHOWN} in the studio; got {value}", key)
        if by_name[key].role == "model":
            blaming(key, lambda value=value: networks.check(value))  # type: ignore[misc]
        elif by_name[key].role == "picture" and value not in [f"sample:{n}" for n in SAMPLES]:
            found = blaming(key, lambda value=value: picture(value, store))  # type: ignore[misc]
            real[key], named[key] = str(found.path), found.name
    return real, named


def made_of(name: str, settings: dict[str, Any]) -> Any:
    """The technique or survey. To blame for an error is the setting that it begins with, or that is wrong by itself."""
    try:
        made = make(name, **settings)
    except PixelgradError as error:
        if (first := blamed(error, settings)) is not None:
            raise Wrong(error, first) from error
        for key, value in settings.items():
            blaming(key, lambda key=key, value=value: make(name, **{key: value}))  # type: ignore[misc]
        raise Wrong(error) from error
    return made


def blamed(error: PixelgradError, names: Sequence[str] | Mapping[str, Any]) -> str | None:
    """The setting that an error is about: errors of settings begin with its name."""
    first = str(error).partition(" ")[0]
    return first if first in names else None


def blaming(field: str, work: Callable[[], Any]) -> Any:
    """The outcome of work for which one field is to blame where it fails."""
    try:
        return work()
    except PixelgradError as error:
        raise Wrong(error, field) from error


def plain_value(name: str, value: Any) -> Any:
    """A value as settings have it: a number, a switch, a text, or several. Raises Wrong."""
    if isinstance(value, list) and len(value) <= SEVERAL:
        return tuple(plain_value(name, one) for one in value if not isinstance(one, list))
    good = isinstance(value, (bool, int, float, str))
    if isinstance(value, str) and len(value) > LENGTH:
        raise Wrong(f"{name} has {len(value):,} letters; at most {LENGTH:,} are read", name)
    if good and not isinstance(value, str):
        good = abs(value) < 2**63  # nor is that infinity, or no number
    if not good:
        raise Wrong(f"{name} is a number, a text or a short list of those", name)
    return value
