"""Confusions: the mistakes that a network is most sure of, with what it looked at.

    score of a picture of class t, predicted as p ≠ t: the probability of p, softmax(s)_p
    order: score descending, then the picture's place in the data set ascending

Of each mistake the saliency (Simonyan 2014, §3.1: max over colours of |∂s_y/∂x|) of the predicted class, and that of
the true one. Pictures whose class is not known, or is none of the network's, do not count.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import torch
from PIL import Image
from torch import Tensor

from .. import images, pictures
from ..blocks import blocks, steady
from ..blocks import pictures as read
from ..classifier import LOGITS, Classifier
from ..data import Data
from ..errors import DataError, ModelError
from ..gradient import Progress, Step, evaluate
from ..objectives.logit import Logit
from ..registry import setting, survey
from ..survey import Batch, Survey, Tensors
from ..topk import NOBODY, Top

CSV = "confusions.csv"
SHEET = "confusions.png"
COLUMNS = ("rank", "id", "picture", "true", "predicted", "probability")
SHOWN, SIDE = 20, 192  # mistakes on the sheet at most; side of a picture there
TOP = ("scores", "ids", "classes")  # classes: predicted and true


@survey
class Confusions(Survey):
    """The mistakes that a network is most sure of: what it saw, and what it should have seen."""

    needs_labels: ClassVar[bool] = True

    k: int = setting(20, lo=1, hi=10_000, help="how many mistakes")

    def part(self, model: Classifier, batches: Iterable[Batch]) -> Tensors:
        """The k most confident mistakes, and how many pictures there were: all, with a known class, right ones."""
        top, counts = Top.empty(1, self.k, 2, model.device), torch.zeros(3, dtype=torch.long)
        with steady(model):
            for block in blocks(model, batches, (LOGITS,)):
                probability = block.activations[LOGITS].double().softmax(1)
                if not bool(probability.isfinite().all()):
                    raise ModelError(f"{model.name} gave logits that are not finite (NaN or infinite)")
                score, predicted = probability.max(1)  # of equal ones the first class
                known = block.labels >= 0
                wrong = (known & (predicted != block.labels)).nonzero()[:, 0]
                right = known & (predicted == block.labels)
                counts += torch.stack([torch.ones_like(known).sum(), known.sum(), right.sum()]).cpu()
                both = torch.stack([predicted, block.labels], 1)
                top = top.join(Top(score[wrong][None], block.ids[wrong][None], both[wrong][None]))
        return {"counts": counts, **{n: t.cpu() for n, t in zip(TOP, top, strict=True)}}

    def merge(self, parts: Iterable[Tensors]) -> Tensors:
        """The best of the best."""
        first, *others = parts
        tops = [Top(*(part[n] for n in TOP)) for part in (first, *others)]
        counts = torch.stack([part["counts"] for part in (first, *others)]).sum(0)
        return {"counts": counts, **dict(zip(TOP, tops[0].join(*tops[1:]), strict=True))}

    def finish(
        self, model: Classifier, data: Data, whole: Tensors, folder: Path, progress: Progress | None = None
    ) -> tuple[str, ...]:
        """`confusions.csv`, and a sheet of the first of them."""
        total, known, right = whole["counts"].tolist()
        if not known:
            raise DataError(f"of no picture of {data.root} that can be read a class of {model.name} is known")
        rows = io.StringIO()
        lines = csv.writer(rows, lineterminator="\n")
        lines.writerow(COLUMNS)
        drawn: list[Image.Image] = []
        mistakes = [m for m in zip(*(whole[n][0].tolist() for n in TOP), strict=True) if m[1] != NOBODY]
        for rank, (score, i, (predicted, true)) in enumerate(mistakes, 1):
            (sample,) = data.read(i, i + 1)
            lines.writerow([rank, i, sample.name, model.label_of(true), model.label_of(predicted), score])
            if rank <= SHOWN:
                drawn.append(_shown(model, read(model, data, [i]), predicted, true))
            if progress is not None:
                progress(Step(rank, len(mistakes)))
        files: dict[str | os.PathLike[str], bytes] = {
            # names of files need not be Unicode
            folder / CSV: rows.getvalue().encode(errors="surrogateescape")
        }
        if drawn:
            rows_of_two = [drawn[i : i + 2] for i in range(0, len(drawn), 2)]
            files[folder / SHEET] = images.encode(pictures.sheet(rows_of_two), SHEET)
        images.write(files)
        says = [f"{right:,} of {known:,} pictures are right: accuracy {right / known:.2%}"]
        if known < total:
            says.append(f"the class of {total - known:,} more is not known, or none of {model.name}'s")
        if mistakes:
            score, _, (predicted, true) = mistakes[0]
            names = f"{model.label_of(predicted)} for {model.label_of(true)}"
            says.append(f"the most confident mistake is {names}, {score:.1%}")
        return tuple(says)


def _shown(model: Classifier, pixels: Tensor, predicted: int, true: int) -> Image.Image:
    """A picture (1, 3, h, w), the saliency of what it was taken for, and of what it is."""
    found = evaluate(model, Logit((predicted, true)), pixels.repeat(2, 1, 1, 1), keep=[LOGITS])
    probability = found.kept[LOGITS][0].double().softmax(0)
    maps = found.gradient.abs().amax(1)
    row = [pictures.enlarged(images.to_image(pixels[0]), SIDE)]
    row += [pictures.enlarged(pictures.colour(m, *pictures.scale(m)), SIDE) for m in maps]
    row = [p.resize((SIDE, round(SIDE * p.height / p.width)), Image.Resampling.BICUBIC) for p in row]
    said = [
        f"{word} {model.label_of(y)} {float(probability[y]):.1%}"
        for word, y in (("said", predicted), ("is", true))
    ]
    return pictures.sheet([row], ["", *said])
