"""Kernels of convolutions as oneDNN computes with them, laid out once.

`torch.conv2d` on a CPU lays its kernel out anew at every call. For one picture of EfficientNet-Lite0 that is half the
time of a pass through the network, for eight a tenth. The sums are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Pair = tuple[int, int]


class Packed:
    """The kernels of one convolution. They hold copies of the numbers."""

    def __init__(self) -> None:
        self._kept: dict[object, Tensor] = {}

    def conv2d(
        self,
        x: Tensor,
        key: object,
        kernel: Callable[[], Tensor],
        bias: Tensor | None,
        stride: Pair,
        padding: Pair,
        groups: int,
    ) -> Tensor:
        """`F.conv2d` without a graph. key: of the kernel (out, in / groups, height, width), which is asked for at its
        first use; one layout serves inputs of every size."""
        if key not in self._kept:
            with torch.inference_mode(False), torch.no_grad():
                self._kept[key] = _laid_out(kernel().detach(), x, stride, padding, groups)
        weight = self._kept[key]
        if not weight.is_mkldnn:
            return F.conv2d(x, weight, bias, stride, padding, 1, groups)
        x = x.contiguous(memory_format=torch.channels_last)
        y: Tensor = _CONV(x, weight, bias, padding, stride, (1, 1), groups, "none", [], "")
        return y


def _laid_out(weight: Tensor, x: Tensor, stride: Pair, padding: Pair, groups: int) -> Tensor:
    """In oneDNN's own layout; as it is where it has none for these numbers."""
    if None in (_CONV, _LAY_OUT) or not weight.dtype == x.dtype == torch.float32:
        return weight
    packed: Tensor = _LAY_OUT(weight, padding, stride, (1, 1), groups, list(x.shape))
    return packed


def _own(name: str) -> Any:
    """torch's own, for its compiler: without a promise to be there."""
    return getattr(getattr(torch.ops.mkldnn, name, None), "default", None)


_CONV, _LAY_OUT = _own("_convolution_pointwise"), _own("_reorder_convolution_weight")
