"""Pictures in the numpy edition's units: X (N, 3, H, W) from 0 to 255 less the mean image, or less its mean pixel."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from ..errors import ModelError, SettingError

Array = np.ndarray
Mean = Literal["image", "pixel", "none"]


def blur_image(X: Array) -> Array:
    """X (N, 3, H, W) blurred very gently: the weights are (1 2 1; 2 188 2; 1 2 1) / 200, outside is 0."""
    need_arrays(X)
    padded = np.pad(X, ((0, 0), (0, 0), (1, 1), (1, 1)))
    rows = padded[:, :, :-2] + 2 * padded[:, :, 1:-1] + padded[:, :, 2:]
    soft = rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]  # (1 2 1; 2 4 2; 1 2 1)
    blurred: Array = (184 * X + soft) / 200
    return blurred


def preprocess_image(img: Array, mean_img: Array, mean: Mean = "image") -> Array:
    """A picture (H, W, 3) from 0 to 255 as X (1, 3, H, W), less the mean image, the mean pixel or nothing."""
    if np.ndim(img) != 3 or np.shape(img)[2] != 3:
        raise ModelError(f"img is an array (H, W, 3) from 0 to 255; got {np.shape(img)}")
    X = np.asarray(img, np.float32).transpose(2, 0, 1)[None]
    less: Array = X - _mean(mean_img, mean, X)
    return less


def deprocess_image(
    img: Array,
    mean_img: Array,
    mean: Mean = "image",
    renorm: bool = False,
) -> Array:
    """X (1, 3, H, W) or (3, H, W) as a picture (H, W, 3) of 8 bits; renorm: stretched to the whole range."""
    img = np.asarray(img)
    X = img[None] if img.ndim == 3 else img
    need_arrays(X)
    x = (X + _mean(mean_img, mean, X))[0].transpose(1, 2, 0)
    if renorm and x.max() > x.min():
        x = 255 * (x - x.min()) / (x.max() - x.min())
    picture: Array = np.clip(x, 0, 255).astype(np.uint8)
    return picture


def _mean(mean_img: Array, mean: str, X: Array) -> Array | float:
    if mean == "pixel":
        pixel: Array = mean_img.mean(axis=(1, 2), keepdims=True)
        return pixel
    if mean == "image":
        if mean_img.shape != X.shape[1:]:
            raise ModelError(
                f"the mean image is {mean_img.shape} and the picture {X.shape[1:]}; mean='pixel' takes any size"
            )
        return mean_img
    if mean != "none":
        raise SettingError(f"mean is 'image', 'pixel' or 'none'; got {mean!r}")
    return 0.0


def need_arrays(X: Any) -> None:
    """Raise ModelError unless it is an array (N, 3, H, W)."""
    if np.ndim(X) != 4 or np.shape(X)[1] != 3:
        raise ModelError(f"X is an array (N, 3, H, W) less the mean image; got {tuple(np.shape(X))}")
