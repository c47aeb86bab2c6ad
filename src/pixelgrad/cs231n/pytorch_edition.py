"""The PyTorch edition, 2017 on: functions of normalised pictures X (N, 3, H, W) and any torch module.

    saliency              max over colours of |∂s_y/∂X|, or of |∂L/∂X| with L the mean cross-entropy of the batch
    fooling               X ← X + g/‖g‖₂ with g = ∂s_t/∂X, until the module says t, at most 100 times
    class visualization   X ← X + lr · g/‖g‖₂ with g = ∂/∂X (s_y − λ‖X‖₂²); jitter, clip and blur between

The random numbers are those that the course draws: the same seeds of `torch` and `random` give its pictures.
"""

from __future__ import annotations

import functools
import random
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ..classifier import LOGITS, Classifier
from ..errors import ModelError, SettingError
from ..gradient import Evaluation, evaluate, logits_of
from ..objectives.base import Objective
from ..objectives.energy import Energy
from ..objectives.log_probability import LogProbability
from ..objectives.logit import Logit
from ..show.saliency import Saliency
from ..steps import NormalizedGradient, norm
from .pictures import (
    SQUEEZENET_MEAN,
    SQUEEZENET_STD,
    blur_image,
    deprocess,
    jitter,
    need_pictures,
    one_picture,
    preprocess,
)
from .shown import show

FOOLING_STEPS = 100
MOST = 20.0  # normalised pictures stay within ±2.7; one from 0 to 255 does not

Names = Mapping[int, str] | Sequence[str]
Through = Literal["score", "loss"]


def compute_saliency_maps(X: Tensor, y: Tensor, model: nn.Module, through: Through = "score") -> Tensor:
    """Saliency maps (N, H, W) of pictures X (N, 3, H, W) and their labels y (N,).

    through: `score`, as the course asks, or `loss`: the gradient of the mean cross-entropy, which is small where the
    module is sure of y. A module in training mode is looked at in evaluation mode, and stays in training mode.
    """
    if through not in ("score", "loss"):
        raise SettingError(f"through is 'score' or 'loss'; got {through!r}")
    network, labels = _classifier(model), _labels(y, _normalised(X))
    objective = Logit(labels) if through == "score" else LogProbability(labels)
    with network.any_range():
        maps = Saliency(None, objective=objective).run(network, X.detach()).pixels
    return maps / len(X) if through == "loss" else maps


def make_fooling_image(X: Tensor, target_y: int, model: nn.Module) -> Tensor:
    """A picture (1, 3, H, W) near X (1, 3, H, W) that the module takes for class target_y. X stays."""
    one_picture(X)
    network, objective = _classifier(model), Logit(target_y)
    X_fooling = _normalised(X).detach().clone()
    for _ in range(FOOLING_STEPS):
        found = _evaluated(network, objective, X_fooling)
        if int(found.kept[LOGITS].argmax()) == target_y:
            return X_fooling
        X_fooling = _stepped(X_fooling, found, 1.0, objective)
    with network.any_range():
        told = int(logits_of(network, X_fooling).argmax())
    if told != target_y:
        warnings.warn(
            f"after {FOOLING_STEPS} steps the model says class {told}, not {target_y}", stacklevel=2
        )
    return X_fooling


def class_visualization_update_step(
    img: Tensor, model: nn.Module, target_y: int, l2_reg: float, learning_rate: float
) -> None:
    """One step of img (1, 3, H, W) towards class target_y, in place."""
    one_picture(img, "img")
    network = _classifier(model)
    objective = Logit(target_y) - l2_reg * Energy(None, None)
    found = _evaluated(network, objective, img)
    with torch.no_grad():
        img.copy_(_stepped(img, found, learning_rate, objective))


