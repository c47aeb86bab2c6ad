"""Methods compared over a data set: how far their maps can be trusted, picture by picture, and which is the best.

    gap      insertion − deletion, areas of p_y (deletion.py): zero for a random order; beside that of Sobel's edges
    ranks    rank correlation, and SSIM, with the maps of a network that has forgotten all (forgetting.py)
    S        max-sensitivity (noise.py), beside that of edges

These are the figures of a card (trust.py), for the class predicted for each picture. The mean of each over the
pictures comes with its 95 % interval, mean ± 1.96 · s/√n (intervals.py). The methods are ordered by their mean gap
(Petsiuk 2018 has both areas on their own).
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from .. import images
from ..classifier import Classifier
from ..data import Data
from ..errors import DataError, SettingError
from ..figures import figures
from ..forgetting import forgotten
from ..gradient import Progress
from ..intervals import Interval, draw, interval
from ..methods import aimed, comparable, known
from ..registry import make, setting, survey
from ..survey import Batch, Survey, Tensors

BLIND = ("edges", "random")
ABOUT = {
    "deletion": "deletion\nlower is better",
    "insertion": "insertion\nhigher is better",
    "gap": "insertion − deletion\nhigher is better",
    "rank_correlation": "rank correlation\nwith random weights, 0 is good",
    "ssim": "SSIM\nwith random weights, 0 is good",
    "max_sensitivity": "max-sensitivity\nlower is better",
}


@survey
class Methods(Survey):
    """Several methods over many pictures: which finds what the classes depend on, depends on the network, and stays the
    same under noise."""

    costly: ClassVar[bool] = True

    methods: str = setting(
        "saliency,input-x-gradient,grad-cam", help="names after `pixelgrad show`, with commas between"
    )
    points: int = setting(16, lo=2, hi=1000, help="steps from the whole picture to the blurred one")
    samples: int = setting(4, lo=1, help="noises that are tried")
    seed: int = setting(0, lo=0, help="of the random order, the random weights and the noise")

    def prepare(self, model: Classifier) -> Self:
        """The names without `show/`, each once."""
        return type(self)(",".join(self.names()), self.points, self.samples, self.seed)

    def names(self) -> list[str]:
        """The methods. Raises NotFound and SettingError."""
        names = [known(name, comparable()) for name in self.methods.split(",") if name.strip()]
        if not names:
            raise SettingError("methods are names with commas between: saliency,grad-cam")
        return list(dict.fromkeys(names))

    def part(self, model: Classifier, batches: Iterable[Batch]) -> Tensors:
        """The figures of each picture, see figures.Figures, its place, and the class that they are of."""
        methods = [make(f"show/{name}") for name in self.names()]
        parts, blank = [self._nothing(len(methods))], None
        for batch in batches:
            if blank is None:
                blank = forgotten(model, (batch.pixels.shape[2], batch.pixels.shape[3]), self.seed)
            target, _ = aimed(model, batch.pixels, None)
            found = figures(methods, model, blank, batch.pixels, target, self.points, self.samples, self.seed)
            parts.append({"ids": batch.ids.cpu(), "target": torch.tensor(target), **found._asdict()})
        return self.merge(parts)

    def _nothing(self, methods: int) -> Tensors:
        """A part without pictures."""
        whole, real = torch.empty(0, dtype=torch.int64), torch.float64
        return {
            "ids": whole,
            "target": whole,
            "areas": torch.empty(0, 2, methods + 2, dtype=real),
            "likeness": torch.empty(0, methods, 2, dtype=real),
            "sensitivity": torch.empty(0, methods + 1, dtype=real),
            "ends": torch.empty(0, 2, dtype=real),
        }

    def merge(self, parts: Iterable[Tensors]) -> Tensors:
        """All pictures, in their order."""
        every = list(parts) or [self._nothing(len(self.names()))]
        whole = {key: torch.cat([part[key] for part in every]) for key in every[0]}
        order = whole["ids"].argsort(stable=True)
        return {key: values[order] for key, values in whole.items()}

    def finish(
        self, model: Classifier, data: Data, whole: Tensors, folder: Path, progress: Progress | None = None
    ) -> tuple[str, ...]:
        """Write methods.csv (a row for each picture and method), methods.json (means) and methods.png."""
        names, n = self.names(), len(whole["ids"])
        if not n:
            raise DataError(f"no picture of {data.root} could be measured")
        each = columns(names, whole)
        means = {key: {name: interval(v) for name, v in found.items()} for key, found in each.items()}
        ranking = sorted(names, key=lambda name: -(means["gap"][name].mean or 0))
        beats = {
            name: {other: int((each["gap"][name] > each["gap"][other]).sum()) for other in BLIND}
            for name in names
        }
        title = f"{n} pictures of {Path(data.root).name}, {model.name}; means and their 95 % intervals"
        facts = {
            "model": model.name,
            "data": data.root,
            "pictures": n,
            "settings": {s.name: getattr(self, s.name) for s in self.settings()},
            "means": {key: {name: v._asdict() for name, v in found.items()} for key, found in means.items()},
            "ranking": ranking,
            "beats": beats,
        }
        shown = {
            ABOUT[key]: {name: found[name] for name in (*ranking, *BLIND) if name in found}
            for key, found in means.items()
        }
        files: dict[str | os.PathLike[str], bytes] = {
            folder / "methods.csv": table(rows(names, whole, each, model, data)),
            folder / "methods.json": json.dumps(facts, indent=2).encode(),
            folder / "methods.png": images.encode(draw(shown, title, BLIND), "methods.png"),
        }
        images.write(files)
        return sentences(ranking, means, beats, n)


def columns(names: list[str], whole: Tensors) -> dict[str, dict[str, Tensor]]:
    """Of each figure the values (n,) of methods and of what they have to beat."""
    deletion, insertion = whole["areas"].unbind(1)
    both = (*names, *BLIND)
    return {
        "deletion": dict(zip(both, deletion.unbind(1), strict=True)),
        "insertion": dict(zip(both, insertion.unbind(1), strict=True)),
        "gap": dict(zip(both, (insertion - deletion).unbind(1), strict=True)),
        "rank_correlation": dict(zip(names, whole["likeness"][..., 0].unbind(1), strict=True)),
        "ssim": dict(zip(names, whole["likeness"][..., 1].unbind(1), strict=True)),
        "max_sensitivity": dict(zip((*names, BLIND[0]), whole["sensitivity"].unbind(1), strict=True)),
    }


def rows(
    names: list[str], whole: Tensors, each: dict[str, dict[str, Tensor]], model: Classifier, data: Data
) -> Iterator[dict[str, Any]]:
    """A row for each picture and method; what is undefined is empty."""
    ends = whole["ends"].tolist()
    for i, (place, y) in enumerate(zip(whole["ids"].tolist(), whole["target"].tolist(), strict=True)):
        (sample,) = data.read(place, place + 1)
        for name in names:
            row: dict[str, Any] = {"id": place, "picture": sample.name, "class": model.label_of(y)}
            row |= {"probability": ends[i][0], "blurred_probability": ends[i][1], "method": name}
            for key, found in each.items():
                row[key] = number(found[name][i])
                row |= {f"{key}_{other}": number(found[other][i]) for other in BLIND if other in found}
            yield row


def number(value: Tensor) -> float | str:
    """A figure as a table has it."""
    return "" if bool(value.isnan()) else float(value)


def table(found: Iterable[dict[str, Any]]) -> bytes:
    """Rows as CSV."""
    text, lines = io.StringIO(newline=""), list(found)
    writer = csv.DictWriter(text, list(lines[0]))
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue().encode()


def sentences(
    ranking: list[str], means: dict[str, dict[str, Interval]], beats: dict[str, dict[str, int]], n: int
) -> tuple[str, ...]:
    """What was found, in words."""
    gap = means["gap"]

    def all_of(key: str) -> str:
        return ", ".join(f"{name} {means[key][name]}" for name in ranking)

    best = [f"{name} {gap[name]}" for name in ranking]
    return (
        f"insertion − deletion over {n} pictures, the best first: {', '.join(best)}; edges {gap['edges']}, random 0",
        *(
            f"{name} finds what the class depends on better than edges in {beats[name]['edges']} of {n} pictures, "
            f"better than a random order in {beats[name]['random']}"
            for name in ranking
        ),
        f"rank correlation with the map of random weights: {all_of('rank_correlation')}; edges 1",
        f"max-sensitivity: {all_of('max_sensitivity')}; edges {means['max_sensitivity']['edges']}",
    )
