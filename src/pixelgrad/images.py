"""Files to pixels and back.

`Pixels` are float tensors (n, 3, height, width), sRGB in [0, 1]. Reading takes JPEG, PNG, WebP, BMP, TIFF and
the first frame of a GIF; it turns the picture as its EXIF data says, lays transparency on white, and refuses
what is too large before decoding it. Writing is atomic: a file is there whole or not at all.
"""

from __future__ import annotations

import errno
import io
import json
import os
import tempfile
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from .errors import ImageError, NotFound, OutputError
from .preprocessing import Preprocessing

if TYPE_CHECKING:  # files are read and written without torch
    import torch
    from torch import Tensor

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
MAX_BYTES = 256 * 2**20
MAX_PIXELS = 64_000_000
TEMPORARY = ".pixelgrad-"  # what names of files begin with that are not yet whole
RECIPE = "pixelgrad"  # the key of the recipe among a PNG's texts
_quiet = threading.Lock()
_filters: list[warnings.catch_warnings[None]] = []  # those before, once more for each that is inside
SAMPLES = {"cat": "chelsea.png", "coffee": "coffee.png", "astronaut": "astronaut.png"}


class Prepared(Protocol):
    """Whatever knows how its pictures are prepared: a Classifier."""

    @property
    def preprocessing(self) -> Preprocessing: ...

    @property
    def device(self) -> torch.device: ...


def open_image(path: str | os.PathLike[str], model: Prepared | None = None) -> Tensor:
    """Pixels (1, 3, h, w) of a picture: prepared as the model's users do, or, without a model, as it is.

    `sample:cat`, `sample:coffee` and `sample:astronaut` are photographs that come with scikit-image.
    Raises ImageError: no such file, no picture, damaged, too large, too small.
    """
    image = read(path)
    if model is None:
        return Preprocessing()(image)
    return model.preprocessing(image).to(model.device)


def open_images(paths: Iterable[str | os.PathLike[str]], model: Prepared) -> Tensor:
    """Pixels (n, 3, h, w) of several pictures, prepared for one model."""
    import torch  # takes a second, so only when it is wanted

    return torch.cat([open_image(path, model) for path in paths])


def find(path: str | os.PathLike[str]) -> Path:
    """The file of a picture; `sample:NAME` is one of the samples."""
    name = os.fspath(path)
    if not name.startswith("sample:"):
        return Path(name)
    name = name.removeprefix("sample:")
    if name not in SAMPLES:
        raise NotFound("sample", name, SAMPLES, f"there are {', '.join(SAMPLES)}")
    import skimage

    return Path(skimage.__file__).parent / "data" / SAMPLES[name]


def read(path: str | os.PathLike[str], data: bytes | None = None) -> Image.Image:
    """A picture file as an upright RGB image. data: its bytes, where it lies inside another file; then the path is only
    what it is called."""
    try:
        if data is not None:
            _check_length(path, len(data))
        file = checked(path) if data is None else io.BytesIO(data)
        with quiet(), Image.open(file, formats=FORMATS) as image:
            _check_size(path, image.size)
            image.load()
            return _rgb(ImageOps.exif_transpose(image), path)
    except FileNotFoundError as error:
        raise ImageError(f"no such file: {path}") from error
    except PermissionError as error:
        raise ImageError(f"{path} may not be read: permission denied") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{path} is not a picture; {', '.join(FORMATS)} are read") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path} is too large; at most {MAX_PIXELS:,} pixels are read") from error
    except ImageError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EIO):
            raise ImageError(f"{path} cannot be read: {(error.strerror or '').lower()}") from error
        raise ImageError(f"{path} is damaged: {error}") from error


def checked(path: str | os.PathLike[str]) -> Path:
    """The file of a picture, if it is one and not too long to be read."""
    file = find(path)
    size = file.stat().st_size
    if not file.is_file():
        raise ImageError(f"{path} is not a file")
    _check_length(path, size)
    return file


@contextmanager
def quiet() -> Iterator[None]:
    """Inside, Pillow does not warn: the pixel count is checked here, and damage shows in the decoding. Several threads
    may be inside; warnings.catch_warnings alone would then leave the filters of one to another."""
    with _quiet:
        if not _filters:
            _filters.append(warnings.catch_warnings())
            _filters[0].__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")
        _filters.append(_filters[0])
    try:
        yield
    finally:
        with _quiet:
            _filters.pop()
            if len(_filters) == 1:
                _filters.pop().__exit__(None, None, None)