def create_class_visualization(
    target_y: int,
    model: nn.Module,
    dtype: Any = torch.FloatTensor,
    *,
    l2_reg: float = 1e-3,
    learning_rate: float = 25,
    num_iterations: int = 100,
    blur_every: int = 10,
    max_jitter: int = 16,
    show_every: int = 25,
    size: int = 224,
    class_names: Names | None = None,
) -> Image.Image:
    """A picture of class target_y, from noise.

    dtype: of the picture, `torch.FloatTensor` or another; the module stays what it is. blur_every, show_every: 0 for
    never. size: side of the picture. class_names: for the titles of what is shown on the way.
    """
    try:
        img = torch.randn(1, 3, size, size).type(dtype)
    except (TypeError, ValueError, RuntimeError) as error:
        raise SettingError(f"dtype is torch.FloatTensor, or another for size {size!r}: {error}") from error
    low, high = -SQUEEZENET_MEAN / SQUEEZENET_STD, (1 - SQUEEZENET_MEAN) / SQUEEZENET_STD
    for t in range(num_iterations):
        ox, oy = random.randint(0, max_jitter), random.randint(0, max_jitter)
        img = jitter(img, ox, oy)
        class_visualization_update_step(img, model, target_y, l2_reg, learning_rate)
        img = jitter(img, -ox, -oy)
        for c in range(3):
            img[:, c].clamp_(float(low[c]), float(high[c]))
        if blur_every and t % blur_every == 0:
            blur_image(img, sigma=0.5)
        if show_every and (t == 0 or (t + 1) % show_every == 0 or t == num_iterations - 1):
            title = f"{_name(class_names, target_y)}\nIteration {t + 1} / {num_iterations}"
            show([[deprocess(img)]], [title], (4, 4))
    return deprocess(img)


def show_saliency_maps(
    X: np.ndarray,
    y: Sequence[int],
    model: nn.Module,
    class_names: Names | None = None,
    through: Through = "score",
) -> None:
    """Show pictures X (N, H, W, 3) of 8 bits, and under each its saliency map."""
    if np.ndim(X) != 4 or np.shape(X)[3] != 3 or np.asarray(X).dtype != np.uint8:
        raise ModelError(
            f"X is an array (N, H, W, 3) of 8 bits, as load_imagenet_val gives; got {np.shape(X)}"
        )
    tensor = torch.cat([preprocess(Image.fromarray(x)) for x in X])
    maps = compute_saliency_maps(tensor, torch.as_tensor(y), model, through).cpu().numpy()
    show([list(X), list(maps)], [_name(class_names, int(i)) for i in y], (12, 5))


@functools.lru_cache(maxsize=1)  # so that what the library learns of a module lasts from step to step
def _classifier(model: nn.Module) -> Classifier:
    """The module with normalised pictures as its pixels."""
    if isinstance(model, Classifier):
        raise ModelError(
            f"the course's functions take a torch module; got a Classifier: give {model.name}'s .module"
        )
    return Classifier(model)


def _normalised(X: Tensor) -> Tensor:
    """Pictures X (N, 3, H, W), checked."""
    need_pictures(X)
    if X.numel() and not float(X.detach().abs().max()) <= MOST:
        low, high = (float(v) for v in X.detach().aminmax())
        raise ModelError(
            f"X (N, 3, H, W) is normalised, about −2.1 to 2.6; got {low:.3g} to {high:.3g}: preprocess does that"
        )
    return X


def _labels(y: Any, X: Tensor) -> tuple[int, ...]:
    """The labels (N,) of the pictures, checked but for their range, which the module knows."""
    labels = torch.as_tensor(y)
    if labels.shape != X.shape[:1] or labels.is_floating_point() or labels.dtype == torch.bool:
        raise ModelError(
            f"y are whole numbers (N,), one for each of {len(X)} pictures; "
            f"got {tuple(labels.shape)} of {str(labels.dtype).removeprefix('torch.')}"
        )
    return tuple(labels.tolist())


def _evaluated(network: Classifier, objective: Objective, X: Tensor) -> Evaluation:
    with network.any_range():
        return evaluate(network, objective, X, keep=[LOGITS])


def _stepped(X: Tensor, found: Evaluation, learning_rate: float, objective: Objective) -> Tensor:
    """X + lr · g/‖g‖₂. Raises ModelError where that leads nowhere."""
    length = float(norm(found.gradient))
    if not 0 < length < float("inf"):
        raise ModelError(f"the gradient of {objective!r} has length {length:g}; it leads nowhere")
    return NormalizedGradient(learning_rate).step(X.detach(), found.gradient, {}, 0)[0]


def _name(class_names: Names | None, y: int) -> str:
    return f"class {y}" if class_names is None else class_names[y]
