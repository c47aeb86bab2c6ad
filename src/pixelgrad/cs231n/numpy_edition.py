"""The numpy edition, up to 2016: arrays X (N, 3, H, W) from 0 to 255 less the mean image, and a `PretrainedCNN`.

    saliency              max over colours of |∂s_y/∂X|, or of |∂L/∂X| with L the mean cross-entropy of the batch
    fooling               X ← X + lr · ∂s_t/∂X, until the model says t
    class visualization   X ← X + lr · ∂/∂X (s_y − λ‖X‖₂²); jitter, clip and blur between
    feature inversion     X ← X − lr · ∂/∂X (‖Φ_l(X) − Φ₀‖₂² + λ‖X‖₂²); clip and blur between
    DeepDream             X ← X + lr · (∂Φ_l/∂X)ᵀ Φ_l(X): the activations are sent back; jitter and clip between

The gradients are not normalised, so a learning rate fits one network and layer, not another: the defaults are the
course's, for its network; tinynet's layers are inverted well with 100, the first with 10. Random numbers are those that
the course draws: the same seed of `np.random` gives its pictures. `model` is anything with PretrainedCNN's `forward`,
`backward` and `data`.
"""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np

from ..errors import ModelError, SettingError
from .numpy_pictures import Array, blur_image, deprocess_image, need_arrays, preprocess_image
from .pretrained_cnn import PretrainedCNN, check_labels
from .shown import show

__all__ = [
    "PretrainedCNN",
    "blur_image",
    "compute_saliency_maps",
    "create_class_visualization",
    "deepdream",
    "deprocess_image",
    "invert_features",
    "make_fooling_image",
    "preprocess_image",
]

SLACK = 64  # a picture from 0 to 255 that nothing was subtracted from is further out


def compute_saliency_maps(
    X: Array, y: Array, model: PretrainedCNN, through: Literal["score", "loss"] = "score"
) -> Array:
    """Saliency maps (N, H, W) of pictures X (N, 3, H, W) and their labels y (N,)."""
    if through not in ("score", "loss"):
        raise SettingError(f"through is 'score' or 'loss'; got {through!r}")
    scores, cache = model.forward(_pictures(X, model), mode="test")
    dscores = _one_hot(scores, check_labels(y, scores))
    if through == "loss":
        p = np.exp(scores - scores.max(axis=1, keepdims=True))
        dscores = (p / p.sum(axis=1, keepdims=True) - dscores) / len(scores)
    dX, _ = model.backward(dscores, cache)
    maps: Array = np.abs(dX).max(axis=1)
    return maps


def make_fooling_image(
    X: Array,
    target_y: int,
    model: PretrainedCNN,
    *,
    learning_rate: float = 200.0,
    num_iterations: int = 200,
) -> Array:
    """A picture (1, 3, H, W) near X (1, 3, H, W) that the model takes for class target_y. X stays."""
    X_fooling = _picture(X, model)
    for _ in range(num_iterations):
        scores, cache = model.forward(X_fooling, mode="test")
        dscores = _one_hot(scores, check_labels([target_y], scores))
        if scores[0].argmax() == target_y:
            return X_fooling
        X_fooling = X_fooling + learning_rate * model.backward(dscores, cache)[0]
    told = int(model.forward(X_fooling, mode="test")[0].argmax())
    if told != target_y:
        warnings.warn(
            f"after {num_iterations} steps the model says class {told}, not {target_y}; a larger learning_rate "
            "may do",
            stacklevel=2,
        )
    return X_fooling


def create_class_visualization(
    target_y: int,
    model: PretrainedCNN,
    *,
    learning_rate: float = 10000,
    blur_every: int = 1,
    l2_reg: float = 1e-6,
    max_jitter: int = 4,
    num_iterations: int = 100,
    show_every: int = 25,
) -> Array:
    """A picture (1, 3, H, W) of class target_y, from noise. blur_every, show_every: 0 for never."""
    mean = model.data["mean_image"]
    X = np.random.randn(1, *mean.shape)
    for t in range(num_iterations):
        ox, oy = np.random.randint(-max_jitter, max_jitter + 1, 2)
        X = _rolled(X, ox, oy)
        scores, cache = model.forward(X, mode="test")
        dX, _ = model.backward(_one_hot(scores, check_labels([target_y], scores)), cache)
        X = X + learning_rate * (dX - 2 * l2_reg * X)
        X = np.clip(_rolled(X, -ox, -oy), -mean, 255 - mean)
        if blur_every and t % blur_every == 0:
            X = blur_image(X)
        if show_every and t % show_every == 0:
            show([[deprocess_image(X, mean)]], [f"t = {t}"], (3, 3))
    return X


