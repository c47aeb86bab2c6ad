"""Pictures in the course's units: X = (x − μ) / σ of pixels x in [0, 1], with ImageNet's mean and standard deviation.

`preprocess` and `deprocess` go there and back; `jitter` and `blur_image` are what class visualization does between
steps.
"""

from __future__ import annotations

import os
import pickle
import zipfile
from typing import IO, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional as F

from ..errors import DataError, ImageError, ModelError, SettingError
from ..preprocessing import Preprocessing, sides
from ..transforms import blur

SQUEEZENET_MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
SQUEEZENET_STD = np.array([0.229, 0.224, 0.225], dtype=np.float32)
IMAGENET_VAL = "cs231n/datasets/imagenet_val_25.npz"  # where the course's script puts it


def preprocess(img: Image.Image, size: int = 224) -> Tensor:
    """A PIL image as X (1, 3, H, W), its shorter side brought to `size`."""
    if not isinstance(img, Image.Image):
        raise ImageError(
            f"img is a PIL image; got {_what(img)}: Image.fromarray makes one of an array (H, W, 3)"
        )
    pixels = Preprocessing(resize=sides("size", size))(img.convert("RGB"))
    return (pixels - _per_colour(pixels, SQUEEZENET_MEAN)) / _per_colour(pixels, SQUEEZENET_STD)


def deprocess(img: Tensor, should_rescale: bool = True) -> Image.Image:
    """X (1, 3, H, W) as a PIL image: stretched to the whole range, or else as it is, cut to it."""
    one_picture(img, "img")
    # the course divides by 1/σ; σ times would round to other 8 bits here and there
    x = img.detach()[0] / _per_colour(img, 1 / SQUEEZENET_STD) + _per_colour(img, SQUEEZENET_MEAN)
    image: Image.Image = F.to_pil_image(rescale(x) if should_rescale else x.clamp(0, 1))
    return image


def rescale(x: Tensor) -> Tensor:
    """Stretched to 0…1; zero where all values are the same."""
    low, high = x.min(), x.max()
    return (x - low) / (high - low) if high > low else torch.zeros_like(x)


def blur_image(X: Tensor, sigma: float = 1) -> Tensor:
    """X (N, 3, H, W) blurred by a Gaussian, in place."""
    need_pictures(X)
    if not sigma > 0:
        raise SettingError(f"sigma is above 0 pixels; got {sigma!r}")
    with torch.no_grad():
        return X.copy_(blur(X, sigma))


def jitter(X: Tensor, ox: int, oy: int) -> Tensor:
    """X (N, 3, H, W) rolled by ox pixels to the right and oy down; what leaves comes in opposite."""
    need_pictures(X)
    return X.roll((oy, ox), (2, 3))


def load_imagenet_val(
    num: int | None = None, path: str | os.PathLike[str] = IMAGENET_VAL
) -> tuple[np.ndarray, np.ndarray, dict[int, str]]:
    """The course's validation pictures: X (N, H, W, 3) of 8 bits, y (N,), and the classes' names by index.

    num: only the first so many. The file is an .npz with X, y and label_map; nothing in it is run.
    """
    try:
        with zipfile.ZipFile(path) as file:
            X, y, names = (_member(file, name) for name in ("X", "y", "label_map"))
    except FileNotFoundError:
        raise DataError(
            f"no file {os.fspath(path)!r}: the course's get_imagenet_val.sh fetches it, path= names another"
        ) from None
    except Exception as error:  # whatever a foreign file makes numpy raise
        raise DataError(f"{os.fspath(path)!r} is no .npz with X, y and label_map: {error}") from error
    if names.dtype == object and names.ndim == 0:
        names = names.item()
    if X.ndim != 4 or X.shape[3] != 3 or y.shape != X.shape[:1] or len(names) == 0:
        raise DataError(f"X is (N, H, W, 3) and y is (N,); {os.fspath(path)!r} has {X.shape} and {y.shape}")
    found = names.items() if isinstance(names, dict) else enumerate(names)
    return X[:num], y[:num], {int(i): str(name) for i, name in found}


def _member(file: zipfile.ZipFile, name: str) -> Any:
    """An array of an .npz. One of objects is a pickle, which could run code: only arrays and plain values are read."""
    with file.open(f"{name}.npy") as member:
        version = np.lib.format.read_magic(member)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        _, _, kind = read[version](member)
        if kind.hasobject:
            return _PlainValues(member, encoding="latin1").load()
    with file.open(f"{name}.npy") as member:
        return np.lib.format.read_array(member, allow_pickle=False)


class _PlainValues(pickle.Unpickler):
    """Reads numpy's arrays and numbers, texts, lists and dictionaries."""

    # numpy's own functions have moved between its versions
    known = {  # noqa: RUF012
        "ndarray": np.ndarray,
        "dtype": np.dtype,
        "_reconstruct": np.empty(0).__reduce__()[0],
        "scalar": np.float64(0).__reduce__()[0],
    }

    def __init__(self, file: IO[bytes], encoding: str) -> None:
        super().__init__(file, encoding=encoding)

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] == "numpy" and name in self.known:
            return self.known[name]
        if (module, name) == ("_codecs", "encode"):  # how old pickles write bytes
            return lambda text, encoding: text.encode(encoding)
        raise pickle.UnpicklingError(f"label_map wants to run {module}.{name}")


def need_pictures(X: Any, name: str = "X") -> None:
    """Raise ModelError unless it is a tensor (N, 3, H, W) of floats."""
    if not isinstance(X, Tensor) or X.dim() != 4 or X.shape[1] != 3 or not X.is_floating_point():
        raise ModelError(f"{name} is a tensor (N, 3, H, W) of normalised floats; got {_what(X)}")


def one_picture(X: Any, name: str = "X") -> None:
    """Raise ModelError unless it is a tensor (1, 3, H, W) of floats."""
    need_pictures(X, name)
    if len(X) != 1:
        raise ModelError(f"{name} is one picture (1, 3, H, W); got {_what(X)}: take {name}[i : i + 1]")


def _what(value: Any) -> str:
    """The kind of something, and its shape where it has one."""
    if not hasattr(value, "shape"):
        return type(value).__name__
    kind = str(value.dtype).removeprefix("torch.")
    return f"{tuple(value.shape)} of {kind}"


def _per_colour(like: Tensor, values: np.ndarray) -> Tensor:
    return like.new_tensor(values.tolist())[:, None, None]
