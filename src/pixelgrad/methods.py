"""The techniques that show why a network says a class, as methods that can be compared and measured: one map each.

    M    shape (n, h, w), never negative: how much each pixel counts

A map is taken as it is; where low values are what counts (occlusion), as its distance from the map's highest. Signed
values (n, 3, h, w) become |Σ over colours|: what the colours of a pixel add to the score is added up, as integrated
gradients and input × gradient have it; of a gradient (guided backpropagation) it is what a change of brightness does.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from torch import Tensor

from .classifier import Classifier
from .errors import NotFound, SettingError
from .gradient import logits_of
from .objectives.of_class import OfClass, Target, classes, indices
from .registry import make, settings, techniques
from .result import Result
from .technique import Technique

METHOD = "attribution whose maps are measured: a name after `pixelgrad show`"  # help of the setting


class Maps(NamedTuple):
    """Maps (n, h, w), never negative, and how many input gradients each took."""

    maps: Tensor
    gradients: int


def shows() -> dict[str, type[Technique]]:
    """The techniques that look at a picture."""
    known = techniques().items()
    return {n.removeprefix("show/"): t for n, t in known if n.startswith("show/") and t.needs_pixels}


def takes_target(technique: type[Technique]) -> bool:
    """Whether it is of a class."""
    return "target" in [s.name for s in settings(technique)]


def comparable() -> list[str]:
    """The techniques that show why a network says a class: those of `show` that take one."""
    return [name for name, technique in shows().items() if takes_target(technique)]


def known(name: str, among: list[str]) -> str:
    """The method of that name, with or without `show/`. Raises NotFound, with the nearest names."""
    short = name.strip().removeprefix("show/")
    if short not in among:
        raise NotFound("method", short, among, f"there are {', '.join(among)}")
    return short


def of_class(technique: object) -> Technique:
    """A technique as a method: one that shows why a network says a class. Raises SettingError where it is none, or is
    asked for another score."""
    name = getattr(technique, "name", "")
    if not isinstance(technique, Technique) or name.removeprefix("show/") not in comparable():
        raise SettingError(f"{name or repr(technique)} does not show why a network says a class")
    objective = getattr(technique, "objective", None)
    if not isinstance(objective, OfClass | None):
        raise SettingError(f"this is of a class: give a target in place of {objective!r}")
    return technique


def target_of(technique: Technique) -> Target:
    """The class that a method is asked for."""
    objective = getattr(technique, "objective", None)
    target: Target = getattr(technique, "target", None) if objective is None else objective.target
    return target


def toward(technique: Technique, target: Target) -> Technique:
    """The same method for another class."""
    objective = getattr(technique, "objective", None)
    changed = {"target": target} if objective is None else {"objective": replace(objective, target=target)}
    return replace(technique, **changed)  # type: ignore[type-var]


def attribute(method: str | Technique, model: Classifier, pixels: Tensor, target: Target) -> Maps:
    """The map of each picture for that class, by a method with its settings, or by `show/METHOD`. Raises NotFound and
    SettingError: no such method, or one that gives no map of the picture."""
    technique = make(f"show/{known(method, comparable())}") if isinstance(method, str) else method
    result = toward(technique, target).run(model, pixels)
    return Maps(strength(result), int(result.report["gradients"]))


def aimed(model: Classifier, pixels: Tensor, target: Target) -> tuple[tuple[int, ...], Tensor]:
    """The class of each picture, the one predicted where none is asked for, and the logits (n, classes). Whatever is
    then done to picture or network, the class stays."""
    logits = logits_of(model, pixels)
    return tuple(classes(logits, indices(target, model)).tolist()), logits


def of_picture(result: Result, pixels: Tensor) -> bool:
    """Whether a result has a value, or three, for each pixel."""
    values = result.pixels
    return values.shape[-2:] == pixels.shape[-2:] and (values.dim() != 4 or values.shape[1] == 3)


def strength(result: Result) -> Tensor:
    """How much each pixel counts in a result, (n, h, w), never negative."""
    values, photos = result.pixels, result.inputs
    if photos is None or values.dim() > 4 or not of_picture(result, photos):
        raise SettingError(f"{result.technique.name} gives no map of each picture that could be measured")
    if values.dim() == 4:
        return values.sum(1).abs()
    if getattr(result.technique, "low_counts", False):
        return values.amax((1, 2), keepdim=True) - values
    return values.abs()
