"""The deconvnet and guided backpropagation against networks transposed by hand: relative errors, ours and Captum's.

    python -m benchmarks.rules

The largest difference from the projection by hand over its largest value, in float64: of the unit with the highest
activation of layer `top`, starting from its value, on three random pictures.
"""

from __future__ import annotations

import warnings

import captum.attr
import torch
from torch import Tensor, nn

import pixelgrad as pg
from pixelgrad.gradient import evaluate
from pixelgrad.rules import BackwardRule
from pixelgrad.show.deconvnet import OneUnit
from tests.transposed import NETS, Net, made

CAPTUM = {"deconvnet": captum.attr.Deconvolution, "guided": captum.attr.GuidedBackprop}


def main() -> None:
    pixels = torch.rand(3, 3, 18, 20, generator=torch.Generator().manual_seed(0)).double()
    print(f"{'':22}{'deconvnet':^26}{'guided':^26}")
    print(f"{'network':22}" + f"{'pixelgrad':>13}{'Captum':>13}" * 2)
    for name in NETS:
        net = made(name)
        found = [error for kind in CAPTUM for error in errors(net, pixels, kind)]
        print(f"{name:22}" + "".join(f"{error:>13}" for error in found))


def errors(net: Net, pixels: Tensor, kind: str) -> tuple[str, str]:
    """Ours and Captum's."""
    a = net.top(net.features(pixels.clone()))
    places = [tuple(int(i) for i in torch.unravel_index(one.argmax(), one.shape)) for one in a]
    start = torch.zeros_like(a)
    for i, place in enumerate(places):
        start[i, *place] = a[i, *place]
    expected = net.down(pixels, start, kind)
    model = pg.Classifier(net, size=(18, 20))
    ours = evaluate(model, OneUnit("top", tuple(places)), pixels, rule=BackwardRule(kind)).gradient
    values = torch.stack([a[i, *place] for i, place in enumerate(places)])
    return off(ours, expected), captums(net, pixels, kind, places, values, expected)


class Top(nn.Module):
    """The activations of `top` as the network's output."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net.top(self.net.features(x))


def captums(net, pixels, kind, places, values, expected) -> str:
    """The rules are linear in a positive start, so Captum's gradient of the unit times its value is the same."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = CAPTUM[kind](Top(net)).attribute(pixels.clone().requires_grad_(), target=places)
        except RuntimeError:
            return "fails"
    return off(found.detach() * values[:, None, None, None], expected)


def off(found: Tensor, expected: Tensor) -> str:
    return f"{float((found - expected).abs().max() / expected.abs().max()):.1e}"


if __name__ == "__main__":
    main()
