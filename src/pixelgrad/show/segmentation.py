"""Segmentation from saliency (Simonyan 2014, §3.2): where an object is, from a network that learnt only what it is.

    seeds: M = max over colours of |∂s_y/∂x|, foreground M ≥ its 95 % quantile, background M ≤ its 30 % quantile
    mask = largest connected part of what GrabCut (Rother 2004) grows from the seeds      shape (n, h, w), 0 or 1

The seeds give the first colour models, 5 Gaussians each, for a cut of the whole picture; then GrabCut's rounds follow.
No pixel is held: saliency has strong ones outside an object and weak ones inside. What lies at both quantiles is
background, so a map without contrast has no object. A box is left, top, right, bottom in pixels, the last two outside.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from .. import heatmaps, images, pictures
from ..classifier import LOGITS, Classifier
from ..errors import ModelError, PixelgradError, SettingError
from ..gradient import Work, evaluate
from ..objectives.base import per_image
from ..objectives.logit import Logit
from ..objectives.of_class import Target
from ..registry import setting, technique
from ..result import Result
from ..technique import Technique, describe, need_pixels

Box = tuple[int, int, int, int]
Array = np.ndarray[Any, Any]

ROUNDS = 5  # of GrabCut, after the cut with the seeds' own models
SAMPLES = 5  # a colour model needs so many
OUTLINE, FOUND, TRUE, EDGE = (255, 235, 60), (255, 255, 255), (80, 220, 255), (20, 20, 20)


@technique
class Segmentation(Technique):
    """The object of a class, as mask and box: grown by colour from where its saliency is high."""

    extra: ClassVar[tuple[str, str] | None] = ("cv2", "measure")

    target: Target = setting(
        None,
        help="class to look for, by name or index; default: the one predicted for each picture",
    )
    foreground: float = setting(
        0.95, lo=0, hi=1, help="quantile of saliency from which pixels are foreground"
    )
    background: float = setting(0.3, lo=0, hi=1, help="quantile of saliency up to which they are background")
    box: str | tuple[str, ...] | None = setting(
        None, help="true box LEFT,TOP,RIGHT,BOTTOM in pixels of the picture as prepared, to compare with"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.background >= self.foreground:
            got = f"{self.background:g} and {self.foreground:g}"
            raise SettingError(f"background is below foreground; got {got}")

    def apply(self, model: Classifier, pixels: Tensor | None, work: Work) -> Result:
        """Masks (n, h, w) from one gradient per image."""
        cv2 = opencv()
        pixels = need_pixels(self, pixels)
        model.activations(pixels, ())  # says what is wrong with them
        n, size, objective = len(pixels), (pixels.shape[2], pixels.shape[3]), Logit(self.target)
        boxes = per_image(self.box, n, "boxes") if isinstance(self.box, tuple) else (self.box,) * n
        true = [None if text is None else read(text, size) for text in boxes]
        score, gradient, kept = evaluate(model, objective, pixels, keep=[LOGITS], progress=work.progress)
        saliency = gradient.abs().amax(1)
        if not bool(saliency.isfinite().all()):
            raise ModelError(f"{model.name} gave numbers that are not finite (NaN or infinite) here")
        titles, facts = describe(model, objective, score, kept[LOGITS])
        masks, words = [], []
        for x, values, fact, other, title in zip(pixels, saliency, facts, true, titles, strict=True):
            mask = largest(cv2, grown(cv2, x, *seeds(values, self.foreground, self.background)))
            masks.append(torch.from_numpy(mask).to(saliency))
            found, share = around(mask), float(mask.mean())
            overlap = None if other is None else iou(found, other)
            fact.update(box=found and list(found), share=share, iou=overlap)
            says = f"{share:.0%} of the picture" if found else "no object"
            words.append(f"{title}: {says}" + ("" if overlap is None else f", IoU {overlap:.2f}"))
        return Result(
            technique=self,
            model=model.name,
            pixels=torch.stack(masks),
            score=score,
            inputs=pixels,
            titles=tuple(words),
            report={"gradients": 1, "images": facts},
            draw=partial(draw, saliency, true),
        )


def opencv() -> Any:
    """OpenCV, which is not needed for anything else."""
    try:
        import cv2
    except ImportError as error:
        words = "segmentation needs the measure extra: pip install 'pixelgrad[measure]'"
        raise PixelgradError(words) from error
    return cv2


def seeds(saliency: Tensor, foreground: float, background: float) -> tuple[Array, Array]:
    """Which pixels (h, w) are seeds of the foreground, and of the background."""
    values = saliency.cpu().double().numpy()
    low, high = np.quantile(values, (background, foreground))
    return (values >= high) & (values > low), values <= low


def grown(cv2: Any, x: Tensor, inside: Array, outside: Array) -> Array:
    """What GrabCut makes of a picture (3, h, w) with these seeds, (h, w) of 0 and 1; without both kinds nothing."""
    mask = np.full(inside.shape, cv2.GC_PR_BGD, np.uint8)
    if not (inside.any() and outside.any()):
        return np.zeros_like(mask)
    photo = np.asarray(images.to_image(x))
    colours = [np.resize(photo[some], (max(SAMPLES, some.sum()), 3)) for some in (inside, outside)]
    strip = np.concatenate(colours)[None]  # a picture of nothing but seeds
    known = np.repeat(np.array([cv2.GC_FGD, cv2.GC_BGD], np.uint8), [len(c) for c in colours])[None]
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)  # the models begin with k-means: every picture from the same numbers
    cv2.grabCut(strip, known, None, *models, 1, cv2.GC_INIT_WITH_MASK)
    cv2.grabCut(photo, mask, None, *models, 1, cv2.GC_EVAL_FREEZE_MODEL)
    if (mask == cv2.GC_PR_FGD).any() and (mask == cv2.GC_PR_BGD).any():
        cv2.grabCut(photo, mask, None, *models, ROUNDS, cv2.GC_EVAL)
    found: Array = (mask == cv2.GC_PR_FGD).astype(np.uint8)
    return found


def largest(cv2: Any, mask: Array) -> Array:
    """The largest connected part, of 0 and 1; neighbours touch by a side or a corner."""
    count, parts, stats, _ = cv2.connectedComponentsWithStats(mask)
    if count == 1:
        return mask
    part: Array = parts == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()
    return part.astype(np.uint8)


def around(mask: Array) -> Box | None:
    """The box around a mask; None around nothing."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def iou(one: Box | None, other: Box) -> float:
    """Intersection over union of two boxes."""
    if one is None:
        return 0.0
    width = max(0, min(one[2], other[2]) - max(one[0], other[0]))
    common = width * max(0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (one, other)]
    return common / (sum(areas) - common)


