"""The pages of units: whole, resumable, offline; the pictures on them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
import torch
from torch import nn

import pixelgrad as pg
from pixelgrad import unit_html, unit_pages, unit_table
from pixelgrad.datasets import open_data
from pixelgrad.errors import Cancelled, DataError
from pixelgrad.find.patches import Patches
from pixelgrad.presets import PRESETS
from pixelgrad.projection import pattern, scale_of
from pixelgrad.show.deconvnet import Deconvnet
from pixelgrad.survey import Batch
from pixelgrad.tally import SIDE
from pixelgrad.unit_pictures import Example, Raised, Way, from_noise, mosaics, way_down
from tests.in_memory import InMemory

QUICK = PRESETS["quick"]


class Pooled(nn.Module):
    """Two rectified layers, one after a pool; the second has a dead channel."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.act = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(4, 5, 3, padding=1)
        self.fc = nn.Linear(5, 3)
        self.conv2.bias.data[1] = -100

    def forward(self, x):
        return self.fc(self.act(self.conv2(self.pool(self.act(self.conv1(x))))).mean((2, 3)))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(5)
    return pg.Classifier(Pooled().eval(), size=16, labels=["ant <b>", "bee", "cat"], name="pooled")


@pytest.fixture(scope="module")
def data():
    return InMemory(20, 16)


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setitem(PRESETS, "quick", replace(QUICK, steps=2))


@pytest.fixture
def folder(model, data, tmp_path):
    survey = Patches(layers="act:2,conv1", k=4).prepare(model)
    survey.finish(model, data, survey.part(model, data.batches(model, [20])), tmp_path)
    return tmp_path


