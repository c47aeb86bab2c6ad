"""The most confident mistakes, against a list of all; what is written of them."""

from __future__ import annotations

import csv

import pytest
import torch
from PIL import Image
from torch import nn

import pixelgrad as pg
from pixelgrad.errors import DataError, ModelError
from pixelgrad.find import confusions
from pixelgrad.find.confusions import Confusions
from pixelgrad.survey import Batch
from tests.in_memory import InMemory

NAMES = ("ant", "bee", "cat")


class Rounded(nn.Module):
    """Logits of few values, so that many mistakes are equally sure."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3 * 64, 3)

    def forward(self, x):
        s = self.fc(x.flatten(1)) * 4
        return s + (s.round() - s).detach()


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(6)
    return pg.Classifier(Rounded(), size=8, labels=NAMES, mean=0.5, name="rounded")


@pytest.fixture(scope="module")
def data():
    return InMemory(120, 8, NAMES)


def mistakes(model, data):
    """(probability, id, predicted, true) of all, in their order; and how many are right."""
    found, right = [], 0
    for batch in data.batches(model, [1]):
        probability = model(batch.pixels).detach().double().softmax(1)[0].tolist()
        predicted = probability.index(max(probability))
        i, true = int(batch.ids), int(batch.labels)
        right += predicted == true
        if predicted != true:
            found.append((probability[predicted], i, predicted, true))
    return sorted(found, key=lambda m: (-m[0], m[1])), right


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


def test_equals_a_list_of_all(model, data):
    expected, right = mistakes(model, data)
    assert len({m[0] for m in expected[:20]}) < 20  # some are equally sure
    whole = Confusions().part(model, data.batches(model, [50]))
    found = list(zip(*(whole[n][0].tolist() for n in ("scores", "ids", "classes")), strict=True))
    assert found == [(score, i, [predicted, true]) for score, i, predicted, true in expected[:20]]
    assert whole["counts"].tolist() == [120, 120, right]


@pytest.mark.parametrize("sizes", [[1], [37], [64], [5, 1, 90]])
def test_any_split_gives_the_same(model, data, sizes):
    survey = Confusions(k=7)
    whole = survey.part(model, data.batches(model, [120]))
    assert same(survey.part(model, data.batches(model, sizes)), whole)
    shards = [[*range(90, 120)], [*range(0, 120, 2)][:45], [*range(1, 90, 2)], []]
    a, b, c, empty = (survey.part(model, data.batches(model, sizes, shard)) for shard in shards)
    assert same(survey.merge([a, b, c, empty]), whole)
    assert same(survey.merge([empty, survey.merge([c, a]), b]), whole)
    assert same(survey.merge(iter([survey.merge([b]), survey.merge([a, survey.merge([empty, c])])])), whole)


def test_what_is_written(model, data, tmp_path, monkeypatch):
    expected, right = mistakes(model, data)
    survey = Confusions(k=5)
    seen = []
    says = survey.finish(model, data, survey.part(model, data.batches(model, [9])), tmp_path, seen.append)
    with (tmp_path / "confusions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [
        (float(r["probability"]), int(r["id"]), r["picture"], r["predicted"], r["true"]) for r in rows
    ] == [(score, i, f"{i}.png", NAMES[predicted], NAMES[true]) for score, i, predicted, true in expected[:5]]
    score, _, predicted, true = expected[0]
    assert says == (
        f"{right} of 120 pictures are right: accuracy {right / 120:.2%}",
        f"the most confident mistake is {NAMES[predicted]} for {NAMES[true]}, {score:.1%}",
    )
    assert [(s.done, s.total) for s in seen] == [(i, 5) for i in range(1, 6)]
    with Image.open(tmp_path / "confusions.png") as sheet:
        five = sheet.size
    monkeypatch.setattr(confusions, "SHOWN", 1)
    survey.finish(model, data, survey.part(model, data.batches(model, [9])), tmp_path)
    with Image.open(tmp_path / "confusions.png") as sheet:
        assert sheet.height < five[1]
        assert sheet.width < five[0]


def test_the_saliency_is_that_of_both_classes(model, monkeypatch):
    seen = []
    monkeypatch.setattr(confusions.pictures, "scale", lambda values: (seen.append(values), (0.0, 1.0))[1])
    confusions._shown(model, torch.rand(1, 3, 8, 8), 2, 0)
    weight = model.module.fc.weight.detach().reshape(3, 3, 8, 8) * 4
    for found, y in zip(seen, (2, 0), strict=True):
        torch.testing.assert_close(found, weight[y].abs().amax(0))


def test_pictures_without_a_class_do_not_count(model, data, tmp_path):
    def some(batches):
        for pixels, ids, labels in batches:
            yield Batch(pixels, ids, torch.where(ids % 2 == 0, labels, -1))

    expected = [m for m in mistakes(model, data)[0] if m[1] % 2 == 0]
    survey = Confusions(k=3)
    whole = survey.part(model, some(data.batches(model, [30])))
    assert whole["ids"][0].tolist() == [m[1] for m in expected[:3]]
    says = survey.finish(model, data, whole, tmp_path)
    assert says[1] == "the class of 60 more is not known, or none of rounded's"


def test_no_class_is_one_clear_error(model, tmp_path):
    data = InMemory(8, 8)
    whole = Confusions().part(model, data.batches(model, [4]))
    with pytest.raises(
        DataError, match="of no picture of memory that can be read a class of rounded is known"
    ):
        Confusions().finish(model, data, whole, tmp_path)
    assert not list(tmp_path.iterdir())


def test_no_class_is_said_before_the_work(model, tmp_path):
    with pytest.raises(DataError, match="find/confusions needs folders by class"):
        pg.run_over(Confusions(), model, InMemory(8, 8), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_no_mistake_at_all(model, data, tmp_path):
    batches = [Batch(b.pixels, b.ids, model(b.pixels).argmax(1)) for b in data.batches(model, [60])]
    says = Confusions().finish(model, data, Confusions().part(model, batches), tmp_path)
    assert says == ("120 of 120 pictures are right: accuracy 100.00%",)
    assert (tmp_path / "confusions.csv").read_text().count("\n") == 1
    assert not (tmp_path / "confusions.png").exists()


def test_numbers_that_are_not_finite_are_an_error(model, data):
    batch = next(data.batches(model, [4]))
    with pytest.raises(ModelError, match="not finite"):
        Confusions().part(model, [Batch(batch.pixels * torch.nan, batch.ids, batch.labels)])
