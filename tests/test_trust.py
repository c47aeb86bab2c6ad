"""The card of a map: its figures are those of the measures, for the technique with its settings; its words."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import nn

import pixelgrad as pg
from pixelgrad.deletion import BLUR
from pixelgrad.errors import SettingError
from pixelgrad.figures import figures
from pixelgrad.forgetting import forgotten
from pixelgrad.ranks import edges, spearman
from pixelgrad.transforms import blur
from pixelgrad.trust import dependent, faithful, steady


@pytest.mark.parametrize("method", ["saliency", "grad-cam", "input-x-gradient"])
def test_the_figures_are_those_of_the_measures(small, pixels, method):
    measures = {
        name: pg.make(f"measure/{name}", method=method).run(small, pixels[:2]).report["images"]
        for name in ("deletion-insertion", "randomization", "sensitivity")
    }
    cards = pg.trust(pg.make(f"show/{method}"), small, pixels[:2])
    for i, card in enumerate(cards):
        rows = {row.name: row for row in card.rows}
        for way in ("deletion", "insertion"):
            found = measures["deletion-insertion"][i][way]
            row = rows[way]
            assert (row.map, row.edges, row.random) == pytest.approx(
                (found[method], found["edges"], found["random"]), rel=1e-9
            )
        forgotten = measures["randomization"][i]
        assert rows["rank correlation"].map == pytest.approx(forgotten["rank_correlation"][-1], rel=1e-9)
        assert rows["SSIM"].map == pytest.approx(forgotten["ssim"][-1], rel=1e-9)
        moved = measures["sensitivity"][i]["sensitivity"]
        assert rows["max-sensitivity"].map == pytest.approx(moved, rel=1e-9)


def test_the_settings_of_the_technique_count(small, pixels):
    """Slowly, for a technique that is not with its defaults."""
    x = pixels[:1]
    technique = pg.make("show/smoothgrad", samples=3, noise=0.3, target="cat")
    (card,) = pg.trust(technique, small, x)
    assert card.title == "show/smoothgrad, cat"
    rows = {row.name: row for row in card.rows}
    own = technique.run(small, x).pixels[0]
    other = technique.run(forgotten(small, (16, 16), 0), x).pixels[0]
    assert rows["rank correlation"].map == pytest.approx(spearman(own, other), rel=1e-9)
    base = blur(x, BLUR * 16)
    ranked = own.flatten().argsort(descending=True, stable=True)
    p = []
    for k in range(33):
        shown = x.clone().flatten(2)
        shown[..., ranked[: 8 * k]] = base.flatten(2)[..., ranked[: 8 * k]]
        p.append(float(small(shown.reshape(x.shape)).softmax(1)[0, 2]))
    area = (sum(p) - (p[0] + p[-1]) / 2) / 32
    assert rows["deletion"].map == pytest.approx(area, rel=1e-9)
    (plain,) = pg.trust(pg.make("show/smoothgrad", target="cat"), small, x)
    assert plain.rows[0].map != rows["deletion"].map


def test_of_a_result_as_of_its_technique(small, pixels):
    technique = pg.make("show/saliency", target=(1, 3))
    result = technique.run(small, pixels[:2])
    assert pg.trust(result, small) == pg.trust(technique, small, pixels[:2])
    assert [card.title for card in pg.trust(result, small)] == ["show/saliency, bee", "show/saliency, dog"]


def test_of_an_objective_of_a_class(small, pixels):
    by_objective = pg.make("show/saliency", objective="Logit('bee')")
    assert pg.trust(by_objective, small, pixels[:1]) == pg.trust(
        pg.make("show/saliency", target="bee"), small, pixels[:1]
    )


@pytest.mark.parametrize(("name", "settings", "message"), [
    ("show/saliency", {"objective": "Logit('bee') - Logit('cat')"}, "give a target in place of"),
    ("show/deconvnet", {}, "show/deconvnet does not show why a network says a class"),
    ("follow/fooling", {}, "follow/fooling does not show why"),
])  # fmt: skip
def test_what_cannot_be_measured_is_said(small, pixels, name, settings, message):
    with pytest.raises(SettingError, match=message):
        pg.trust(pg.make(name, **settings), small, pixels)


def test_several_methods_as_each_alone(small, pixels):
    blank, target = forgotten(small, (16, 16), 0), (0, 1)
    methods = [pg.make("show/saliency"), pg.make("show/grad-cam")]
    both = figures(methods, small, blank, pixels[:2], target, 4, 2)
    for k, method in enumerate(methods):
        alone = figures([method], small, blank, pixels[:2], target, 4, 2)
        torch.testing.assert_close(both.areas[:, :, [k, 2, 3]], alone.areas)
        torch.testing.assert_close(both.likeness[:, k], alone.likeness[:, 0])
        torch.testing.assert_close(both.sensitivity[:, [k, 2]], alone.sensitivity)
        torch.testing.assert_close(both.ends, alone.ends)


def test_a_random_order_has_no_gap_and_edges_their_own_change(small, pixels):
    found = figures([pg.make("show/saliency")], small, forgotten(small, (16, 16), 0), pixels, (1,) * 5, 4, 1)
    torch.testing.assert_close(found.areas[:, 0, 2], found.areas[:, 1, 2])
    random = torch.Generator().manual_seed(0)
    noise = 0.02 * (2 * torch.rand(3, 16, 16, generator=random).double() - 1)
    before, after = edges(pixels), edges(pixels + noise)
    expected = (after - before).flatten(1).norm(dim=1) / before.flatten(1).norm(dim=1)
    torch.testing.assert_close(found.sensitivity[:, 1], expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize(("gap", "edges", "fall", "words"), [
    (0.30, 0.20, 0.8, "better than edges and a random order do"),
    (0.23, 0.20, 0.8, "better than a random order does, but no better than edges do"),  # within the margin of 0.04
    (0.10, -0.20, 0.8, "better than edges and a random order do"),
    (0.03, -0.20, 0.8, "no better than a random order does"),
    (-0.03, 0.10, 0.8, "no better than a random order does"),
    (-0.10, 0.10, 0.8, "worse than a random order does"),
    (0.30, 0.20, 0.09, "takes little from the class"),
    (0.30, 0.20, -0.2, "takes little from the class"),
])  # fmt: skip
def test_words_about_what_a_map_finds(gap, edges, fall, words):
    assert faithful(gap, edges, fall).endswith(words)


@pytest.mark.parametrize(("value", "words"), [
    (0.49, "changes when the network forgets"), (-0.9, "changes when"), (0.5, "stays much the same"),
    (1.0, "stays much the same"), (None, "is constant, or becomes so"),
])  # fmt: skip
def test_words_about_the_network(value, words):
    assert dependent(value).startswith(words)


@pytest.mark.parametrize(("value", "words"), [
    (0.3, "hardly moves under noise that nobody sees"),
    (0.62, "moves by 62% of its length under noise that nobody sees"),
    (1.0, "moves by 100% of its length under noise that nobody sees, so its details say little"),
    (None, "is zero everywhere"),
])  # fmt: skip
def test_words_about_noise(value, words):
    assert steady(value) == words


def test_a_map_of_zeros():
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 12, 2))
    nn.init.zeros_(module[1].weight)
    (card,) = pg.trust(pg.make("show/saliency"), pg.Classifier(module, size=12), torch.rand(1, 3, 12, 12))
    rows = {row.name: row for row in card.rows}
    assert rows["max-sensitivity"].map is None
    assert rows["rank correlation"].map is None
    assert "it is zero everywhere" in card.sentence
    assert "NaN" not in json.dumps(card.facts())
    assert " – " in card.text()


def test_text_and_html(small, pixels):
    (card,) = pg.trust(pg.make("show/saliency", target=0), small, pixels[:1])
    lines = card.text().splitlines()
    assert lines[0].split()[-3:] == ["map", "edges", "random"]
    assert [line.split()[0] for line in lines[1:6]] == [
        "deletion",
        "insertion",
        "rank",
        "SSIM",
        "max-sensitivity",
    ]
    own = [(line, f"{row.map:.3g}") for line, row in zip(lines[1:6], card.rows, strict=True)]
    assert len({line.index(figure) + len(figure) for line, figure in own}) == 1
    assert lines[6] == card.sentence
    assert card.to_html().count("<tr>") == 6
    small.labels = ["<b>", "bee", "cat", "dog", "eel"]
    (odd,) = pg.trust(pg.make("show/saliency", target=0), small, pixels[:1])
    assert "<b>" not in odd.to_html()
    assert "&lt;b&gt;" in odd.to_html()


def test_says_how_far_it_is(small, pixels):
    seen = []
    pg.trust(pg.make("show/saliency"), small, pixels[:1], seen.append)
    shares = [step.done / step.total for step in seen]
    assert shares == sorted(shares)
    assert math.isclose(shares[-1], 1)


def test_as_an_option(done, here):
    out = done("show", "saliency", "sample:cat", "sample:coffee", "-m", "tinynet", "--trust")
    assert out.count("show/saliency, ") == 2
    assert out.count("This map ") == 2
    found = json.loads(done("show", "grad-cam", "sample:cat", "-m", "tinynet", "--trust", "--json"))
    model = pg.load("tinynet")
    cards = pg.trust(pg.make("show/grad-cam"), model, pg.open_image("sample:cat", model))
    assert found["trust"] == json.loads(json.dumps([card.facts() for card in cards]))
    assert "trust" not in json.loads(done("show", "saliency", "sample:cat", "-m", "tinynet", "--json"))


def test_only_where_there_is_a_map_of_a_class(run, fails):
    assert run("show", "filters", "--trust").code == 2
    options = ("-m", "tinynet", "--objective", "SquaredNorm('1')", "--trust")
    assert "give a target in place of SquaredNorm('1')" in fails("show", "saliency", "sample:cat", *options)
