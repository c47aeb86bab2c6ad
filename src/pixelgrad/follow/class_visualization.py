"""Class visualization (Simonyan 2014, §2): a picture that a network takes for the purest example of a class.

    x* = argmax_x s_y(x) − λ‖(x − μ)/σ‖² − λ_TV·TV²(x)        from noise, x within [0, 1]

In place of s_y any objective, such as a channel (Olah 2017), which counts before its rectifier (unrectified.py). Every
step the network is shown the picture moved, scaled, turned or with noise, so that no single pixel matters. What the
presets are and where they were published stands in presets.py: `course` (CS231n), `lucid` (Olah 2017), `maco`
(Fel 2023), our own, `robust`, and `quick` for a first look.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from PIL import Image
from torch import Tensor

from .. import images
from ..ascent import Outcome, ascend
from ..classifier import LOGITS, Classifier
from ..errors import ImageError, SettingError
from ..gradient import Work, activations_of, logits_of
from ..models import load
from ..objectives.base import Objective
from ..objectives.of_class import Target, indices
from ..preprocessing import Preprocessing
from ..presets import BLUR_EVERY, PRESETS, Preset
from ..registry import setting, technique
from ..result import Result
from ..technique import Technique, aim, describe
from ..unrectified import measured


@technique
class ClassVisualization(Technique):
    """What a network looks for in a class: a picture made from noise that the network is as sure about as can be. In a
    channel, or in any other objective, too."""

    needs_pixels: ClassVar[bool] = False

    target: Target = setting(None, help="class, by name or index; default: those predicted for the pictures")
    objective: Objective | None = setting(
        None, help="score to raise in place of a class: \"Channel('blocks.2', 12)\""
    )
    preset: Literal["robust", "course", "lucid", "maco", "quick"] = setting(
        "robust",
        help="our own settings, published ones, or quick ones; those below replace them one by one",
    )
    size: int | None = setting(
        None,
        lo=8,
        hi=2048,
        unit="px",
        help="side of the picture; default: the network's, for maco twice that, for quick at most "
        f"{PRESETS['quick'].widest}",
    )
    steps: int | None = setting(None, lo=1, hi=100_000, help="how often the gradient is followed")
    l2: float | None = setting(None, lo=0, hi=1e3, help="λ: how much the distance from the mean colour costs")
    variation: float | None = setting(None, lo=0, hi=1e3, help="λ_TV: how much differing neighbours cost")
    jitter: int | None = setting(None, lo=0, hi=1024, unit="px", help="moved by at most that, every step")
    scale: float | None = setting(None, lo=0, hi=0.9, help="scaled by 1 ± at most that, every step")
    rotation: float | None = setting(None, lo=0, hi=180, unit="°", help="turned by at most that, every step")
    noise: float | None = setting(None, lo=0, hi=1, help="deviation of the noise laid over it, every step")
    blur: float | None = setting(
        None, lo=0, hi=32, unit="px", help=f"σ of the blur every {BLUR_EVERY} steps; only for pixels (course)"
    )
    spectrum: str | None = setting(
        None,
        help="folder of photographs whose magnitudes maco keeps; default: the samples",
        role="folder",
    )
    seed: int = setting(0, lo=0, hi=2**63 - 1, help="of the noise; the same seed gives the same picture")
    judge: str | None = setting(None, help="a second network: does it see the class as well?", role="model")
    judge_weights: str | None = setting(None, help="file with weights of your own for the judge", role="file")

    def __post_init__(self) -> None:
        super().__post_init__()
        aim(self.target, self.objective)  # says that one of them is enough
        if self.judge is not None and self.objective is not None:
            raise SettingError("judge looks for the class of a target; an objective has none")
        if self.judge_weights is not None and self.judge is None:
            raise SettingError("judge_weights are of a judge; name it with judge")
        chosen = PRESETS[self.preset].canvas
        if self.blur and chosen != "pixels":
            raise SettingError(f"blur is of pixels, preset course; {self.preset} follows a spectrum")
        if self.spectrum is not None and chosen != "maco":
            raise SettingError(f"spectrum is of preset maco; {self.preset} has none")

    def apply(self, model: Classifier, pixels: Tensor | None, work: Work) -> Result:
        """Pictures (n, 3, size, size), one for each class, or one for an objective."""
        judge = None if self.judge is None else load(self.judge, self.judge_weights, model.device)
        target = self._target(model, pixels)
        theirs = [] if judge is None else [_same(model, judge, y) for y in target or ()]
        objective = aim(target, self.objective)
        seen = model.preprocessing.size or (224, 224)
        size = PRESETS[self.preset].size(model) if self.size is None else (self.size, self.size)
        preset = self._preset(min(seen if PRESETS[self.preset].canvas == "maco" else size))
        n = 1 if target is None else len(target)
        canvas, constrain = preset.start(model, n, size, self.seed, _photographs(self.spectrum))
        outcome = ascend(
            model,
            preset.objective(objective),
            canvas,
            preset.follow(),
            preset.steps,
            transform=preset.transform(seen),
            constrain=constrain,
            measure=measured,
            seed=self.seed,
            work=work,
            key=f"{self!r} {objective!r} {size} {model.name} {model.weights}",
        )
        return self._result(model, objective, outcome, judge, theirs)

    def _preset(self, side: int) -> Preset:
        """The preset, for pictures that are seen at this side, with the settings that replace its own."""
        preset = PRESETS[self.preset].at(side)
        if self.jitter is not None and self.jitter > side:
            raise SettingError(f"jitter is at most the side of the picture, {side} px; got {self.jitter}")
        own = {f.name: getattr(self, f.name, None) for f in fields(Preset)}
        return replace(preset, **{name: value for name, value in own.items() if value is not None})

    def _target(self, model: Classifier, pixels: Tensor | None) -> tuple[int, ...] | None:
        """The class of each picture that is made; None for an objective."""
        given = self.target if self.objective is None else self.objective
        if pixels is None and given in (None, ()):
            raise SettingError(f"{self.name} needs a target, the name or index of a class, or an objective")
        if pixels is not None and given is not None:
            raise SettingError(
                f"{self.name} starts from noise; give pictures only in place of a target or objective"
            )
        if self.objective is not None:
            return None
        if pixels is not None:
            with torch.no_grad():
                return tuple(model(pixels).argmax(1).tolist())
        found: Any = indices(self.target, model)
        return found if isinstance(found, tuple) else (found,)

    def _result(
        self,
        model: Classifier,
        objective: Objective,
        outcome: Outcome,
        judge: Classifier | None,
        theirs: list[int],
    ) -> Result:
        """Measured on the pictures as they are saved, with 8 bits."""
        pixels = outcome.pixels.clamp(0, 1)
        resolved = objective.resolve(model)
        found = activations_of(model, _saved(model, pixels), (*resolved.needs, LOGITS))
        score = resolved(found)
        titles, facts = describe(model, objective, score, found[LOGITS])
        if judge is not None:
            for fact, y, s in zip(facts, theirs, logits_of(judge, _saved(judge, pixels)), strict=True):
                fact["judge_rank"] = 1 + int((s > s[y]).sum())
                fact["judge_probability"] = float(s.double().softmax(0)[y])
            heard = [f"{judge.name} {fact['judge_probability']:.1%}" for fact in facts]
            titles = tuple(f"{title}; {words}" for title, words in zip(titles, heard, strict=True))
        report: dict[str, Any] = {"gradients": int(outcome.gradients[0]), "images": facts}
        if outcome.interrupted is not None:
            report["interrupted"] = outcome.interrupted
        return Result(
            technique=self,
            model=model.name,
            pixels=pixels,
            score=score,
            titles=titles,
            report=report,
            frames=outcome.frames,
        )


def _same(model: Classifier, judge: Classifier, y: int) -> int:
    """The judge's index of a class: of the same name, where both have names."""
    return judge.label(model.label_of(y) if model.labels and judge.labels else y)


def _saved(model: Classifier, pixels: Tensor) -> Tensor:
    """The pictures as saved: of the network's own size as they are, otherwise as its users prepare them."""
    prepare = model.preprocessing
    if prepare.size is None or prepare.size == tuple(pixels.shape[-2:]):
        prepare = Preprocessing()
    return torch.cat([prepare(images.to_image(x)) for x in pixels]).to(model.device)


def _photographs(folder: str | None) -> Iterator[Image.Image]:
    """The pictures in a folder, or the samples."""
    if folder is None:
        files = [f"sample:{name}" for name in images.SAMPLES]
    else:
        endings = {end for end, kind in Image.registered_extensions().items() if kind in images.FORMATS}
        files = sorted(str(p) for p in Path(folder).glob("*") if p.suffix.lower() in endings)
        if not files:
            raise ImageError(f"{folder} is no folder with pictures")
    return (images.read(file) for file in files)
