"""Small networks, and beside each its transposed network written out by hand, for the gradient, deconvnet and guided
rule: nothing here uses autograd.

`down(x, r, rule)` takes normalised pictures and what arrives at the output of `top`, and gives what arrives at them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def rectify(rule: str, r: Tensor, a: Tensor, bound: float = torch.inf) -> Tensor:
    """What a rectifier with input a does with r."""
    mask = ((a > 0) & (a < bound)).to(r)
    return {"gradient": r * mask, "deconvnet": r.clamp(min=0), "guided": r.clamp(min=0) * mask}[rule]


def transposed(conv: nn.Conv2d, r: Tensor, like: Tensor) -> Tensor:
    """Through the transposed filters, without bias, to the size of what the convolution took."""
    sizes = zip(like.shape[2:], r.shape[2:], conv.stride, conv.padding, conv.kernel_size, strict=True)
    more = [size - ((out - 1) * s - 2 * int(p) + k) for size, out, s, p, k in sizes]
    return F.conv_transpose2d(
        r, conv.weight, None, conv.stride, conv.padding, more, conv.groups, conv.dilation
    )


def pooled(pool: nn.MaxPool2d, a: Tensor) -> tuple[Tensor, Tensor]:
    """The pooled values and the switches."""
    return F.max_pool2d(a, pool.kernel_size, pool.stride, pool.padding, return_indices=True)


def unpooled(r: Tensor, switches: Tensor, like: Tensor) -> Tensor:
    """Back to where each value came from; where windows overlap, the sum."""
    flat = torch.zeros_like(like).flatten(2)
    return flat.scatter_add(2, switches.flatten(2), r.flatten(2)).reshape(like.shape)


def scaled(norm: nn.BatchNorm2d, r: Tensor) -> Tensor:
    """γ / √(σ² + ε) of each channel."""
    return r * (norm.weight / (norm.running_var + norm.eps).sqrt())[:, None, None]


class Net(nn.Module):
    """Something, then `top`, then a rectifier and a mean: logits."""

    def __init__(self) -> None:
        super().__init__()
        self.top = nn.Conv2d(8, 6, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.top(self.features(x)).relu().mean((2, 3))


class Plain(Net):
    """conv, rectifier, max-pool, conv, rectifier, top."""

    def __init__(
        self, rectifier: Callable[[], Callable[[Tensor], Tensor]], bound: float = torch.inf, loud: float = 1
    ) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.first, self.second = rectifier(), rectifier()
        self.bound = bound
        with torch.no_grad():
            self.one.weight *= loud

    def features(self, x):
        return self.second(self.two(self.pool(self.first(self.one(x)))))

    def down(self, x, r, rule):
        a = self.one(x)
        b, switches = pooled(self.pool, a.clamp(0, self.bound))
        c = self.two(b)
        r = transposed(self.top, r, c)
        r = transposed(self.two, rectify(rule, r, c, self.bound), b)
        return transposed(self.one, rectify(rule, unpooled(r, switches, a), a, self.bound), x)


class Reused(Net):
    """One ReLU module on two parallel branches and after them."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(3, 8, 5, padding=2)
        self.relu = nn.ReLU()

    def features(self, x):
        left, right = self.one(x), self.two(x)
        return self.relu(self.relu(left) - self.relu(right))

    def down(self, x, r, rule):
        left, right = self.one(x), self.two(x)
        r = rectify(rule, transposed(self.top, r, left), left.clamp(min=0) - right.clamp(min=0))
        one = transposed(self.one, rectify(rule, r, left), x)
        return one + transposed(self.two, rectify(rule, -r, right), x)


class PreActivation(Net):
    """a + conv(ReLU(a)), and ReLU: the first ReLU's input also goes past it."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.first, self.second = nn.ReLU(), nn.ReLU()

    def features(self, x):
        a = self.one(x)
        return self.second(a + self.two(self.first(a)))

    def down(self, x, r, rule):
        a = self.one(x)
        r = rectify(rule, transposed(self.top, r, a), a + self.two(a.clamp(min=0)))
        return transposed(self.one, r + rectify(rule, transposed(self.two, r, a), a), x)


class Residual(Net):
    """A residual block with batch norm, as in ResNet, behind a strided convolution."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8)
        self.one, self.norm1 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.two, self.norm2 = nn.Conv2d(8, 8, 3, padding=1, groups=2, bias=False), nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)

    def features(self, x):
        a = self.relu(self.norm(self.stem(x)))
        b = self.relu(self.norm1(self.one(a)))
        return self.relu(self.norm2(self.two(b)) + a)

    def down(self, x, r, rule):
        before = self.norm(self.stem(x))
        a = before.clamp(min=0)
        inner = self.norm1(self.one(a))
        b = inner.clamp(min=0)
        r = rectify(rule, transposed(self.top, r, a), self.norm2(self.two(b)) + a)
        branch = rectify(rule, transposed(self.two, scaled(self.norm2, r), b), inner)
        r = r + transposed(self.one, scaled(self.norm1, branch), a)
        return transposed(self.stem, scaled(self.norm, rectify(rule, r, before)), x)