def read(text: str, size: tuple[int, int]) -> Box:
    """A box as it is typed, in a picture of this height and width."""
    match = re.fullmatch(r"\s*(\d{1,9})" + r"\s*,\s*(\d{1,9})" * 3 + r"\s*", str(text))
    if not match:
        raise SettingError(f"box is LEFT,TOP,RIGHT,BOTTOM, like 10,20,200,180; got {text!r:.40}")
    left, top, right, bottom = (int(number) for number in match.groups())
    if not (left < right <= size[1] and top < bottom <= size[0]):
        raise SettingError(f"box lies in 0,0,{size[1]},{size[0]} and is not empty; got {text!r:.40}")
    return left, top, right, bottom


def draw(saliency: Tensor, true: list[Box | None], result: Result) -> Image.Image:
    """The photographs, their saliency, and the masks on them with what was found; a single one side by side."""
    assert result.inputs is not None
    photos = [pictures.enlarged(images.to_image(x)) for x in result.inputs]
    facts = result.report["images"]
    last = [
        outlined(photo, mask, [(fact["box"], FOUND), (box, TRUE)])
        for photo, mask, fact, box in zip(photos, result.pixels, facts, true, strict=True)
    ]
    rows = [photos, heatmaps.heats(saliency, result.inputs, result.view), last]
    return pictures.sheet([[row[0] for row in rows]] if len(photos) == 1 else rows, result.titles)


def outlined(photo: Image.Image, mask: Tensor, boxes: list[tuple[Any, tuple[int, int, int]]]) -> Image.Image:
    """The photograph, darker outside the mask, with the mask's outline and with boxes, each in its colour."""
    factor = photo.width // mask.shape[1]
    on = np.kron(mask.cpu().numpy() > 0, np.ones((factor, factor), bool))
    near = np.pad(on, 1, mode="edge")
    inner = near[:-2, 1:-1] & near[2:, 1:-1] & near[1:-1, :-2] & near[1:-1, 2:] & on
    array = np.where(on[..., None], np.asarray(photo), np.asarray(photo) // 2)
    array[on & ~inner] = OUTLINE
    drawn = Image.fromarray(array)
    pen = ImageDraw.Draw(drawn)
    for box, colour in boxes:
        if box is not None:
            left, top, right, bottom = (factor * side for side in box)
            pen.rectangle((left, top, right - 1, bottom - 1), outline=EDGE, width=3)
            pen.rectangle((left + 1, top + 1, right - 2, bottom - 2), outline=colour)
    return drawn
