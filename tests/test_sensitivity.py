"""Max-sensitivity: zero for a linear network, and a slow loop."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import pixelgrad as pg
from pixelgrad.measure.sensitivity import Sensitivity
from pixelgrad.noise import RADIUS


def test_the_map_of_a_linear_network_does_not_change(pixels):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4)).double()
    found = Sensitivity(target=1).run(pg.Classifier(module, size=16), pixels)
    assert [fact["sensitivity"] for fact in found.report["images"]] == [0.0] * 5
    assert torch.equal(found.pixels[:, 0], found.pixels[:, 1])


@pytest.mark.parametrize("method", ["saliency", "input-x-gradient"])
def test_equals_a_slow_loop(small, pixels, method):
    found = Sensitivity(method=method, samples=3, seed=5).run(small, pixels[:3])
    for i, x in enumerate(pixels[:3]):
        y = int(small(x[None]).argmax())
        technique = pg.make(f"show/{method}", target=y)

        def strength(x, technique=technique):
            values = technique.run(small, x[None]).pixels[0]
            return values if values.dim() == 2 else values.sum(0).abs()

        random, changes = torch.Generator().manual_seed(5), []
        for _ in range(3):
            noise = (torch.rand(x.shape, generator=random).to(x) * 2 - 1) * RADIUS
            changes.append(float((strength(x + noise) - strength(x)).norm() / strength(x).norm()))
        assert found.report["images"][i]["sensitivity"] == pytest.approx(max(changes), rel=1e-6)
        far = float((found.pixels[i, 1] - found.pixels[i, 0]).norm() / found.pixels[i, 0].norm())
        assert far == pytest.approx(max(changes), rel=1e-6)


def test_more_samples_only_find_more(small, pixels):
    few, many = (Sensitivity(samples=n).run(small, pixels) for n in (2, 6))
    for a, b in zip(few.report["images"], many.report["images"], strict=True):
        assert a["sensitivity"] <= b["sensitivity"]
    assert many.report["gradients"] == 7


def test_a_map_of_zeros_has_no_sensitivity():
    module = nn.Sequential(nn.Flatten(), nn.Linear(48, 2))
    nn.init.zeros_(module[1].weight)
    found = Sensitivity(samples=1).run(pg.Classifier(module, size=4), torch.rand(1, 3, 4, 4))
    assert found.report["images"][0]["sensitivity"] is None
    assert "zero everywhere" in found.titles[0]
    assert found.picture().width > 600


def test_white_and_black_pictures_bring_no_warning(small):
    Sensitivity(samples=2).run(
        small, torch.tensor([0.0, 1.0]).double()[:, None, None, None].expand(2, 3, 16, 16)
    )


def test_as_a_command(done, here):
    out = done(
        "measure", "sensitivity", "sample:cat", "-m", "tinynet", "--method", "grad-cam", "--samples", 2
    )
    assert "max-sensitivity of grad-cam: " in out
    assert (here / "cat-sensitivity.png").is_file()