def invert_features(
    target_feats: Array,
    layer: int,
    model: PretrainedCNN,
    *,
    learning_rate: float = 10000,
    num_iterations: int = 500,
    l2_reg: float = 1e-7,
    blur_every: int = 1,
    show_every: int = 50,
) -> Array:
    """A picture (1, 3, H, W), from noise, that gives the features target_feats (1, C, H', W') at a layer.

    blur_every, show_every: 0 for never.
    """
    mean = model.data["mean_image"]
    X = np.random.randn(1, *mean.shape)
    for t in range(num_iterations):
        feats, cache = model.forward(X, end=layer, mode="test")
        if feats.shape != np.shape(target_feats):
            raise ModelError(
                f"target_feats are (1, C, H, W) of layer {layer}: {feats.shape}; got {np.shape(target_feats)}"
            )
        dX, _ = model.backward(2 * (feats - target_feats), cache)
        X = np.clip(X - learning_rate * (dX + 2 * l2_reg * X), -mean, 255 - mean)
        if blur_every and t % blur_every == 0:
            X = blur_image(X)
        if show_every and (t % show_every == 0 or t + 1 == num_iterations):
            show([[deprocess_image(X, mean)]], [f"t = {t}"], (3, 3))
    return X


def deepdream(
    X: Array,
    layer: int,
    model: PretrainedCNN,
    *,
    learning_rate: float = 5.0,
    max_jitter: int = 16,
    num_iterations: int = 100,
    show_every: int = 25,
) -> Array:
    """The picture X (1, 3, H, W), less the mean pixel, as a layer would have it. X stays. show_every: 0 for never."""
    X = _picture(X, model)
    mean = model.data["mean_image"]
    pixel = mean.mean(axis=(1, 2), keepdims=True)
    for t in range(num_iterations):
        ox, oy = np.random.randint(-max_jitter, max_jitter + 1, 2)
        X = _rolled(X, ox, oy)
        feats, cache = model.forward(X, end=layer, mode="test")
        X = X + learning_rate * model.backward(feats, cache)[0]
        X = np.clip(_rolled(X, -ox, -oy), -pixel, 255 - pixel)
        if show_every and (t == 0 or (t + 1) % show_every == 0):
            show([[deprocess_image(X, mean, mean="pixel")]], [f"t = {t + 1}"], (8, 8))
    return X


def _one_hot(scores: Array, y: Array) -> Array:
    found = np.zeros_like(scores)
    found[np.arange(len(scores)), y] = 1
    return found


def _pictures(X: Any, model: PretrainedCNN) -> Array:
    """A copy of pictures X (N, 3, H, W), which are less the mean image, give or take some steps of fooling."""
    need_arrays(X)
    pixel = model.data["mean_image"].mean(axis=(1, 2), keepdims=True)
    low, high = (X + pixel).min(initial=0), (X + pixel).max(initial=0)
    if not -SLACK <= low <= high <= 255 + SLACK:
        raise ModelError(
            f"X (N, 3, H, W) is 0 to 255 less the mean image, {-pixel.max():.0f} to {255 - pixel.min():.0f}; "
            f"got {np.min(X):.4g} to {np.max(X):.4g}: preprocess_image does that"
        )
    copy: Array = np.array(X)
    return copy


def _picture(X: Any, model: PretrainedCNN) -> Array:
    """A copy of one picture X (1, 3, H, W)."""
    pictures = _pictures(X, model)
    if len(pictures) != 1:
        raise ModelError(f"X is one picture (1, 3, H, W); got {pictures.shape}: take X[i : i + 1]")
    return pictures


def _rolled(X: Array, ox: int, oy: int) -> Array:
    rolled: Array = np.roll(X, (ox, oy), (-1, -2))
    return rolled
