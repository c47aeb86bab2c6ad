"""Objectives: formulas, one score per image, the algebra and its text form."""

from __future__ import annotations

import pytest
import torch

from pixelgrad.distortion import l2
from pixelgrad.errors import NotFound, PixelgradError, SettingError
from pixelgrad.objective_text import read
from pixelgrad.objectives.base import WeightedSum
from pixelgrad.objectives.channel import Channel
from pixelgrad.objectives.log_probability import LogProbability
from pixelgrad.objectives.logit import Logit
from pixelgrad.objectives.margin import Margin
from pixelgrad.objectives.squared_norm import SquaredNorm
from pixelgrad.objectives.variation import LEAST, Variation
from pixelgrad.registry import objectives

LOGITS = torch.tensor([[1.0, 5.0, 2.0], [4.0, 0.0, 3.0]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("target", "expected"), [(2, [2, 3]), (None, [5, 4]), ((0, 1), [1, 0]), ([0, 1], [1, 0])]
)
def test_logit(target, expected):
    assert Logit(target)({"logits": LOGITS}).tolist() == expected


@pytest.mark.parametrize(("target", "chosen"), [(2, [2, 2]), (None, [1, 0]), ((0, 1), [0, 1])])
def test_log_probability(target, chosen):
    expected = [
        float(row[y] - torch.log(sum(torch.exp(s) for s in row)))
        for row, y in zip(LOGITS, chosen, strict=True)
    ]
    assert LogProbability(target)({"logits": LOGITS}).tolist() == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize(("target", "expected"), [(2, [-3, -1]), (None, [3, 1]), ((0, 1), [-4, -4])])
def test_margin(target, expected):
    assert Margin(target)({"logits": LOGITS}).tolist() == expected


def test_channel():
    x = torch.rand(2, 4, 3, 5, dtype=torch.float64)
    assert Channel("a", 3)({"a": x}).tolist() == pytest.approx([float(i[3].sum()) / 15 for i in x])
    assert torch.equal(Channel("a", 1)({"a": x[:, :, 0, 0]}), x[:, 1, 0, 0])


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_however_a_layer_lies_in_memory_the_gradient_lies_the_same(layout):
    x = torch.rand(2, 4, 3, 5, dtype=torch.float64).to(memory_format=layout).requires_grad_()
    one = torch.zeros_like(x)
    one[:, 3] = 1 / 15
    slopes = {Channel("a", 3): one, SquaredNorm("a"): x.detach()}
    for objective, slope in slopes.items():
        (found,) = torch.autograd.grad(objective({"a": x}).sum(), x)
        torch.testing.assert_close(found, slope)
        assert found.is_contiguous(memory_format=layout)
    norms = [float(sum(v * v for v in picture.flatten().tolist())) for picture in x]
    assert SquaredNorm("a")({"a": x}).tolist() == pytest.approx([n / 2 for n in norms])
    assert l2(x).tolist() == pytest.approx([n**0.5 for n in norms])


def test_algebra():
    a, b = {"logits": LOGITS}, {"logits": LOGITS}
    mixed = 2 * (Logit(0) - 0.5 * Logit(1)) + Logit(2) * 3 + -Logit(0)
    expected = 2 * (LOGITS[:, 0] - 0.5 * LOGITS[:, 1]) + 3 * LOGITS[:, 2] - LOGITS[:, 0]
    torch.testing.assert_close(mixed(a), expected, rtol=1e-14, atol=0)
    assert (Logit(0) + Channel("x", 1)).needs == {"logits", "x"}
    assert torch.equal(Logit(0)(b), LOGITS[:, 0])


@pytest.mark.parametrize("combine", [
    lambda o: o + 1, lambda o: o * o, lambda o: o * "2", lambda o: 1 - o, lambda o: o * True,
])  # fmt: skip
def test_what_does_not_combine(combine):
    with pytest.raises(TypeError):
        combine(Logit(0))


def test_objectives_are_values():
    assert Logit("cat") == Logit("cat") != Logit("dog")
    assert len({Logit(1), Logit(1), LogProbability(1), 2 * Logit(1), 2 * Logit(1)}) == 3


TEXTS = [
    "Logit()",
    "Logit(3)",
    "Logit('goldfish')",
    "Logit(('tabby', 4))",
    "Channel('features.3', 12)",
    "Channel('features.3')",
    "Logit('goldfish') - 0.1 * Channel('features.3', 12)",
    "-Logit(1) + 2 * LogProbability() - Logit(2)",
    "-0.5 * Logit(1)",
    "1e-05 * Logit(1)",
]


@pytest.mark.parametrize("text", TEXTS)
def test_text_round_trip(text):
    found = read(text)
    assert repr(found) == text
    assert read(repr(found)) == found


def test_text_of_nested_sums():
    assert read("2 * (Logit(1) - 3 * -Logit(2))") == WeightedSum(((2, Logit(1)), (6, Logit(2))))
    assert read("Channel(layer='a', channel=2)") == Channel("a", 2)


@pytest.mark.parametrize(("text", "message"), [
    ("Logit(", "is no objective; one is"),
    ("", "is no objective; one is"),
    ("3", "is a number"),
    ("Loggit(1)", "no objective 'Loggit'; did you mean 'Logit'?"),
    ("Logit(1) + 3", "combine by"),
    ("Logit(1) * Logit(2)", "combine by"),
    ("Logit(1) / 2", "combine by"),
    ("__import__('os').system('true')", "is no objective"),
    ("Logit(open('x'))", "Logit takes target"),
    ("Logit(1, 2, 3)", "Logit takes target"),
    ("Channel('a', colour=2)", "Channel takes layer, channel"),
    ("Channel()", "needs a layer"),
    ("Channel('a', -1)", "channel is at least 0"),
    ("Channel('a', 1.5)", "channel is a whole number"),
    ("[Logit(1)]", "is no objective"),
])  # fmt: skip
def test_bad_text(text, message):
    with pytest.raises(PixelgradError) as caught:
        read(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_names_are_looked_up(small):
    mixed = Logit(("cat", 1, "2", "dog", "EEL")) - 2 * Channel("conv2", 1)
    assert mixed.resolve(small) == Logit((2, 1, 2, 3, 4)) - 2 * Channel("conv2", 1)
    for wrong in (Logit("bird"), Channel("conv9", 0), Logit(0) + LogProbability("bird")):
        with pytest.raises(NotFound):
            wrong.resolve(small)


def test_select_takes_the_rows_of_what_differs_by_image():
    mixed = Logit((5, 6, 7)) + LogProbability((1, 2, 3)) + Logit(9)
    assert mixed.select(slice(1, 3)) == Logit((6, 7)) + LogProbability((2, 3)) + Logit(9)
    assert mixed.select([2, 0]) == Logit((7, 5)) + LogProbability((3, 1)) + Logit(9)


def test_number_of_targets_differs_from_number_of_images():
    with pytest.raises(SettingError, match="3 targets for 2 images"):
        Logit((0, 1, 2))({"logits": LOGITS})


def test_class_and_channel_out_of_range():
    with pytest.raises(NotFound, match="the classes are 0 to 2"):
        Logit(3)({"logits": LOGITS})
    with pytest.raises(NotFound, match="a has channels 0 to 3"):
        Channel("a", 4)({"a": torch.rand(1, 4, 2, 2)})
    with pytest.raises(SettingError, match="has no channels"):
        Channel("a", 0)({"a": torch.rand(1, 7, 4)})


def test_every_objective_is_registered():
    assert {"Logit", "LogProbability", "Channel"} <= set(objectives())


@pytest.mark.parametrize("beta", [1.0, 1.5, 2.0, 3.0])
def test_variation_and_its_gradient_are_the_sum_over_neighbours(beta):
    x = torch.rand(2, 3, 5, 7, dtype=torch.float64)
    x[1, 2, 1:4, 2:5] = 0.25  # flat: the slope of a root is infinite there
    x.requires_grad_()
    score = Variation(beta)({"pixels": x})
    for i in range(2):
        expected = sum(
            max((c[k, j + 1] - c[k, j]) ** 2 + (c[k + 1, j] - c[k, j]) ** 2, LEAST if beta < 2 else 0) ** (beta / 2)
            for c in x[i].detach().numpy() for k in range(4) for j in range(6)
        )  # fmt: skip
        assert float(score[i].detach()) == pytest.approx(expected, rel=1e-12)
    rough = x.detach() + 0.1 * torch.rand_like(x)
    rough.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: Variation(beta)({"pixels": x}), rough)
    assert torch.autograd.gradgradcheck(lambda x: Variation(beta)({"pixels": x}), rough)
    assert bool((torch.autograd.grad(score.sum(), x)[0][1, 2, 2:3, 3:4] == 0).all())
