"""The same network in a form that runs faster: what is fixed while weights are fixed is computed once.

    batch norm after a convolution     w ← w·γ/√(σ²+ε),  b ← (b − μ)·γ/√(σ²+ε) + β     (evaluation mode)
    convolutions                       in the form that a CPU runs best (convolutions.py)
    convolution and rectifier          as one node of the graph, where nobody looks at its nodes (fused.py)

The sums are the same, in another order. Weights that are not changed are shared with the network; a form that does not
give the network's own logits is not used.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .borrow import parts
from .chains import conv_and_norm, put
from .convolutions import PadsAsNeeded, pads_as_needed
from .fused import fuse
from .kernels import Stem

DRAWS = 8  # of noise, until the gradients agree; of VGG-16's they do for every fourth


class Faster:
    """The faster form of a module, as long as the module stays what it was."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._parts: tuple[Any, ...] | None = None
        self._usable = False
        self._forget()

    def _forget(self) -> None:
        self._weights: dict[int, tuple[Tensor, Tensor]] = {}  # what was copied, and a copy of it then
        self._form: nn.Module | None = None
        self._folded: frozenset[str] = frozenset()
        self._agrees: dict[tuple[int, ...], bool] = {}  # at which sizes the form gives what the module gives
        self._fused: nn.Module | None = None
        self._inside: frozenset[str] = frozenset()  # whose outputs do not exist in it
        self._fused_agrees: dict[tuple[int, ...], bool] = {}

    def look(self) -> None:
        """Notice what has been done to the module, also where it leaves no trace but the numbers. To be called
        whenever somebody else may have had it."""
        now = _parts(self._module)
        self._usable = now is not None
        same = now == self._parts and all(torch.equal(t, then) for t, then in self._weights.values())
        if self._usable and not same:
            self._forget()
            self._parts = now

    @contextmanager
    def aside(self) -> Iterator[None]:
        """The module itself is run inside, though it was borrowed before: somebody wants to see its own layers."""
        usable, self._usable = self._usable, False
        try:
            yield
        finally:
            self._usable = usable

    def form(self, x: Tensor, layers: Sequence[str], nodes: bool = True) -> nn.Module:
        """What to run in the module's place on x (n, 3, h, w), where the outputs of these layers are asked for: the
        module itself where there is no faster form. nodes: whether somebody looks at the nodes of the graph. The module
        is borrowed (see borrow.py)."""
        if not self._usable or not len(x):
            return self._module
        names, size = {name.partition(":")[0] for name in layers}, tuple(x.shape[2:])
        with torch.inference_mode(False), torch.no_grad():
            if not self._agrees:
                self._make(x)
            if size not in self._agrees:
                self._agrees[size] = self._form is not None and _agree(self._module, self._form, x)
            form = self._form if self._form is not None and self._agrees[size] else self._module
            if names & self._folded:
                return self._module
            if nodes:
                return form
            if not self._fused_agrees:
                self._fuse(form, x)
            if size not in self._fused_agrees:
                first = not self._fused_agrees
                self._fused_agrees[size] = self._fused is not None and _agree(form, self._fused, x, first)
        fused = self._fused if self._fused_agrees[size] and not names & self._inside else None
        return form if fused is None else fused

    def _make(self, x: Tensor) -> None:
        norms = any(isinstance(m, nn.BatchNorm2d) for m in self._module.modules())
        pairs = dict(conv_and_norm(self._module, x[:1])) if norms else {}
        named = [(name, m) for name, m in self._module.named_modules() if name]
        others = [name for name, m in named if Stem.fits(m) or pads_as_needed(m)]
        form = _copy(self._module) if pairs or others else None
        if form is None:
            return
        for conv, norm in pairs.items():
            before: Any = form.get_submodule(conv)
            after: Any = form.get_submodule(norm)
            put(form, conv, fuse_conv_bn_eval(before, after))
            # a norm that has its activation inside keeps that
            put(form, norm, nn.Sequential(OrderedDict(after.named_children())))
        for name in others:
            old = form.get_submodule(name)
            put(form, name, Stem(old) if Stem.fits(old) else PadsAsNeeded(old))
        self._form, self._folded = form.requires_grad_(False), frozenset(pairs)
        self._watch(self._module.get_submodule(name) for name in (*pairs, *pairs.values(), *others))

    def _fuse(self, form: nn.Module, x: Tensor) -> None:
        if (copied := _copy(form)) is not None:
            convs, self._inside = fuse(copied, x[:1])
            self._fused = copied if convs else None
            self._watch(one.conv for one in convs)

    def _watch(self, copied: Iterable[nn.Module]) -> None:
        """Of the module's own tensors copies are used."""
        own = {id(t) for t in _tensors(self._module)}
        for t in (t for part in copied for t in _tensors(part) if id(t) in own):
            self._weights[id(t)] = (t, t.detach().clone())


def _agree(module: nn.Module, fast: nn.Module, x: Tensor, gradient: bool = False) -> bool:
    """Whether both give the same for noise of this size, but for rounding; and the same gradient, for one picture of
    several, since in others a unit may be so near to zero that rounding puts it on the other side of its rectifier."""
    for seed in range(DRAWS if gradient else 1):
        noise = torch.randn(1, *x.shape[1:], generator=torch.Generator().manual_seed(seed)).to(x)
        try:
            own, other = _told(module, noise, gradient), _told(fast, noise, gradient)
        except Exception:  # a form's parts may not take what a network does with its own
            return False
        same = [
            bool((a - b).abs().max() <= 1000 * torch.finfo(a.dtype).eps * a.abs().max())
            for a, b in zip(own, other, strict=True)
        ]
        if not own or not same[0]:
            return False
        if all(same):
            return True
    return False


def _told(module: nn.Module, x: Tensor, gradient: bool) -> list[Tensor]:
    """The logits, and the gradient of their sum; empty where a network gives something else."""
    with torch.inference_mode(False), torch.set_grad_enabled(gradient):
        x = x.clone().requires_grad_(gradient)
        y = module(x)
        if not isinstance(y, Tensor):
            return []
        if not gradient or not y.requires_grad:
            return [y.detach()]
        return [y.detach(), *torch.autograd.grad(y.sum(), x, materialize_grads=True)]


def _copy(module: nn.Module) -> nn.Module | None:
    """The module's parts anew, with the same tensors; None where it cannot be copied."""
    try:
        return copy.deepcopy(module, {id(t): t for t in _tensors(module)})
    except Exception:
        return None


def _parts(module: nn.Module) -> tuple[Any, ...] | None:
    """Changes with the module's parts and tensors, not with their numbers. None: no faster form, because somebody
    listens to its parts or has given one another `forward`, which a copy would share, because nobody can listen to a
    scripted part, or because it is not measured or not exact there."""
    own, tensors = parts(module), list(_tensors(module))
    if any(m._forward_hooks or m._forward_pre_hooks or "forward" in vars(m) for m in own):
        return None
    if any(isinstance(m, torch.jit.ScriptModule) for m in own):
        return None
    if any(t.device.type != "cpu" or t.is_inference() for t in tensors):
        return None
    if any(t.is_floating_point() and t.dtype not in (torch.float32, torch.float64) for t in tensors):
        return None
    return tuple(map(id, own)), tuple((id(t), t.data_ptr(), t.dtype) for t in tensors)


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    for m in parts(module):
        yield from (t for t in (*m._parameters.values(), *m._buffers.values()) if t is not None)