class Links(HTMLParser):
    """What a page refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found += [unquote(value) for name, value in attrs if name in ("href", "src")]


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_every_page_opens_offline(folder, model, data):
    steps = []
    assert unit_pages.make(folder, model, data, steps.append) == 8
    assert [(s.done, s.total) for s in steps] == [(i, 8) for i in range(1, 9)]
    pages = [name for name in files(folder) if name.endswith(".html")]
    units = [f"act=3a2/{c}.html" for c in (0, 2, 3, 4)] + [f"conv1/{c}.html" for c in range(4)]
    assert sorted(pages) == sorted(["index.html", "act=3a2/index.html", "conv1/index.html", *units])
    for name in pages:
        text = (folder / name).read_text()
        assert "http" not in text
        assert "<script" not in text
        assert "url(" not in text
        for link in Links(text).found:
            assert ((folder / name).parent / link).is_file(), f"{name} refers to {link}"
    for name in units:
        text = (folder / name).read_text()
        assert "ant &lt;b&gt;" in text
        assert "<svg" in text
        assert len(Links(text).found) >= 7
    assert "No picture activates channel 1." in (folder / "act=3a2/index.html").read_text()


def test_interrupted_it_goes_on(folder, model, data):
    def stop(step):
        if step.done == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        unit_pages.make(folder, model, data, stop)
    before = files(folder)
    assert sum(name.endswith(".html") for name in before) == 3
    (folder / "act=3a2" / "2.html").unlink()
    assert unit_pages.make(folder, model, data) == 6
    after = files(folder)
    assert all(after[name] == content for name, content in before.items())
    assert unit_pages.make(folder, model, data) == 0


def test_a_page_of_another_search_is_made_again(folder, model, data):
    unit_pages.make(folder, model, data)
    table = unit_table.read(folder)
    table["layers"][1]["units"][3]["mean"] = 7.5
    unit_table.write(table, folder)
    assert unit_pages.make(folder, model, data) == 1
    assert "mean 7.5" in (folder / "conv1" / "3.html").read_text()


def test_histogram_has_a_bar_for_each_bin(folder, model, data):
    unit_pages.make(folder, model, data)
    unit = unit_table.read(folder)["layers"][1]["units"][0]
    text = (folder / "conv1" / "0.html").read_text()
    bars = re.findall(r"<rect [^>]*><title>(\d+) pictures", text)
    assert [int(n) for n in bars] == [n for _, n in sorted((int(i), n) for i, n in unit["histogram"].items())]
    assert sum(map(int, bars)) == 20
    drawn = unit_html._histogram({str(SIDE): 3, str(SIDE + 41): 1, str(SIDE - 1): 1})
    assert ">0</text>" in drawn
    assert ">1</text>" in drawn


def test_patterns_are_the_deconvnets(model, data):
    pixels = torch.cat([batch.pixels for batch in data.batches(model, [20])])[:4]
    found = Deconvnet(layer="act:2", channel=3).run(model, pixels)
    shown = [
        Example(x, (3, *f[0]["position"]), tuple(f[0]["box"]))
        for x, f in zip(pixels, found.report["images"], strict=True)
    ]
    way = way_down(model, "act:2", shown[0])
    assert way == Way("deconvnet", "deconvnet")
    patches, patterns = mosaics(model, "act:2", shown, way, side=20)
    assert patches.size == patterns.size == (42, 42)
    scale = scale_of([e.box for e in shown], 20)
    for i, e in enumerate(shown):
        corner = (i % 2 * 22, i // 2 * 22)
        cell = patterns.crop((*corner, corner[0] + 20, corner[1] + 20))
        assert cell.tobytes() == pattern(found.pixels[i, 0], e.box, 20, scale).tobytes()


def test_the_way_down(model, data):
    (batch,) = data.batches(model, [1], [0])
    example = Example(batch.pixels[0], (0, 3, 3), (0, 0, 16, 16))
    assert way_down(model, "conv1", example).rule is None
    assert way_down(model, "act", example).rule == "guided"
    assert way_down(model, "pool", example).rule == "deconvnet"


def test_each_picture_raises_or_lowers_a_channel_of_its_own(model):
    values = torch.rand(3, 4, 5, 5, dtype=torch.float64)
    raised = Raised("conv1", (2, 0, 2), (1, -1, -1))
    found = raised({"conv1": values, "pixels": torch.zeros(3, 3, 16, 16)})
    by_hand = [
        sum(values[i, c].flatten().tolist()) / 25 * s for i, (c, s) in enumerate([(2, 1), (0, -1), (2, -1)])
    ]
    assert found.tolist() == pytest.approx(by_hand, rel=1e-12)


def test_pictures_from_noise_raise_and_lower(model, monkeypatch):
    monkeypatch.setitem(PRESETS, "quick", replace(QUICK, steps=24))
    channels, signs = [0, 2, 0, 2], [1, 1, -1, -1]
    made = from_noise(model, "conv2", channels, signs)
    pixels = torch.cat([model.preprocessing(image) for image in made])
    values = model.activations(pixels, ["conv2"])["conv2"].mean((2, 3))
    for i, c in enumerate((0, 2)):
        assert float(values[i, c]) > float(values[i + 2, c]) + 0.05
    alone = from_noise(model, "conv2", [2], [-1])[0]
    assert alone.tobytes() == made[3].tobytes()


def test_the_command(tmp_path, data, run, fails):
    photos, found = tmp_path / "photos", tmp_path / "found"
    photos.mkdir()
    found.mkdir()
    for sample in data.read(0, 3):
        sample.image.resize((64, 64)).save(photos / sample.name)
    net = pg.load("tinynet")
    survey, pictures = Patches(layers="layer1"), open_data(photos)
    pixels = torch.cat([net.preprocessing(sample.image) for sample in pictures.read(0, 3)])
    whole = survey.part(net, [Batch(pixels, torch.arange(3), torch.full((3,), -1))])
    for n, values in whole.items():  # of two units, to be quick
        if n.startswith("layer1/"):
            whole[n] = (
                values[:, :2]
                if n.endswith("by_class")
                else values
                if n.endswith("places_seen")
                else values[:2]
            )
    survey.finish(net, pictures, whole, found)
    code, out, _ = run("report", found)
    assert (code, out) == (0, f"wrote {found / 'index.html'}\n")
    assert (found / "layer1" / "1.html").is_file()
    assert "has no units.json; `pixelgrad find patches DATA --out" in fails("report", photos)


def test_a_damaged_table(tmp_path):
    with pytest.raises(DataError, match=r"has no units\.json"):
        unit_table.read(tmp_path)
    for text in ("{", "[]", '{"layers": [3]}', json.dumps({"layers": None})):
        (tmp_path / "units.json").write_text(text)
        with pytest.raises(DataError, match="is damaged"):
            unit_table.read(tmp_path)


def test_names_of_layers_are_names_of_files():
    names = ["relu:2", "relu=3a2", "a/b", "features.3", "a b"]
    made = [unit_table.folder_of(name) for name in names]
    assert made[0] == "relu=3a2"
    assert made[3] == "features.3"
    assert len(set(made)) == len(names)
    assert not any(set(name) & set("/\\: ") for name in made)
