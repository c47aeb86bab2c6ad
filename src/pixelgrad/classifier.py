"""A network with what surrounds it: how pictures are prepared for it, what its classes are called, its layers.

Takes `Pixels` (n, 3, h, w) in [0, 1]; mean and standard deviation are applied inside, once. The module is
borrowed, never changed: its mode, flags, hooks, buffers, parameters and `.grad` are the same after every call,
after a failing one as well (see borrow.py).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from . import labels as names_of_classes
from .borrow import borrowed
from .errors import ModelError, NotFound, PixelgradError
from .faster import Faster
from .preprocessing import Preprocessing, per_colour, sides
from .taps import Layer, Stop, tapped, trace

PIXELS, LOGITS = "pixels", "logits"


@dataclass(frozen=True)
class Guess:
    """One of the classes that a picture was given."""

    label: str
    probability: float
    index: int
    logit: float


class Classifier:
    """A module from normalised images to logits (n, classes), taking pixels in [0, 1].

    mean, std: of the normalisation, a number or one per colour. size: side, or (height, width), of the pictures
    it is meant for; resize: the shorter side before the crop, or a (height, width) to squeeze into (default: the
    size). labels: the classes' names, in order. name: what it is called in results; weights: the file they are from.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        mean: float | Sequence[float] = 0.0,
        std: float | Sequence[float] = 1.0,
        size: int | tuple[int, int] | None = None,
        resize: int | tuple[int, int] | None = None,
        interpolation: str = "bilinear",
        antialias: bool = True,
        labels: Sequence[str] | None = None,
        name: str | None = None,
        weights: str | None = None,
    ) -> None:
        if not isinstance(module, nn.Module):
            raise ModelError(f"a classifier is made from a torch module; got {type(module).__name__}")
        box = None if size is None else sides("size", size)
        box = (box, box) if isinstance(box, int) else box
        if resize is None and box is not None:
            resize = box[0] if box[0] == box[1] else box
        elif resize is not None:
            resize = sides("resize", resize)
        if labels is not None and (
            not isinstance(labels, Sequence)
            or isinstance(labels, str)
            or not all(isinstance(label, str) for label in labels)
        ):
            raise ModelError(f"labels are the names of the classes, in order; got {labels!r:.60}")
        self.module = module
        self.preprocessing = Preprocessing(box, resize, interpolation, antialias)
        self.labels = None if labels is None else tuple(labels)
        self.name = name or type(module).__name__
        self.weights = weights
        self.mean = per_colour("mean", mean)
        self.std = per_colour("std", std)
        if min(self.std) <= 0:
            raise ModelError(f"std is positive; got {std!r}")
        self._faster = Faster(module)
        self._borrowed = False
        self._names: list[str] | None = None
        self._looked_at_pixels = self._warned_pixels = self._looked_at_logits = False

    def __repr__(self) -> str:
        size = self.preprocessing.size
        at = f", {size[0]}×{size[1]}" if size else ""
        return f"<Classifier {self.name}{at}>"

    def __getstate__(self) -> dict[str, Any]:
        """For copies: nobody has borrowed those."""
        return {**self.__dict__, "_borrowed": False, "_names": None, "_faster": Faster(self.module)}

    # ------------------------------------------------------------------ running

    def __call__(self, pixels: Tensor) -> Tensor:
        """Logits (n, classes) of pixels (n, 3, h, w)."""
        return self.activations(pixels, (LOGITS,))[LOGITS]

    def activations(
        self, pixels: Tensor, names: Iterable[str], nodes: bool = True, begin: str | None = None
    ) -> dict[str, Tensor]:
        """The outputs of the named layers, with the graph that leads to them.

        `pixels` and `logits` are names too. Without `logits` the forward pass stops at the deepest layer asked
        for. A layer that runs several times is its first run; `name:2` is the second.
        nodes: whether each step of the network is a node of the graph; without, only the gradient with respect to the
        pixels may be asked for, and it comes sooner. begin: a layer among the names at whose output the graph begins.
        """
        names = list(dict.fromkeys(names))
        wanted = [self.layer(n) for n in names if n not in (PIXELS, LOGITS)]
        self._check_pixels(pixels)
        found: dict[str, Tensor] = {PIXELS: pixels}
        if not wanted and LOGITS not in names:
            return found
        whole = LOGITS in names
        x = self.normalise(pixels)
        with self.borrowed():
            try:
                # without a graph nobody looks at its nodes; inference mode's tensors lack what a form goes by
                nodes = torch.is_inference_mode_enabled() or (nodes and torch.is_grad_enabled())
                form = self._faster.form(x, wanted, nodes)
                first = None if begin is None else self.layer(begin)
                with tapped(form, wanted, stop=not whole, begin=first) as taps:
                    output = form(x)
            except Stop:
                pass
            except PixelgradError:
                raise
            except (RuntimeError, ValueError, AssertionError) as error:  # timm's transformers assert sizes
                if is_out_of_memory(error):
                    raise
                reason = str(error).strip().partition("\n")[0] or type(error).__name__
                shape = "×".join(map(str, pixels.shape))
                raise ModelError(f"{self.name} fails on pixels of {shape}: {reason}") from error
            else:
                if whole:
                    found[LOGITS] = self._logits(output, len(pixels))
        for name in wanted:
            if name not in taps:
                raise ModelError(f"layer {name!r} of {self.name} gave no tensor on this picture")
        return found | taps

    def normalise(self, pixels: Tensor) -> Tensor:
        """(pixels − mean) / std, on the module's device and in its precision."""
        x = pixels.to(self.device, self.dtype)
        mean = x.new_tensor(self.mean)[:, None, None]
        return (x - mean) / x.new_tensor(self.std)[:, None, None]

    def borrowed(self) -> AbstractContextManager[None]:
        """Evaluation mode without parameter gradients inside; everything as it was afterwards."""
        return nullcontext() if self._borrowed else self._borrow()

    @contextmanager
    def _borrow(self) -> Iterator[None]:
        with borrowed(self.module):
            self._faster.look()
            self._borrowed = True
            try:
                yield
            finally:
                self._borrowed, self._names = False, None

    @contextmanager
    def any_range(self) -> Iterator[None]:
        """Pixels may leave [0, 1] inside, without a warning: for pictures with noise, once they were seen without."""
        warned, self._warned_pixels = self._warned_pixels, True
        try:
            yield
        finally:
            self._warned_pixels = warned

    @property
    def device(self) -> torch.device:
        """Where the module's parameters are."""
        return self._example().device

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the module's parameters."""
        return self._example().dtype

    def _example(self) -> Tensor:
        tensors = chain(self.module.parameters(), self.module.buffers())
        return next((t for t in tensors if t.is_floating_point()), torch.empty(0))

    # ------------------------------------------------------------------ classes

    @torch.no_grad()
    def top(self, pixels: Tensor, k: int = 5) -> list[list[Guess]]:
        """The k most probable classes of each picture, best first."""
        logits = self(pixels)
        if not bool(logits.isfinite().all()):
            raise ModelError(f"{self.name} gave logits that are not finite (NaN or infinite)")
        k = min(k, logits.shape[1])
        probability = logits.double().softmax(1)
        # ties go to the lower index, so that the order is total
        best = probability.sort(dim=1, descending=True, stable=True).indices[:, :k].tolist()
        return [
            [Guess(self.label_of(i), float(p[i]), i, float(s[i])) for i in row]
            for row, p, s in zip(best, probability.cpu(), logits.cpu(), strict=True)
        ]

    def label_of(self, index: int) -> str:
        """The name of a class."""
        return self.labels[index] if self.labels is not None else f"class {index}"

    def label(self, target: str | int) -> int:
        """The index of a class given by name or index. Raises NotFound with the nearest names."""
        return names_of_classes.index_of(target, self.labels, self.name)

    # ------------------------------------------------------------------ layers

    def layer(self, name: str | int) -> str:
        """The name of a layer: given as that, by its number in `layers()`, or by an ending that no other has.

        "conv_head", "3.squeeze" for features.3.squeeze, "relu:2" for a second run. An exact name counts first: "3"
        is the name of a layer of a Sequential. Raises NotFound, with the nearest names or the range.
        """
        modules = self._module_names()
        name, hint = str(name), "`pixelgrad layers` lists them"
        base, colon, run = name.partition(":")
        if not base or (colon and not run.isdecimal()):
            raise NotFound("layer", name, modules, hint)
        if base not in modules:
            if re.fullmatch(r"-?[0-9]{1,99}", name):
                return self._numbered(int(name))
            ends = [n for n in modules if n.endswith(f".{base}")]
            if len(ends) > 1:
                # in their order, not by likeness
                some = ", ".join(ends[:3]) + (", …" if len(ends) > 3 else "")
                raise NotFound("single layer", name, (), f"{len(ends)} end so: {some}")
            if not ends:
                raise NotFound("layer", name, modules, hint)
            base = ends[0]
        return base if run in ("", "1") else f"{base}:{int(run)}"

    def _module_names(self) -> list[str]:
        """Of every part of the module; listed once while it is borrowed."""
        if self._names is not None:
            return self._names
        names = [name for name, _ in self.module.named_modules() if name]
        self._names = names if self._borrowed else None
        return names

    def _numbered(self, number: int) -> str:
        listed = self.layers()
        if not 0 <= number < len(listed):
            last = len(listed) - 1
            hint = f"the {len(listed)} layers of {self.name} are 0 to {last}" if listed else "it has none"
            raise NotFound("layer", number, (), hint)
        return listed[number].name

    def layers(self, size: int | tuple[int, int] | None = None) -> list[Layer]:
        """Every layer that runs, in that order: name, kind, output shape for one picture of `size`."""
        box = (size, size) if isinstance(size, int) else size or self.preprocessing.size or (224, 224)
        try:
            blank = torch.full((1, 3, *box), 0.5, device=self.device, dtype=self.dtype)
            with torch.no_grad(), trace(self.module) as seen, self._faster.aside():
                self(blank)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise ModelError(f"memory is too small for a picture of {box[0]}×{box[1]}") from error
            raise
        return seen

    # ------------------------------------------------------------------ checks

    def _check_pixels(self, pixels: Tensor) -> None:
        if not isinstance(pixels, Tensor) or pixels.dim() != 4 or pixels.shape[1] != 3:
            shape = tuple(pixels.shape) if isinstance(pixels, Tensor) else type(pixels).__name__
            raise ModelError(f"pixels are a tensor (n, 3, height, width) in [0, 1]; got {shape}")
        if not pixels.is_floating_point():
            kind = str(pixels.dtype).removeprefix("torch.")
            raise ModelError(f"pixels are floats in [0, 1]; got {kind}: divide by 255 first")
        # on a GPU reading the range waits for the device, so only the first pictures are looked at there
        once = self._looked_at_pixels and pixels.device.type != "cpu"
        if self._warned_pixels or once or pixels.numel() == 0:
            return
        self._looked_at_pixels = True
        lo, hi = (float(v) for v in pixels.detach().aminmax())
        if lo < -0.05 or hi > 1.05:
            self._warned_pixels = True
            cure = (
                "divide by 255" if hi > 20 else "pass the pixels in [0, 1]: mean and std are applied inside"
            )
            warnings.warn(f"pixels from {lo:.3g} to {hi:.3g} look already normalised; {cure}", stacklevel=4)

    def _logits(self, output: Any, n: int) -> Tensor:
        """The logits among what a module returned: itself, `.logits`, or the first of a tuple."""
        logits = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", None)
        output = output if logits is None else logits
        if isinstance(output, (tuple, list)) and output:
            output = output[0]
        if not isinstance(output, Tensor) or output.dim() != 2 or len(output) != n:
            got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ModelError(f"a classifier gives logits ({n}, classes) here; {self.name} gave {got}")
        if self.labels is not None and output.shape[1] != len(self.labels):
            raise ModelError(f"{self.name} gave {output.shape[1]} logits but has {len(self.labels)} labels")
        if not self._looked_at_logits:
            self._looked_at_logits = True
            sums = output.detach().sum(1)
            one = torch.allclose(sums, torch.ones_like(sums), atol=1e-3)
            if output.shape[1] > 1 and one and bool((output.detach() >= 0).all()):
                warnings.warn(
                    f"the outputs of {self.name} look like probabilities; gradients of a softmax vanish "
                    "where it is sure: pass the module without its last softmax",
                    stacklevel=5,
                )
        return output


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this is an allocation that failed, on a GPU or on the CPU."""
    words = ("not enough memory", "can't allocate memory", "out of memory")
    return isinstance(error, torch.OutOfMemoryError) or any(w in str(error) for w in words)
