"""Randomized parameters: rank correlation against a slow version, and what is randomized."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from torch import nn

import pixelgrad as pg
from pixelgrad.errors import ModelError
from pixelgrad.forgetting import cascade, forgotten, reset, stages
from pixelgrad.measure.randomization import Randomization
from pixelgrad.ranks import ranks, seen_alike, spearman


def by_hand(a, b):
    """Spearman's correlation of two lists, ranks counted one by one."""

    def rank(values):
        return [sum(v < x for v in values) + (sum(v == x for v in values) + 1) / 2 for x in values]

    x, y = rank(a), rank(b)
    mx, my = sum(x) / len(x), sum(y) / len(y)
    top = sum((p - mx) * (q - my) for p, q in zip(x, y, strict=True))
    return top / (sum((p - mx) ** 2 for p in x) * sum((q - my) ** 2 for q in y)) ** 0.5


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_rank_correlation_with_ties(levels):
    from scipy.stats import rankdata, spearmanr

    a, b = (torch.randint(levels, (6, 7)).double() for _ in range(2))
    found = spearman(a, b)
    assert found == pytest.approx(by_hand(a.flatten().tolist(), b.flatten().tolist()), abs=1e-12)
    assert found == pytest.approx(spearmanr(a.flatten(), b.flatten()).statistic, abs=1e-12)
    assert ranks(a).tolist() == rankdata(a.flatten()).tolist()


def test_a_map_is_like_itself_and_unlike_its_negative():
    a = torch.randint(9, (12, 13)).double()
    assert spearman(a, a) == pytest.approx(1, abs=1e-12)
    assert spearman(a, -a) == pytest.approx(-1, abs=1e-12)
    assert spearman(a, a.exp()) == pytest.approx(1, abs=1e-12)
    assert seen_alike(a, 3 * a) == pytest.approx(1)
    assert spearman(a, torch.full_like(a, 0.3)) is None
    assert seen_alike(a[:5], a[:5]) is None


def test_untouched_it_is_one_and_every_stage_changes_the_map(small, pixels):
    found = Randomization().run(small, pixels)
    assert torch.equal(found.pixels[:, 0], pg.make("show/saliency").run(small, pixels).pixels)
    for fact in found.report["images"]:
        assert fact["rank_correlation"][0] == pytest.approx(1, abs=1e-12)
        assert fact["ssim"][0] == pytest.approx(1)
        assert all(-1 <= value < 0.999 for value in fact["rank_correlation"][1:])


def test_the_layers_go_from_the_output_down(small):
    assert stages(small, (16, 16)) == [["fc"], ["conv2"], ["bn1"], ["conv1"]]
    found = Randomization().run(small, torch.rand(1, 3, 16, 16).double())
    assert found.report["stages"] == ["fc", "conv2", "bn1", "conv1"]
    assert found.report["randomized"] == [0, 1, 2, 3, 4]


def test_many_layers_are_few_stages(lite0):
    groups = stages(lite0, (224, 224))
    names = [name for group in groups for name in group]
    owners = {n for n, m in lite0.module.named_modules() if any(True for _ in m.parameters(recurse=False))}
    assert len(groups) == 8
    assert set(names) == owners
    assert len(names) == len(owners)
    assert {len(group) for group in groups} <= {12, 13}
    assert groups[0][-1] == "classifier"
    assert groups[-1][0] == "conv_stem"


def test_the_copy_forgets_one_stage_after_the_other(small):
    before = copy.deepcopy(small.module.state_dict())
    groups, gone = stages(small, (16, 16)), []
    for k, (_, group, twin) in enumerate(cascade(small, groups, 0)):
        assert group == groups[k]
        gone += group
        for name, value in twin.module.state_dict().items():
            forgotten = name.rpartition(".")[0] in gone
            if forgotten and value.dim() > 1:
                assert not torch.isclose(value, before[name]).any()
            elif not forgotten:
                assert torch.equal(value, before[name])
        assert twin.module is not small.module
    assert all(torch.equal(v, before[n]) for n, v in small.module.state_dict().items())


def test_forgotten_is_the_end_of_the_cascade(small):
    *_, (_, _, twin) = cascade(small, stages(small, (16, 16)), 3)
    found, other = (forgotten(small, (16, 16), seed).module.state_dict() for seed in (3, 4))
    assert all(torch.equal(value, twin.module.state_dict()[name]) for name, value in found.items())
    assert not torch.isclose(found["fc.weight"], other["fc.weight"]).any()


def test_the_random_numbers_of_others_stay_where_they_are(small, pixels):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    Randomization().run(small, pixels[:1])
    assert torch.equal(torch.rand(3), expected)


def test_a_seed_makes_other_weights(small, pixels):
    first, second = (Randomization(seed=seed).run(small, pixels[:1]).pixels for seed in (0, 1))
    assert torch.equal(first[:, 0], second[:, 0])
    assert not torch.isclose(first[:, 1:], second[:, 1:]).all()


class Odd(nn.Module):
    """Weights beside the layers, and a layer that cannot reset itself."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.linspace(1, 2, 3))
        self.fc = nn.Linear(3, 2)

    def forward(self, x):
        return self.fc(x.mean((2, 3)) * self.scale)


def test_weights_beside_the_layers_are_forgotten_last():
    model = pg.Classifier(Odd(), size=12)
    assert stages(model, (12, 12)) == [["fc"], [""]]
    assert Randomization().run(model, torch.rand(1, 3, 12, 12)).report["stages"] == ["fc", "Odd"]
    old = model.module.scale.detach().clone()
    reset(model.module, 0)
    assert not torch.isclose(model.module.scale, old).any()


def test_a_constant_map_has_no_ranks():
    found = Randomization().run(pg.Classifier(Odd(), size=12), torch.rand(2, 3, 12, 12))
    fact = found.report["images"][0]
    assert fact["rank_correlation"][0] is None  # a mean over the picture: each pixel counts the same
    assert "a map is constant" in found.titles[0]
    assert "NaN" not in json.dumps(dict(found.report))
    assert found.picture().width > 500


def test_what_has_no_weights_or_no_copy_is_said(small, pixels):
    with pytest.raises(ModelError, match="no weights"):
        stages(pg.Classifier(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), size=8), (8, 8))
    small.module.kept = small.module.fc.weight * 1  # no leaf: it cannot be copied
    with pytest.raises(ModelError, match="cannot be copied"):
        Randomization().run(small, pixels)