class Overlapping(Net):
    """Max-pooling with windows of 3 and stride 2, as in AlexNet: a value may win in up to four of them."""

    def __init__(self):
        super().__init__()
        self.one, self.relu, self.pool = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1)

    def features(self, x):
        return self.pool(self.relu(self.one(x)))

    def down(self, x, r, rule):
        a = self.one(x)
        b, switches = pooled(self.pool, a.clamp(min=0))
        return transposed(self.one, rectify(rule, unpooled(transposed(self.top, r, b), switches, a), a), x)


class Strided(Net):
    """Convolutions whose stride leaves pixels over at the right and at the bottom, and one that is dilated."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 8, 4, stride=3), nn.Conv2d(8, 8, (2, 3), stride=2, dilation=(1, 1))
        self.relu = nn.ReLU()

    def features(self, x):
        return self.relu(self.two(self.relu(self.one(x))))

    def down(self, x, r, rule):
        a = self.one(x)
        b = self.two(a.clamp(min=0))
        r = rectify(rule, transposed(self.top, r, b), b)
        return transposed(self.one, rectify(rule, transposed(self.two, r, a), a), x)


class Normalised(Net):
    """Local response normalisation, as in AlexNet. For the deconvnet it is the identity."""

    def __init__(self):
        super().__init__()
        self.one, self.relu = nn.Conv2d(3, 8, 3), nn.ReLU()
        self.norm = nn.LocalResponseNorm(5, alpha=0.5, beta=0.6, k=1.5)

    def features(self, x):
        return self.norm(self.relu(self.one(x)))

    def down(self, x, r, rule):
        a = self.one(x)
        r = transposed(self.top, r, a)
        if rule != "deconvnet":
            b = a.clamp(min=0)
            near = torch.stack([F.pad(b**2, (0, 0, 0, 0, 2, 2))[:, i : i + 8] for i in range(5)]).sum(0)
            d = 1.5 + 0.5 / 5 * near
            # of b_i / d_i^β: with respect to b_i itself, and to b_j in the d_i of its neighbours
            back = torch.stack(
                [F.pad(r * b * d**-1.6, (0, 0, 0, 0, 2, 2))[:, i : i + 8] for i in range(5)]
            ).sum(0)
            r = r * d**-0.6 - 2 * 0.6 * 0.5 / 5 * b * back
        return transposed(self.one, rectify(rule, r, a), x)


NETS: dict[str, Callable[[], Net]] = {
    "plain": lambda: Plain(nn.ReLU),
    "in place": lambda: Plain(lambda: nn.ReLU(inplace=True)),
    "F.relu": lambda: Plain(lambda: F.relu),
    "x.relu_()": lambda: Plain(lambda: Tensor.relu_),
    "x.clamp(min=0)": lambda: Plain(lambda: lambda a: a.clamp(min=0)),
    "x.clamp_min_(0)": lambda: Plain(lambda: lambda a: a.clamp_min_(0)),
    "F.threshold": lambda: Plain(lambda: lambda a: F.threshold(a, 0, 0)),
    "ReLU6": lambda: Plain(lambda: nn.ReLU6(inplace=True), 6, 20),
    "x.clamp(0, 6)": lambda: Plain(lambda: lambda a: a.clamp(0, 6), 6, 20),
    "reused in branches": Reused,
    "pre-activation skip": PreActivation,
    "residual, batch norm": Residual,
    "overlapping max-pool": Overlapping,
    "stride leaves a rest": Strided,
    "response norm": Normalised,
}


def made(name: str) -> Net:
    """A network of the list in float64 and evaluation mode, with batch-norm statistics not the initial ones."""
    torch.manual_seed(0)
    net = NETS[name]().double()
    for norm in (m for m in net.modules() if isinstance(m, nn.BatchNorm2d)):
        for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            tensor.data.uniform_(0.5, 1.5)
    return net.eval().requires_grad_(False)
