"""Convolutions in the form that a CPU runs best, with the same outputs but for rounding.

    padding "as TensorFlow does"   one row and column of zeros in the kernel in place of one more around the picture
    few colours and a stride s     on the way back the picture's s×s squares as channels, and stride 1 (kernels.py)

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
    if isinstance(conv, PadsAsNeeded):
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
