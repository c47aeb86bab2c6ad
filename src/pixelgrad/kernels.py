"""A convolution and its way back as a CPU does them fastest: y = w∗x + b, and ∂/∂x = wᵀ∗R.

    at stride 1                     wᵀ∗R is the convolution of R by the kernel turned by half a turn
    few colours and a stride s      the same on s×s squares of the picture as channels, where the stride is 1
    both                            with kernels laid out once as oneDNN computes with them

`torch.conv2d` lays its kernel out anew at every call: for one picture of EfficientNet-Lite0 that is a quarter of a
gradient's time, for eight a twelfth. The sums are the same, in another order.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .convolutions import Call, PadsAsNeeded, call, few_colours, pads_as_needed, plain, squares

Pair = tuple[int, int]
MANY = 256  # channels, from which on it pays to see whether but one of them counts


class Kernels:
    """The kernels of one convolution. They hold copies of the numbers, and no graph is made."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, int], Tensor] = {}

    def __deepcopy__(self, memo: object) -> Kernels:
        """Laid out anew: oneDNN's layout cannot be copied."""
        return Kernels()

    def forward(self, made: Call) -> Tensor:
        """y, (n, channels, height, width)."""
        return self._conv("own", made, lambda w: w)

    def backward(
        self,
        r: Tensor,
        shape: tuple[int, ...],
        weight: Tensor,
        bias: Tensor | None,
        stride: Pair,
        padding: Pair,
        groups: int,
        sparse: bool = True,
    ) -> Tensor:
        """∂/∂x, of x's shape (n, channels, height, width), from R of y's; the rest as in the call. sparse: whether R
        may be zero but for one channel."""
        pointwise = weight.shape[1:] == (*shape[1:2], 1, 1) and r.shape[2:] == shape[2:]
        if pointwise and sparse and (only := _only_channel(r)) is not None:
            return _outer(weight[only, :, 0, 0], r[torch.arange(len(r)), only])
        if stride == (1, 1) and groups in (1, len(weight)):
            edge = (weight.shape[2] - 1 - padding[0], weight.shape[3] - 1 - padding[1])
            return self._conv(
                "turned", Call(r, weight, None, stride, edge, groups), lambda w: turned(w, groups)
            )
        if few_colours(weight, stride, groups):
            side = stride[0]
            edge = (math.ceil(weight.shape[2] / side) - 1, math.ceil(weight.shape[3] / side) - 1)
            back = Call(r, weight, None, (1, 1), edge, 1)
            found = self._conv("squares", back, lambda w: turned(squares(w, side), 1))
            return _spread(found, side, padding, shape)
        like = torch.empty(shape, dtype=r.dtype, memory_format=torch.channels_last)  # its shape counts
        rest = ((1, 1), False, (0, 0), groups, (True, False, False))
        made: Tensor = torch.ops.aten.convolution_backward(r, like, weight, None, stride, padding, *rest)[0]
        return made

    def _conv(self, what: str, made: Call, kernel: Callable[[Tensor], Tensor]) -> Tensor:
        """What a call gives with a kernel made of its weight; one layout serves inputs of every size."""
        x, weight, bias, stride, padding, groups = made
        key = what, id(weight)
        if key not in self._kept:
            with torch.inference_mode(False), torch.no_grad():
                self._kept[key] = _laid_out(kernel(weight.detach()), x, stride, padding, groups)
        used = self._kept[key]
        if not used.is_mkldnn:
            return F.conv2d(x, used, bias, stride, padding, 1, groups)
        x = x.contiguous(memory_format=torch.channels_last)
        y: Tensor = _CONV(x, used, bias, padding, stride, (1, 1), groups, "none", [], "")
        return y


class Stem(nn.Module):
    """A convolution of few colours with a stride, as a step of its own with this way back."""

    def __init__(self, conv: Any) -> None:
        super().__init__()
        self.conv = PadsAsNeeded(conv) if pads_as_needed(conv) else conv
        self.kernels = Kernels()

    def forward(self, x: Tensor) -> Tensor:
        made = call(self.conv, x)
        y: Tensor = Convolution.apply(made.x, made, self.kernels)
        return y

    @staticmethod
    def fits(conv: Any) -> bool:
        """Whether this way back is the faster one."""
        known = plain(conv) or pads_as_needed(conv)
        return known and few_colours(conv.weight, conv.stride, conv.groups)


class Convolution(torch.autograd.Function):
    """The node of one; its name starts as those of torch's convolutions do, by which the graph is read."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, made: Call, kernels: Kernels) -> Tensor:
        ctx.made, ctx.kernels, ctx.shape = made[1:], kernels, x.shape
        return kernels.forward(made)

    @staticmethod
    def backward(ctx: Any, r: Tensor) -> Any:
        return _Back.apply(r, ctx.made, ctx.kernels, ctx.shape), None, None


class _Back(torch.autograd.Function):
    """The way back, which is linear: its own way back is the convolution without the bias."""

    @staticmethod
    def forward(
        ctx: Any, r: Tensor, made: tuple[Any, ...], kernels: Kernels, shape: tuple[int, ...]
    ) -> Tensor:
        ctx.made, ctx.kernels, ctx.shape = made, kernels, shape
        return kernels.backward(r, shape, *made)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        weight, _, *rest = ctx.made
        return Convolution.apply(g, Call(g, weight, None, *rest), ctx.kernels), None, None, None


def turned(weight: Tensor, groups: int) -> Tensor:
    """The kernel of the way back, turned by half a turn; of a dense one (in, out, height, width)."""
    w = weight.flip(2, 3)
    w = w.transpose(0, 1) if groups == 1 else w
    return w.contiguous(memory_format=torch.channels_last)


def _only_channel(r: Tensor) -> Tensor | None:
    """Of each picture the channel (n,) beside which R (n, channels, height, width) is zero: as where the score is the
    logit of a class, and the last layer a convolution. None where that is not so, or not soon seen."""
    if r.shape[1] < MANY or int((r[:, :, 0, 0] != 0).sum()) > len(r):
        return None
    only = (r[:, :, ::4, ::4] != 0).flatten(2).any(2).to(torch.uint8).argmax(1)
    alone = r[torch.arange(len(r)), only].count_nonzero() == r.count_nonzero()
    return only if bool(alone) else None


def _outer(weight: Tensor, r: Tensor) -> Tensor:
    """(n, channels, height, width) of (n, channels) and (n, height, width)."""
    shape = (*weight.shape, *r.shape[1:])
    x = torch.empty(shape, dtype=r.dtype, memory_format=torch.channels_last)
    return torch.mul(weight[:, :, None, None], r[:, None], out=x)


def _spread(r: Tensor, side: int, padding: Pair, shape: tuple[int, ...]) -> Tensor:
    """The pixels (n, channels, height, width) of squares (n, channels · side², rows, columns), without the padding."""
    whole = all(side * r.shape[i + 2] >= padding[i] + shape[i + 2] for i in (0, 1))
    x = r.new_empty(shape) if whole else r.new_zeros(shape)  # what no kernel has reached counts for nothing
    for k in range(side**2):
        into, out = [], []
        for i, place in enumerate((k // side, k % side)):
            first = max(0, math.ceil((padding[i] - place) / side))
            start = side * first + place - padding[i]
            count = min(r.shape[i + 2] - first, math.ceil((shape[i + 2] - start) / side))
            into.append(slice(start, start + side * count, side))
            out.append(slice(first, first + count))
        x[:, :, into[0], into[1]] = r[:, k :: side**2, out[0], out[1]]
    return x


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