def _check_length(path: object, size: int) -> None:
    if size > MAX_BYTES:
        raise ImageError(f"{path} has {size:,} bytes; at most {MAX_BYTES:,} are read")


def _check_size(path: object, size: tuple[int, int]) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise ImageError(f"{path} is {width}×{height}; at most {MAX_PIXELS:,} pixels are read")
    if min(size) < 2:
        raise ImageError(f"{path} is {width}×{height} pixels; a picture has at least 2×2")


def _rgb(image: Image.Image, path: object) -> Image.Image:
    """Any mode as 8-bit RGB; transparency on white, 16-bit scaled."""
    if image.mode.startswith("I"):  # 16 bits per pixel, however Pillow stores them
        values = np.asarray(image).astype(np.float64).clip(0, 65535)
        values[values == image.info.get("transparency")] = 65535
        image = Image.fromarray((values / 257).round().astype(np.uint8))
    elif image.mode == "F":
        floats = np.asarray(image)
        if not (np.isfinite(floats).all() and floats.min() >= 0 and floats.max() <= 1):
            raise ImageError(f"{path} has floating-point pixels outside 0…1")
        image = Image.fromarray((floats * 255).round().astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def to_image(pixels: Tensor) -> Image.Image:
    """One image (3, h, w) in [0, 1] as 8-bit RGB, rounded to the nearest."""
    array = (pixels.detach().cpu().double().clamp(0, 1) * 255).round().byte()
    return Image.fromarray(array.permute(1, 2, 0).contiguous().numpy())


def to_pixels(image: Image.Image, kind: str, **options: Any) -> Tensor:
    """Pixels (1, 3, h, w) of an image after it was a file of that kind."""
    data = io.BytesIO()
    image.save(data, kind, **options)
    return Preprocessing()(Image.open(data))


def encode(image: Image.Image, path: str | os.PathLike[str], recipe: dict[str, Any] | None = None) -> bytes:
    """The bytes of a picture file in the format that the path's ending names; a PNG carries the recipe.

    Raises OutputError: an ending that is not known, a picture too large for the format.
    """
    path = Path(path)
    formats = Image.registered_extensions()
    kind = formats.get(path.suffix.lower())
    if kind not in FORMATS:
        known = sorted(end for end, name in formats.items() if name in FORMATS)
        got = f"the ending {path.suffix}" if path.suffix else "no ending"
        raise OutputError(f"{path} has {got}; {' '.join(known)} would do")
    options: dict[str, Any] = {}
    if kind == "PNG" and recipe is not None:
        info = PngImagePlugin.PngInfo()
        info.add_itxt(RECIPE, json.dumps(recipe))
        options["pnginfo"] = info
    elif kind == "JPEG":
        options["quality"] = 95
    data = io.BytesIO()
    try:
        image.save(data, kind, **options)
    except (OSError, ValueError) as error:
        size = f"{image.width}×{image.height}"
        raise OutputError(f"{path}: {kind} does not take a picture of {size}: {error}") from error
    return data.getvalue()


def save(image: Image.Image, path: str | os.PathLike[str], recipe: dict[str, Any] | None = None) -> None:
    """Write a picture, atomically. Raises OutputError: unknown ending, no such folder, no permission, disk full."""
    write({path: encode(image, path, recipe)})


def write(files: Mapping[str | os.PathLike[str], bytes]) -> None:
    """Write files, all or none: each into a neighbour first, and when all are there they take the names."""
    made: dict[str, Path] = {}
    try:
        for name, data in files.items():
            path = Path(name)
            if os.path.isdir(path):
                raise OutputError(f"{path} is a folder")
            made[_neighbour(path, data)] = path
        for temporary, path in made.items():
            os.replace(temporary, path)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        reason = (error.strerror or str(error)).lower()
        if isinstance(error, FileNotFoundError):
            reason = "no such folder"
        raise OutputError(f"{path} cannot be written: {reason}") from error
    finally:
        for temporary in made:
            Path(temporary).unlink(missing_ok=True)


def _neighbour(path: Path, data: bytes) -> str:
    """A file with this content in the same folder."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=TEMPORARY)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # as a file opened in the ordinary way
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return temporary


def recipe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The recipe that a saved PNG carries. Raises ImageError where there is none."""
    read(path)
    with Image.open(find(path), formats=FORMATS) as image:
        image.load()
        text = image.info.get(RECIPE)
    if text is None:
        raise ImageError(f"{path} carries no recipe; PNG files that pixelgrad wrote do")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ImageError(f"{path} carries a damaged recipe") from error
    if not isinstance(found, dict):
        raise ImageError(f"{path} carries a damaged recipe")
    return found
