"""Measured receptive fields against the closed formula, and against pixels that are changed."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from torch import nn
from torchvision import models as tv

import pixelgrad as pg
from pixelgrad.receptive import Field, fields


def formula(steps):
    """Kernel, stride, padding and dilation of one layer after the other, along one axis: start, size and stride of
    what a unit of the last one sees."""
    start, size, stride = 0, 1, 1
    for kernel, step, padding, dilation in steps:
        start -= padding * stride
        size += (kernel - 1) * dilation * stride
        stride *= step
    return start, size, stride


def of(rows, columns=None):
    """The field that the formula gives for steps along rows and columns."""
    y, x = formula(rows), formula(rows if columns is None else columns)
    return Field(y[0], x[0], y[1], x[1], y[2], x[2])


def steps_of(modules):
    """What the formula takes, from convolutions and pools, for one axis each."""
    found = [[], []]
    for m in modules:
        if isinstance(m, (nn.Conv2d, nn.MaxPool2d)):
            for axis in (0, 1):
                one = [getattr(m, name) for name in ("kernel_size", "stride", "padding", "dilation")]
                found[axis].append([v if isinstance(v, int) else v[axis] for v in one])
    return found


class Net(nn.Module):
    """Layers that run one after the other, then a mean over the positions."""

    def __init__(self, *layers):
        super().__init__()
        self.body = nn.Sequential(*layers)

    def forward(self, x):
        return self.body(x).mean((2, 3))


def conv(inputs, kernel, **settings):
    return nn.Conv2d(inputs, 4, kernel, **settings)


NETS = {
    "padding": (conv(3, 5, padding=2), conv(4, 3, padding=1)),
    "stride": (conv(3, 7, stride=2), nn.ReLU(inplace=True), conv(4, 3, stride=2, padding=1), conv(4, 3)),
    "dilation": (conv(3, 3, dilation=2, padding=2), conv(4, 3, stride=2), conv(4, 5, dilation=3, padding=6)),
    "pool": (conv(3, 3, stride=2), nn.MaxPool2d(3, 2, ceil_mode=True), conv(4, 3, padding=1), nn.MaxPool2d(2, 2)),
    "asymmetric": (conv(3, (1, 7)), conv(4, (7, 1), padding=(3, 0)), conv(4, (3, 5), stride=(1, 2))),
    "deep": [conv(3, 3, stride=2, padding=1), *(conv(4, 3, stride=2, padding=1) for _ in range(4)), conv(4, 9)],
    "large": [conv(3, 3, stride=4), *(conv(4, 9, stride=2, padding=4) for _ in range(2)), conv(4, 51, padding=25)],
}  # fmt: skip


@pytest.mark.parametrize("name", NETS)
def test_one_layer_after_the_other(name):
    layers = NETS[name]
    found = fields(pg.Classifier(Net(*layers), size=320))
    assert list(found) == [f"body.{i}" for i in range(len(layers))] + ["body"]
    for i in range(len(layers)):
        assert found[f"body.{i}"] == of(*steps_of(layers[: i + 1])), i
    assert found["body"] == found[f"body.{len(layers) - 1}"]


class Branches(nn.Module):
    """The larger field of two branches, and a residual."""

    def __init__(self):
        super().__init__()
        self.first = conv(3, 3, stride=2, padding=1)
        self.small = conv(4, 1)
        self.big = conv(4, (5, 3), padding=(2, 1))
        self.join = nn.Identity()
        self.block = conv(4, 3, padding=1)
        self.out = nn.ReLU()

    def forward(self, x):
        x = self.first(x)
        x = self.join(torch.cat([self.small(x), self.big(x)], 1)[:, 2:6])
        return self.out(x + self.block(x)).mean((2, 3))


def test_branches_and_residuals_see_what_their_largest_path_sees():
    found = fields(pg.Classifier(Branches(), size=64))
    first, block = (3, 2, 1, 1), (3, 1, 1, 1)
    assert found["small"] == of([first])
    assert found["join"] == found["big"] == of([first, (5, 1, 2, 1)], [first, (3, 1, 1, 1)])
    assert found["out"] == of([first, (5, 1, 2, 1), block], [first, (3, 1, 1, 1), block])


def test_a_layer_that_runs_twice_has_two_fields():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x):
            return self.conv(self.conv(x)).mean((2, 3))

    assert fields(pg.Classifier(Twice())) == {"conv": of([(3, 1, 1, 1)]), "conv:2": of([(3, 1, 1, 1)] * 2)}


class Whole(nn.Module):
    """Squeeze-and-excitation after a convolution, and a linear layer on top."""

    def __init__(self):
        super().__init__()
        self.conv = conv(3, 3)
        self.squeeze = nn.AdaptiveAvgPool2d(1)
        self.gate = nn.Sigmoid()
        self.gated = nn.Identity()
        self.grid = nn.AdaptiveAvgPool2d(32)
        self.fc = nn.Linear(4096, 7)

    def forward(self, x):
        x = self.conv(x)
        self.grid(x)
        x = self.gated(x * self.gate(self.squeeze(x)))
        return self.fc(x[:, :, :32, :32].flatten(1))


def test_what_sees_the_whole_picture_has_no_field():
    found = fields(pg.Classifier(Whole(), size=64))
    assert found == {
        "conv": of([(3, 1, 0, 1)]),
        "grid": None,  # another one at every size
        "squeeze": None,
        "gate": None,
        "gated": None,
        "fc": None,
    }


def test_a_network_of_one_size():
    net = nn.Sequential(
        conv(3, 3, padding=1), nn.MaxPool2d(2), conv(4, 3), nn.Flatten(), nn.Linear(4 * 14 * 14, 5)
    )
    found = fields(pg.Classifier(net, size=32))
    first, pool = (3, 1, 1, 1), (2, 2, 0, 1)
    assert found == {
        "0": of([first]),
        "1": of([first, pool]),
        "2": of([first, pool, (3, 1, 0, 1)]),
        "3": None,
        "4": None,
    }

    vit = timm.create_model("vit_tiny_patch16_224", pretrained=False, depth=1)
    found = fields(pg.Classifier(vit, size=224))
    assert (
        found["patch_embed"] == found["patch_embed.proj"] == found["blocks.0.norm1"] == of([(16, 16, 0, 1)])
    )
    assert found["blocks.0.attn"] is found["blocks.0"] is found["head"] is None


def test_tinynet_by_its_modules():
    model = pg.load("tinynet")
    found = fields(model)
    leaves = [(n, m) for n, m in model.module.named_modules() if not list(m.children())]
    for i, (name, _) in enumerate(leaves[:-3]):
        assert found[name] == of(*steps_of(m for _, m in leaves[: i + 1])), name
    assert found["layer8"] == found["layer8.relu"]
    assert [found[name] for name, _ in leaves[-3:]] == [None] * 3


@pytest.mark.parametrize("make", [tv.squeezenet1_0, tv.squeezenet1_1])
def test_squeezenet_by_its_modules(make):
    net = make(weights=None)
    found = fields(pg.Classifier(net, size=224))
    path = []
    for name, module in net.features.named_children():
        if hasattr(module, "squeeze"):  # Fire: the branch of 3×3 sees more
            assert found[f"features.{name}.expand1x1"] == of(
                *steps_of([*path, module.squeeze, module.expand1x1])
            )
            path += [module.squeeze, module.expand3x3]
        else:
            path.append(module)
        assert found[f"features.{name}"] == of(*steps_of(path)), name
    assert found["classifier.1"] == found["features"]
    assert found["classifier.3"] is None


def test_resnet18_has_the_field_that_is_published():
    found = fields(pg.Classifier(tv.resnet18(weights=None), size=224))["layer4"]
    assert (found.height, found.width, found.stride_y) == (435, 435, 32)


def test_pixels_outside_the_box_change_nothing_and_those_inside_do(lite0):
    """Of a unit in the middle, in float64, all weights random and all activations smooth."""
    field = fields(lite0)["blocks.2"]
    net = copy.deepcopy(lite0.module).double()
    for name, module in list(net.named_modules()):
        if isinstance(module, nn.ReLU6):
            net.set_submodule(name, nn.Tanh())
        elif isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=0.5)
    model = pg.Classifier(net)
    i, j, size = 13, 15, (224, 224)
    top, left, bottom, right = field.box(i, j, size)
    assert 0 < top < bottom < 224
    assert 0 < left < right < 224
    y, x = (top + bottom) // 2, (left + right) // 2
    inside = [(top, x), (bottom - 1, x), (y, left), (y, right - 1)]
    outside = [(top - 1, x), (bottom, x), (y, left - 1), (y, right)]
    grey = torch.full((9, 3, *size), 0.5, dtype=torch.float64)
    for picture, (row, column) in zip(grey[1:], inside + outside, strict=True):
        picture[:, row, column] += 0.3
    with torch.no_grad():
        unit = model.activations(grey, ["blocks.2"])["blocks.2"][:, :, i, j]
    changed = (unit[1:] != unit[0]).any(1)
    assert changed.tolist() == [True] * 4 + [False] * 4


def test_boxes_are_cut_to_the_picture():
    field = Field(-10, -4, 30, 20, 8, 16)
    assert field.box(0, 0, (64, 64)) == (0, 0, 20, 16)
    assert field.box(2, 1, (64, 64)) == (6, 12, 36, 32)
    assert field.box(6, 3, (64, 50)) == (38, 44, 64, 50)
    assert field.box(20, 20, (64, 50)) == (64, 50, 64, 50)


def test_padding_that_depends_on_the_size_is_that_of_the_networks_pictures():
    """TensorFlow pads a stride of 2 on an even side by one at the end, on an odd one by one at both."""
    for size, start in ((64, 0), (65, -1)):
        layer = timm.layers.Conv2dSame(3, 4, 3, stride=2)
        field = fields(pg.Classifier(Net(layer), size=size))["body.0"]
        assert field == Field(start, start, 3, 3, 2, 2)


def test_progress_and_a_module_that_is_as_it_was(small):
    before = {k: v.clone() for k, v in small.module.state_dict().items()}
    small.module.train()
    told = []
    found = fields(small, lambda done, total: told.append((done, total)))
    assert found["relu:2"] == of([(3, 1, 1, 1), (2, 2, 0, 1), (3, 1, 1, 1)])
    assert [done for done, _ in told] == list(range(1, told[-1][1] + 1))
    assert small.module.training
    assert not any(m._forward_hooks for m in small.module.modules())
    assert all(torch.equal(v, before[k]) for k, v in small.module.state_dict().items())


def test_a_module_in_half_precision():
    net = Net(conv(3, 3, stride=2)).bfloat16()
    assert fields(pg.Classifier(net, size=32))["body.0"] == of([(3, 2, 0, 1)])
    assert net.body[0].weight.dtype == torch.bfloat16
