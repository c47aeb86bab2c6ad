"""Methods compared over a data set: its parts, their merging, and what is written and said."""

from __future__ import annotations

import csv
import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

import pixelgrad as pg
from pixelgrad import images
from pixelgrad.data import Files
from pixelgrad.errors import DataError, NotFound, SettingError
from pixelgrad.figures import figures
from pixelgrad.forgetting import forgotten
from pixelgrad.intervals import draw, interval
from pixelgrad.measure.methods import Methods
from pixelgrad.survey import Batch

QUICK = Methods("saliency,grad-cam", points=4, samples=2)


@pytest.fixture
def data(pixels, tmp_path):
    """The five pictures as files."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, x in enumerate(pixels):
        images.save(images.to_image(x), folder / f"{i}.png")
    return Files(folder, [f"{i}.png" for i in range(5)])


def batches(pixels, ids, together):
    for cut in torch.tensor(ids).split(together):
        yield Batch(pixels[cut], cut, torch.full_like(cut, -1))


def same(a, b):
    assert a.keys() == b.keys()
    for key in a:
        torch.testing.assert_close(a[key], b[key], rtol=1e-9, atol=1e-12, equal_nan=True)


def test_the_figures_are_those_of_a_card(small, pixels):
    whole = QUICK.part(small, batches(pixels, range(5), 2))
    target = tuple(small(pixels).argmax(1).tolist())
    methods = [pg.make("show/saliency"), pg.make("show/grad-cam")]
    expected = figures(methods, small, forgotten(small, (16, 16), 0), pixels, target, 4, 2)
    same(whole, {"ids": torch.arange(5), "target": torch.tensor(target), **expected._asdict()})


def test_parts_in_any_order_and_of_any_size_are_one_whole(small, pixels):
    whole = QUICK.part(small, batches(pixels, range(5), 5))
    a, b, c = (QUICK.part(small, batches(pixels, ids, 1)) for ids in ([3], [0, 4], [1, 2]))
    nothing = QUICK.part(small, [])
    same(QUICK.merge([a, b, c]), whole)
    same(QUICK.merge([c, nothing, QUICK.merge([b, a])]), whole)
    assert len(QUICK.merge([])["ids"]) == 0


def test_what_is_written(small, pixels, data, tmp_path):
    whole = QUICK.part(small, batches(pixels, [0, 1, 3, 4], 2))  # one could not be read
    said = QUICK.finish(small, data, whole, tmp_path)
    with (tmp_path / "methods.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["picture"], row["method"]) for row in rows] == [
        (f"{i}.png", name) for i in (0, 1, 3, 4) for name in ("saliency", "grad-cam")
    ]
    found = json.loads((tmp_path / "methods.json").read_text())
    assert found["pictures"] == 4
    for name in ("saliency", "grad-cam"):
        own = [row for row in rows if row["method"] == name]
        gap = np.array([float(row["insertion"]) - float(row["deletion"]) for row in own])
        edges = np.array([float(row["insertion_edges"]) - float(row["deletion_edges"]) for row in own])
        mean = found["means"]["gap"][name]
        half = 1.959964 * gap.std(ddof=1) / 2
        assert mean["mean"] == pytest.approx(gap.mean())
        assert mean["median"] == pytest.approx(np.median(gap))
        assert (mean["low"], mean["high"]) == pytest.approx((gap.mean() - half, gap.mean() + half))
        assert found["beats"][name]["edges"] == (gap > edges).sum()
        assert any(f"{name} finds" in s and f"edges in {(gap > edges).sum()} of 4" in s for s in said)
    best = sorted(found["ranking"], key=lambda name: -found["means"]["gap"][name]["mean"])
    assert found["ranking"] == best
    assert said[0].index(best[0]) < said[0].index(best[1])
    with Image.open(tmp_path / "methods.png") as plot:
        assert plot.width > 1000
    assert sorted(f.name for f in tmp_path.iterdir() if f.is_file()) == [
        "methods.csv", "methods.json", "methods.png"
    ]  # fmt: skip


def test_what_is_undefined_is_left_out(small, pixels, data, tmp_path):
    whole = QUICK.part(small, batches(pixels, range(5), 5))
    whole["likeness"][0, 0] = math.nan
    whole["likeness"][:, 1] = math.nan
    said = QUICK.finish(small, data, whole, tmp_path)
    found = json.loads((tmp_path / "methods.json").read_text())["means"]["rank_correlation"]
    assert (found["saliency"]["n"], found["grad-cam"]["n"]) == (4, 0)
    assert "grad-cam undefined" in said[-2]
    with (tmp_path / "methods.csv").open(newline="") as file:
        assert [row["rank_correlation"] == "" for row in csv.DictReader(file)][:4] == [
            True,
            True,
            False,
            True,
        ]


def test_without_pictures_nothing_is_written(small, data, tmp_path):
    with pytest.raises(DataError, match="no picture of"):
        QUICK.finish(small, data, QUICK.merge([]), tmp_path)
    assert [f.name for f in tmp_path.iterdir()] == ["photos"]


def test_names_and_bad_ones(small):
    survey = pg.make("measure/methods", methods="show/grad-cam, saliency,grad-cam", points=4)
    assert survey.prepare(small) == Methods("grad-cam,saliency", points=4)
    with pytest.raises(NotFound, match="no method 'salency'; did you mean 'saliency'"):
        Methods("salency").prepare(small)
    with pytest.raises(NotFound, match="no method 'filters'"):
        Methods("filters").prepare(small)
    with pytest.raises(SettingError, match="names with commas between"):
        Methods(" ,").prepare(small)
    with pytest.raises(SettingError, match="samples is at least 1"):
        Methods(samples=0)


def test_an_interval_holds_the_mean_as_often_as_it_says():
    random = torch.Generator().manual_seed(0)
    draws = torch.randn(2000, 50, generator=random)
    holds = [found.low <= 0 <= found.high for found in map(interval, draws)]
    # 0.944: the share of Student's t of 49 degrees of freedom within the normal quantile; five standard errors
    assert abs(sum(holds) / 2000 - 0.944) < 5 * (0.94 * 0.06 / 2000) ** 0.5


def test_intervals_of_few_values():
    assert interval(torch.tensor([math.nan])) == (0, None, None, None, None)
    assert interval(torch.tensor([2.0, math.nan])) == (1, 2.0, 2.0, None, None)
    assert str(interval(torch.tensor([2.0]))) == "2"
    assert interval(torch.tensor([1.0, 2.0, 6.0])).median == 2
    assert str(interval(torch.tensor([]))) == "undefined"


def test_a_plot_of_what_is_not_there():
    drawn = draw({"a": {"x": interval(torch.tensor([])), "y": interval(torch.tensor([1.0]))}}, "title")
    assert drawn.width > 300
