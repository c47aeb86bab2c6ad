"""The search for top patches against all activations in one tensor, in whatever way it is cut; what it writes."""

from __future__ import annotations

import csv
import json
import math
import random
from contextlib import nullcontext

import pytest
import torch
from PIL import Image
from torch import nn

import pixelgrad as pg
from pixelgrad import tally, unit_table
from pixelgrad.classifier import LOGITS
from pixelgrad.errors import DataError, ModelError, NotFound, SettingError
from pixelgrad.find.patches import Patches
from pixelgrad.receptive import field_of
from pixelgrad.survey import Batch
from pixelgrad.topk import NOBODY, Top
from pixelgrad.unit_pictures import examples, way_down
from pixelgrad.units import units
from tests.in_memory import InMemory

COUNT = 150


class Coarse(nn.Module):
    """Activations with few different values, so that scores and places are often equal; one channel is dead. Its
    numbers are such that every sum is exact: how a processor rounds may depend on where in a batch a picture is."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, stride=2)
        self.pool = nn.MaxPool2d(2)
        self.steps = nn.Identity()
        self.fc = nn.Linear(6, 4)
        # so that no class is always the highest
        usual = 9 / 8 * torch.tensor([0.097, 0.838, 0, 0.263, 0.467, 0.303])
        self.fc.bias.data = -self.fc.weight.data @ usual
        for p in self.parameters():
            p.data = (p.data * 64).round() / 64
        self.conv.bias.data[2] = -100

    def forward(self, x):
        x = (x * 255).round() / 256
        x = self.steps((self.pool(self.conv(x).relu()) * 4).round() / 4)
        return self.fc(x.sum((2, 3)) / 8)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(4)
    return pg.Classifier(Coarse().eval(), size=16, labels=["ant", "bee", "cat", "dog"], name="coarse")


@pytest.fixture(scope="module")
def data():
    return InMemory(COUNT, 16)


@pytest.fixture(scope="module")
def survey(model):
    return Patches(layers="steps,conv,fc", k=9).prepare(model)


@pytest.fixture(scope="module")
def whole(model, data, survey):
    return survey.part(model, data.batches(model, [64]))


def everything(model, data, layers):
    """All activations, in the order of the pictures."""
    pixels = torch.cat([batch.pixels for batch in data.batches(model, [len(data)])])
    with torch.no_grad():
        return model.activations(pixels, layers)


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) and a[n].dtype == b[n].dtype for n in a)


def test_equals_brute_force(model, data, survey, whole):
    found = everything(model, data, ["steps", "conv", "fc", LOGITS])
    for layer in ("steps", "conv", "fc"):
        values = found[layer].reshape(COUNT, found[layer].shape[1], -1).double()
        width = found[layer].shape[3] if found[layer].dim() == 4 else 1
        ties = 0
        for c, unit in enumerate(units(whole, layer)):
            scores = [max(values[i, c].tolist()) for i in range(COUNT)]
            order = sorted(range(COUNT), key=lambda i: (-scores[i], i))[:9]
            ties += len({scores[i] for i in order}) < 9
            assert whole[f"{layer}/ids"][c].tolist() == order
            # rounding differs with the number of pictures at once, but for what is rounded coarsely
            off = 0 if layer == "steps" else 1e-6
            assert whole[f"{layer}/scores"][c].tolist() == pytest.approx([scores[i] for i in order], abs=off)
            at = [values[i, c].tolist().index(max(values[i, c].tolist())) for i in order]
            assert whole[f"{layer}/places"][c].tolist() == [[p // width, p % width] for p in at]
            assert [b[1] for b in unit.best] == [i for i in order if scores[i] > 0]
            assert unit.maximum == pytest.approx(max(scores), abs=off)
            assert unit.mean == pytest.approx(float(values[:, c].mean()), abs=1e-6)
            assert unit.pictures_active == sum(s > 0 for s in scores) / COUNT
            assert unit.places_active == float((values[:, c] > 0).double().mean())
            assert sum(unit.histogram) == COUNT
            if layer == "steps":
                assert unit.histogram == tuple(
                    tally.bins(torch.tensor(scores)).bincount(minlength=tally.BINS).tolist()
                )
        assert layer != "steps" or ties > 2
    predicted = found[LOGITS].argmax(1)
    assert int((predicted.bincount() > 2).sum()) > 1
    assert whole["predicted"].tolist() == predicted.bincount(minlength=4).tolist()
    scores = found["steps"].amax((2, 3)).double()
    often = [y for y in range(4) if int((predicted == y).sum()) >= 3]
    for c, unit in enumerate(units(whole, "steps")):
        means = {y: float(scores[predicted == y, c].mean()) for y in often}
        best = sorted((y for y in often if means[y] > 0), key=lambda y: (-means[y], y))
        assert [y for y, _ in unit.classes] == best
        assert [m for _, m in unit.classes] == pytest.approx([means[y] for y in best], rel=1e-6)


def test_a_unit_that_nothing_activates_is_dead(whole):
    found = units(whole, "steps")
    assert [unit.dead for unit in found] == [c == 2 for c in range(6)]
    assert found[2].best == found[2].classes == ()
    assert found[2].pictures_active == 0


@pytest.mark.parametrize("sizes", [[1], [37], [150], [3, 1, 40, 8]])
@pytest.mark.parametrize("threads", [1, 2])
def test_no_cut_and_no_thread_changes_a_bit(model, data, survey, whole, sizes, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert same(survey.part(model, data.batches(model, sizes)), whole)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_a_real_network_gives_the_same_bits():
    model, data = pg.load("tinynet"), InMemory(40, 64)
    survey = Patches().prepare(model)
    one, others = (survey.part(model, data.batches(model, sizes)) for sizes in ([40], [1, 7, 16]))
    assert same(one, others)
    parts = [survey.part(model, data.batches(model, [5], ids)) for ids in (range(1, 40), range(1))]
    assert same(survey.merge(parts), one)


@pytest.mark.parametrize("fails", [False, True])
def test_a_network_is_always_given_as_many_and_one_thread(model, data, survey, fails):
    seen = set()

    def note(_module, inputs):
        seen.add((len(inputs[0]), torch.get_num_threads()))
        if fails:
            raise ZeroDivisionError

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    handle = model.module.conv.register_forward_pre_hook(note)
    try:
        with pytest.raises(ZeroDivisionError) if fails else nullcontext():
            survey.part(model, data.batches(model, [5, 90]))
        assert torch.get_num_threads() == 2
    finally:
        handle.remove()
        torch.set_num_threads(before)
    assert seen == {(16, 1)}


@pytest.mark.parametrize("seed", range(8))
def test_any_split_order_and_tree_merges_to_the_same(model, data, survey, whole, seed):
    dice = random.Random(seed)
    ids = list(range(COUNT))
    if seed % 2:
        dice.shuffle(ids)
    cuts = sorted(dice.sample(range(1, COUNT), dice.randint(1, 6)))
    shards = [ids[a:b] for a, b in zip([0, *cuts], [*cuts, COUNT], strict=True)]
    parts = [survey.part(model, data.batches(model, [dice.randint(1, 70)], shard)) for shard in shards]
    parts.append(survey.part(model, iter(())))
    dice.shuffle(parts)
    while len(parts) > 1:
        some = [parts.pop(dice.randrange(len(parts))) for _ in range(dice.randint(2, min(3, len(parts))))]
        parts.append(survey.merge(iter(some)))
    assert same(parts[0], whole)


def test_merging_leaves_the_parts_as_they_were(model, data, survey):
    parts = [survey.part(model, data.batches(model, [9], ids)) for ids in (range(20), range(20, 50))]
    before = [{n: t.clone() for n, t in part.items()} for part in parts]
    survey.merge(parts)
    assert all(same(part, kept) for part, kept in zip(parts, before, strict=True))


def test_fewer_pictures_than_places(model, data, survey):
    part = survey.part(model, data.batches(model, [2], range(3)))
    assert (part["steps/ids"][:, 3:] == NOBODY).all()
    assert part["steps/scores"][:, 3:].eq(-math.inf).all()
    assert all(len(unit.best) <= 3 for unit in units(part, "steps"))


def test_tokens():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.cut = nn.Conv2d(3, 5, 4, stride=4)
            self.tokens = nn.Identity()
            self.head = nn.Linear(5, 3)

        def forward(self, x):
            return self.head(self.tokens(self.cut(x).flatten(2).transpose(1, 2)).mean(1))

    other, data = pg.Classifier(Tokens(), size=16), InMemory(12, 16)
    part = Patches(layers="tokens").prepare(other).part(other, data.batches(other, [5]))
    values = everything(other, data, ["tokens"])["tokens"]
    for c in range(5):
        order = sorted(range(12), key=lambda i: (-float(values[i, :, c].max()), i))[:9]
        assert part["tokens/ids"][c].tolist() == order
        at = [int(values[i, :, c].argmax()) for i in order]
        assert part["tokens/places"][c].tolist() == [[p // 4, p % 4] for p in at]


def test_total_order():
    empty = Top.empty(1, 3, 1)

    def one(*pairs):
        scores, ids = zip(*pairs, strict=True)
        return Top(torch.tensor([scores]).double(), torch.tensor([ids]), torch.tensor([ids])[..., None] * 10)

    a, b = one((1.0, 7), (0.0, 2)), one((1.0, 3), (2.0, 9), (0.0, 1))
    for joined in (empty.join(a, b), empty.join(b).join(a), empty.join(a).join(empty.join(b))):
        assert joined.ids.tolist() == [[9, 3, 7]]
        assert joined.notes.tolist() == [[[90], [30], [70]]]


def test_bins_and_sums():
    ends = tally.edges()
    values = torch.cat(
        [torch.randn(400).double() * 10.0**e for e in range(-5, 7)] + [ends, -ends, torch.zeros(1)]
    )
    for value, found in zip(values.tolist(), tally.bins(values).tolist(), strict=True):
        size = sum(end <= abs(value) for end in ends.tolist()[tally.SIDE + 1 :])
        assert found == tally.SIDE + (min(size, tally.SIDE) if value > 0 else -min(size, tally.SIDE))
    assert len(ends) == tally.BINS + 1
    assert bool((ends.diff() > 0).all())
    some = torch.randn(1000)
    assert float(tally.mean(tally.fixed(some).sum(), 1000)) == pytest.approx(
        float(some.double().mean()), abs=2**-25
    )
    assert tally.fixed(torch.tensor([1e30, -1e30])).tolist() == [2**39, -(2**39)]


def test_what_is_written(model, data, survey, whole, tmp_path):
    seen = []
    says = survey.finish(model, data, whole, tmp_path, seen.append)
    assert says[0] == "150 pictures"
    full = sum(len(u.best) == 9 and u.best[8][0] == u.maximum for u in units(whole, "steps"))
    assert full > 1
    words = f"{full} give their highest score to 9 pictures or more, the first are shown"
    assert says[1] == f"steps: 5 of 6 channels are active, 1 are dead; {words}"
    assert says[2] == "conv: 5 of 6 channels are active, 1 are dead"
    assert (seen[0].done, seen[-1].done) == (1, seen[-1].total)
    with (tmp_path / "patches.csv").open() as file:
        rows = list(csv.DictReader(file))
    expected = [
        (layer, unit.channel, rank, score, i, f"{i}.png", row, column)
        for layer in ("steps", "conv", "fc")
        for unit in units(whole, layer)
        for rank, (score, i, row, column) in enumerate(unit.best, 1)
    ]
    assert len(rows) == len(expected)
    for row, (layer, channel, rank, score, i, name, y, x) in zip(rows, expected, strict=True):
        assert (row["layer"], row["picture"], float(row["score"])) == (layer, name, score)
        numbers = [int(row[n]) for n in ("channel", "rank", "id", "row", "column")]
        assert numbers == [channel, rank, i, y, x]
        box = [int(row[n]) for n in ("top", "left", "bottom", "right")]
        field = field_of(model, layer)
        assert box == list(field.box(y, x, (16, 16)) if field else (0, 0, 16, 16))
    table = unit_table.read(tmp_path)
    assert table == json.loads((tmp_path / "units.json").read_text())
    assert table["layers"][0]["units"][2]["best"] == []
    for layer in ("steps", "conv", "fc"):
        with Image.open(tmp_path / f"{layer}.png") as sheet:
            assert sheet.width > 300


def test_what_in_a_patch_counts_is_by_the_rule_that_suits(model, data, survey, whole, tmp_path):
    survey.finish(model, data, whole, tmp_path)
    steps, conv, _ = unit_table.read(tmp_path)["layers"]
    ways = [way_down(model, x["layer"], examples(model, data, x["units"][0])[0]) for x in (steps, conv)]
    assert [way.rule for way in ways] == ["deconvnet", None]


@pytest.mark.parametrize(("layers", "kind", "message"), [
    ("nothing", NotFound, "no layer 'nothing'"),
    ("steps,", NotFound, "no layer ''"),
    ("steps:2", NotFound, "no layer 'steps:2'"),
])  # fmt: skip
def test_layers_that_do_not_do(model, layers, kind, message):
    with pytest.raises(kind, match=message):
        Patches(layers=layers).prepare(model)


def test_settings(model, tmp_path):
    assert Patches().prepare(pg.load("tinynet")).layers == "layer1,layer2,layer4,layer6,layer8"
    # its last stage ends with a ReLU6, where many pictures have exactly 6
    names = Patches().prepare(pg.load("efficientnet_lite0")).layers
    assert names == "blocks.0,blocks.1,blocks.2,blocks.4,bn2.drop"
    assert Patches(layers="conv, steps,conv").prepare(model).layers == "conv,steps"
    with pytest.raises(SettingError, match="k is from 1 to 100"):
        Patches(k=0)
    with pytest.raises(DataError, match="no picture of memory could be read"):
        Patches().finish(model, InMemory(1, 16), {}, tmp_path)


def test_numbers_that_are_not_finite_are_an_error(model, data, survey):
    batch = next(data.batches(model, [4]))
    bad = Batch(batch.pixels.clone(), batch.ids, batch.labels)
    bad.pixels[2, 0, 5, 5] = math.nan
    with pytest.raises(ModelError, match="not finite"):
        survey.part(model, [bad])
