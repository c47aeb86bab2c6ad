"""Convolutions in the form that a CPU runs best, with the same outputs but for rounding.

    few colours and a stride s     the picture's s×s squares as channels, then stride 1
    padding "as TensorFlow does"   one row and column of zeros in the kernel in place of one more around the picture

Each says what `torch.conv2d` is to be called with on a given input, so that whoever calls it can do more in one go
(fused.py).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Call(NamedTuple):
    """The arguments of a convolution, which is dense or in groups, and not dilated."""

    x: Tensor
    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, int]
    padding: tuple[int, int]
    groups: int

    def output(self) -> Tensor:
        """(n, channels, height, width)"""
        return F.conv2d(self.x, self.weight, self.bias, self.stride, self.padding, 1, self.groups)


class Squares(nn.Module):
    """A convolution with stride s and few channels as one with stride 1 on s² times as many."""

    def __init__(self, conv: Any) -> None:
        super().__init__()
        self._own = [
            PadsAsNeeded(conv) if pads_as_needed(conv) else conv
        ]  # in a list it is no part of the network
        self.side = conv.stride[0]
        self.kernel = conv.kernel_size
        self.padding = None if pads_as_needed(conv) else conv.padding
        self.weight = nn.Parameter(squares(conv.weight.detach(), self.side), requires_grad=False)
        self.bias = conv.bias

    @property
    def own(self) -> nn.Module:
        """With its own stride."""
        return self._own[0]

    def call(self, x: Tensor) -> Call:
        """On x (n, channels, h, w)."""
        edges: list[int] = []
        for i in (1, 0):
            side, kernel = x.shape[2 + i], self.kernel[i]
            low, high = _needed(side, kernel, self.side) if self.padding is None else (self.padding[i],) * 2
            out = (side + low + high - kernel) // self.side + 1
            edges += [low, self.side * (out - 1 + math.ceil(kernel / self.side)) - side - low]
        squares: Tensor = _Unshuffled.apply(F.pad(x, edges), self.side)
        return Call(squares, self.weight, self.bias, (1, 1), (0, 0), 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.call(x).output()

    @staticmethod
    def fits(conv: Any) -> bool:
        """Whether this form of a convolution is the faster one."""
        known = plain(conv) or pads_as_needed(conv)
        return known and few_colours(conv.weight, conv.stride, conv.groups)


class _Unshuffled(torch.autograd.Function):
    """`F.pixel_unshuffle`, channels-last, and its way back: place by place of a square, which takes half the time."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, side: int) -> Tensor:
        n, channels, height, width = x.shape
        ctx.side, shape = side, (n, channels * side**2, height // side, width // side)
        y = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
        for k in range(side**2):
            y[:, k :: side**2] = x[:, :, k // side :: side, k % side :: side]
        return y

    @staticmethod
    def backward(ctx: Any, r: Tensor) -> Any:
        side = ctx.side
        n, channels, height, width = r.shape
        x = r.new_empty(n, channels // side**2, height * side, width * side)
        for k in range(side**2):
            x[:, :, k // side :: side, k % side :: side] = r[:, k :: side**2]
        return x, None


class PadsAsNeeded(nn.Module):
    """A convolution that pads so that ⌈side/stride⌉ places come out, one more after than before where the number is
    odd (TensorFlow's "SAME"): timm pads a copy of its input for it."""

    def __init__(self, conv: Any) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias
        self.kernel, self.stride, self.groups = conv.kernel_size, conv.stride, conv.groups
        self._with_zeros: dict[tuple[int, int], Tensor] = {(0, 0): conv.weight}

    def call(self, x: Tensor) -> Call:
        """On x (n, channels, h, w)."""
        both = [_needed(x.shape[2 + i], self.kernel[i], self.stride[i]) for i in (0, 1)]
        more = (both[0][1] - both[0][0], both[1][1] - both[1][0])
        if any(more) and few_colours(self.weight, self.stride, self.groups):  # a picture is soon copied
            return Call(
                F.pad(x, (*both[1], *both[0])), self.weight, self.bias, self.stride, (0, 0), self.groups
            )
        if more not in self._with_zeros:
            with torch.inference_mode(False), torch.no_grad():
                weight = F.pad(self.weight, (more[1], 0, more[0], 0))
                self._with_zeros[more] = weight.contiguous(memory_format=torch.channels_last)
        padding = (both[0][1], both[1][1])
        return Call(x, self._with_zeros[more], self.bias, self.stride, padding, self.groups)

    def forward(self, x: Tensor) -> Tensor:
        return self.call(x).output()


def few_colours(weight: Tensor, stride: tuple[int, int], groups: int) -> bool:
    """Whether the way back is faster on squares."""
    kernel = min(weight.shape[2:])
    return weight.shape[1] <= 4 and groups == 1 and kernel > stride[0] == stride[1] > 1


def squares(weight: Tensor, side: int) -> Tensor:
    """The kernel of a convolution on squares, (out, in · side², ⌈height/side⌉, ⌈width/side⌉), filled up with zeros."""
    more = [-k % side for k in weight.shape[2:]]
    weight = F.pixel_unshuffle(F.pad(weight, (0, more[1], 0, more[0])), side)
    return weight.contiguous(memory_format=torch.channels_last)


def call(conv: Any, x: Tensor) -> Call:
    """What a convolution calls on x."""
    if isinstance(conv, (Squares, PadsAsNeeded)):
        return conv.call(x)
    return Call(x, conv.weight, conv.bias, conv.stride, conv.padding, conv.groups)


def plain(m: Any) -> bool:
    """Whether this is a convolution with numbers of zeros around."""
    return (
        type(m) is nn.Conv2d
        and m.dilation == (1, 1)
        and m.padding_mode == "zeros"
        and not isinstance(m.padding, str)
    )


def pads_as_needed(m: Any) -> bool:
    """Whether this is timm's convolution with TensorFlow's padding. What its name promises is checked with its network
    (faster.py)."""
    return type(m).__name__ == "Conv2dSame" and isinstance(m, nn.Conv2d) and m.dilation == (1, 1)


def _needed(side: int, kernel: int, stride: int) -> tuple[int, int]:
    """The zeros before and after."""
    whole = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
    return whole // 2, whole - whole // 2
