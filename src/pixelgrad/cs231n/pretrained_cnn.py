"""PretrainedCNN: any classifier as the model object of the course's numpy edition.

    out, cache = model.forward(X, start, end)         layers start to end, both counted in
    dX, grads = model.backward(dout, cache)           dX = (∂out/∂X)ᵀ dout

Arrays in and out. Pictures are (N, 3, H, W) from 0 to 255 less `data["mean_image"]`. A layer, by its index from 0, is a
convolution, or a linear layer, with the norm and the rectifier that follow it; what lies between two layers, such as
pooling, belongs to the second, and the last layer ends with the scores. `grads` is empty: the weights stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..classifier import LOGITS, Classifier
from ..errors import ModelError, NotFound, SettingError
from ..models import load
from .numpy_pictures import Array, need_arrays

SIZE = 64  # of the course's pictures


class Cache(NamedTuple):
    """What `backward` needs of a `forward`: its input and output, with the graph between them."""

    x: Tensor
    out: Tensor


class PretrainedCNN:
    """A classifier with the course's interface: a pixelgrad `Classifier`, its name for `pg.load`, or a torch module of
    64×64 pictures in ImageNet's normalisation.

    layers: for each index the name of the layer in the network that ends it. data: `mean_image` (3, H, W), the
    network's mean colour in the size that it is for, and `class_names`, a list of names for each class. A network in
    training mode is looked at in evaluation mode, and given back as it was.
    """

    def __init__(self, model: Classifier | nn.Module | str = "tinynet") -> None:
        if isinstance(model, str):
            model = load(model)
        elif not isinstance(model, Classifier):
            model = Classifier(model, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), size=SIZE)
        self.model = model
        self.layers = blocks(model)
        box = model.preprocessing.size or (SIZE, SIZE)
        mean = 255 * np.array(model.mean)[:, None, None]
        self.data: dict[str, Any] = {"mean_image": np.broadcast_to(mean, (3, *box)).copy()}
        if model.labels is not None:
            self.data["class_names"] = [[name] for name in model.labels]

    def forward(
        self, X: Array, start: int | None = None, end: int | None = None, mode: str = "test"
    ) -> tuple[Array, Cache]:
        """The output of layer `end` (default: the scores), where layer `start` (default: 0) is given X."""
        if mode != "test":
            raise SettingError(f"mode is 'test': the weights are not trained here; got {mode!r}")
        first = self._index("start", 0 if start is None else start)
        last = self._index("end", len(self.layers) - 1 if end is None else end)
        if last < first:
            raise SettingError(f"end is the last layer, {first} or later; got {last}")
        x = torch.tensor(np.asarray(X, np.float64), dtype=self.model.dtype, device=self.model.device)
        x.requires_grad_()
        with torch.enable_grad(), self.model.any_range():
            out = self._from_pictures(x, last) if first == 0 else self._from_layer(x, first, last)
        return _array(out), Cache(x, out)

    def backward(self, dout: Array, cache: Cache) -> tuple[Array, dict[str, Array]]:
        """The gradient with respect to what `forward` was given, from that with respect to what it gave."""
        wanted = torch.as_tensor(np.asarray(dout)).to(cache.out)
        if wanted.shape != cache.out.shape:
            raise ModelError(
                f"dout is as forward's output, {tuple(cache.out.shape)}; got {tuple(wanted.shape)}"
            )
        (gradient,) = torch.autograd.grad(cache.out, cache.x, wanted, retain_graph=True)
        if not bool(gradient.isfinite().all()):
            raise ModelError(f"the gradient of {self.model.name} is not finite")
        return _array(gradient), {}

    def loss(self, X: Array, y: Array | None = None) -> Array | tuple[float, dict[str, Array]]:
        """Scores (N, classes) of pictures X; with labels y (N,) the mean cross-entropy, and the empty `grads`."""
        scores, _ = self.forward(X)
        if y is None:
            return scores
        labels = check_labels(y, scores)
        return float(F.cross_entropy(torch.as_tensor(scores), torch.as_tensor(labels))), {}

    def _index(self, name: str, index: int) -> int:
        if not isinstance(index, (int, np.integer)) or not 0 <= index < len(self.layers):
            last = len(self.layers) - 1
            raise NotFound(
                "layer", index, (), f"{name} is an index: {self.model.name} has layers 0 to {last}"
            )
        return int(index)

    def _from_pictures(self, x: Tensor, end: int) -> Tensor:
        need_arrays(x)
        mean = x.new_tensor(self.model.mean)[:, None, None]
        return self._output(x / 255 + mean, end)

    def _from_layer(self, x: Tensor, start: int, end: int) -> Tensor:
        """The network runs on a blank picture, and what layer start − 1 gives is replaced by x."""
        blank = x.new_zeros(1, *self.data["mean_image"].shape).expand(max(1, len(x)), -1, -1, -1)
        blank = blank.clone().requires_grad_()
        before = self.layers[start - 1]
        with _gives(self.model.module, before, x):
            out = self._output(blank, end)
        (through,) = torch.autograd.grad(out.sum(), blank, retain_graph=True, allow_unused=True)
        if through is not None:
            raise ModelError(
                f"layer {end} of {self.model.name} needs more than {before!r} gives, which a branch goes around; "
                "start earlier"
            )
        return out

    def _output(self, pixels: Tensor, end: int) -> Tensor:
        name = self.layers[end]
        return self.model.activations(pixels, [name])[name]


def blocks(model: Classifier) -> tuple[str, ...]:
    """The layers that end the course's layers of a network, in the order they run; the last one are the logits."""
    modules = dict(model.module.named_modules())
    found: list[str] = []
    grows = False  # whether what comes next may belong to the last one found
    for layer in model.layers(model.preprocessing.size or SIZE):
        part = modules[layer.name.partition(":")[0]]
        if isinstance(part, (nn.modules.conv._ConvNd, nn.Linear)):
            found.append(layer.name)
            grows = True
        elif grows and (_is_norm(part) or _is_activation(part)):
            found[-1] = layer.name
        elif not isinstance(part, (nn.Identity, nn.modules.dropout._DropoutNd)) and not any(part.children()):
            grows = False
    if not found:
        raise ModelError(f"{model.name} has no convolution and no linear layer")
    return (*found[:-1], LOGITS)


def check_labels(y: Any, scores: Array) -> Array:
    """Labels y (N,), one for each row of scores (N, classes). Raises ModelError and NotFound."""
    labels = np.asarray(y)
    if labels.shape != scores.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise ModelError(
            f"y are whole numbers (N,), one for each of {len(scores)} pictures; "
            f"got {labels.shape} of {labels.dtype}"
        )
    for label in labels:
        if not 0 <= label < scores.shape[1]:
            raise NotFound("class", label, (), f"the classes are 0 to {scores.shape[1] - 1}")
    return labels.astype(np.int64)


def _is_norm(part: nn.Module) -> bool:
    norms = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.LocalResponseNorm)
    return isinstance(part, norms)


def _is_activation(part: nn.Module) -> bool:
    return type(part).__module__ == "torch.nn.modules.activation" and not any(True for _ in part.children())


@contextmanager
def _gives(module: nn.Module, layer: str, value: Tensor) -> Iterator[None]:
    """Inside, a layer gives that value, whatever it is given."""
    base, _, number = layer.partition(":")
    runs = 0

    def replace(*_: Any) -> Tensor | None:
        nonlocal runs
        runs += 1
        return value if runs == int(number or 1) else None

    handle = module.get_submodule(base).register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()


def _array(tensor: Tensor) -> Array:
    found: Array = tensor.detach().cpu().numpy()
    return found
