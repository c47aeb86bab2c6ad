"""Files to pixels and back: formats, modes, limits, damage, and saving that is all or nothing."""

from __future__ import annotations

import errno
import io
import json
import os
import resource
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile, PngImagePlugin

import pixelgrad as pg
from pixelgrad import images
from pixelgrad.errors import ImageError, NotFound, OutputError

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
GREY = RGB[..., 0]


def opened(path) -> np.ndarray:
    """Pixels as an array (h, w, 3) in 0…255, of which nothing is rounded."""
    pixels = pg.open_image(path)
    assert pixels.dtype == torch.float32
    assert pixels.dim() == 4
    assert pixels.shape[:2] == (1, 3)
    return (pixels[0].permute(1, 2, 0).double() * 255).numpy()


def same(path, expected) -> None:
    expected = np.asarray(expected, dtype=np.float64)
    if expected.ndim == 2:
        expected = np.repeat(expected[..., None], 3, axis=2)
    np.testing.assert_allclose(opened(path), expected, atol=1e-4)


def facts(path) -> tuple[str | None, str, int]:
    """Format, mode and number of frames, as Pillow sees the file."""
    with Image.open(path) as image:
        return image.format, image.mode, getattr(image, "n_frames", 1)


def decoded(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *before: bytes) -> bytes:
    """A PNG made by hand, for what Pillow does not write. rows: the filter bytes and samples."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(before) + body


def rows_of(samples: np.ndarray) -> bytes:
    """The rows of a 16-bit PNG, unfiltered."""
    return b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)


# ---------------------------------------------------------------------- formats and modes


@pytest.mark.parametrize(
    ("ending", "options"),
    [
        (".png", {}),
        (".bmp", {}),
        (".tiff", {}),
        (".tif", {"compression": "tiff_lzw"}),
        (".webp", {"lossless": True}),
    ],
)
def test_lossless_formats_give_the_exact_pixels(tmp_path, ending, options):
    file = tmp_path / f"picture{ending}"
    Image.fromarray(RGB).save(file, **options)
    same(file, RGB)


def test_a_jpeg_gives_its_decoded_pixels_and_they_are_close_to_the_original(tmp_path):
    y, x = np.mgrid[0:40, 0:60]
    smooth = np.stack([4 * x, 6 * y, 120 + x + y], axis=2).astype(np.uint8)
    file = tmp_path / "picture.jpg"
    Image.fromarray(smooth).save(file, quality=95, subsampling=0)
    same(file, decoded(file))
    assert np.abs(opened(file) - smooth).max() < 8


@pytest.mark.parametrize("ending", [".gif", ".webp", ".png", ".tiff"])
def test_of_several_frames_the_first_is_read(tmp_path, ending):
    first, second = (Image.new("RGB", (6, 4), colour) for colour in ((255, 0, 0), (0, 0, 255)))
    options = {"lossless": True} if ending == ".webp" else {}
    file = tmp_path / f"film{ending}"
    first.save(file, save_all=True, append_images=[second], **options)
    assert facts(file)[2] == 2
    same(file, np.asarray(first))


def test_the_ending_does_not_matter_for_reading(tmp_path):
    file = tmp_path / "really-a-png.jpg"
    Image.fromarray(RGB).save(file, "PNG")
    same(file, RGB)


@pytest.mark.parametrize("ending", [".png", ".tiff", ".jpg", ".bmp"])
def test_greyscale_has_three_equal_channels(tmp_path, ending):
    file = tmp_path / f"grey{ending}"
    Image.new("L", (8, 8), 77).save(file)
    same(file, np.full((8, 8), 77))


@pytest.mark.parametrize("ending", [".png", ".tiff", ".bmp", ".gif"])
def test_one_bit_is_black_and_white(tmp_path, ending):
    bits = GREY > 127
    file = tmp_path / f"bits{ending}"
    Image.fromarray(bits).save(file)
    same(file, bits * 255.0)


@pytest.mark.parametrize("ending", [".png", ".tiff", ".bmp", ".gif"])
def test_a_palette_gives_its_colours(tmp_path, ending):
    colours = np.array([[255, 0, 0], [0, 200, 10], [3, 5, 250]], dtype=np.uint8)
    indices = (GREY % 3).astype(np.uint8)
    image = Image.new("P", (7, 5))
    image.putdata(indices.ravel().tolist())
    image.putpalette(colours.ravel().tolist())
    file = tmp_path / f"palette{ending}"
    image.save(file)
    same(file, colours[indices])


def palette_image() -> Image.Image:
    image = Image.new("P", (3, 2))
    image.putpalette([255, 0, 0, 0, 200, 0, 0, 0, 255])
    image.putdata([0, 1, 2, 2, 1, 0])
    return image


def test_a_transparent_palette_colour_becomes_white(tmp_path):
    for ending in (".png", ".gif"):
        file = tmp_path / f"palette{ending}"
        palette_image().save(file, transparency=1)
        red, white, blue = [255, 0, 0], [255, 255, 255], [0, 0, 255]
        same(file, [[red, white, blue], [blue, white, red]])


def test_a_half_transparent_palette_colour_is_mixed_with_white(tmp_path):
    file = tmp_path / "palette.png"
    palette_image().save(file, transparency=bytes([255, 51, 0]))
    red, white, mixed = [255, 0, 0], [255, 255, 255], [204, 244, 204]
    same(file, [[red, mixed, white], [white, mixed, red]])


@pytest.mark.parametrize("ending", [".png", ".tiff", ".webp"])
def test_transparency_lies_on_white(tmp_path, ending):
    image = Image.new("RGBA", (4, 3), (255, 0, 0, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))  # its hidden black must not show
    image.putpixel((2, 0), (10, 20, 30, 51))  # a fifth
    file = tmp_path / f"alpha{ending}"
    image.save(file, **({"lossless": True, "exact": True} if ending == ".webp" else {}))
    expected = np.tile(np.array([255, 0, 0]), (3, 4, 1))
    expected[0, 1] = 255
    expected[0, 2] = [206, 208, 210]
    same(file, expected)


def test_grey_with_alpha_lies_on_white(tmp_path):
    image = Image.new("LA", (3, 2), (100, 255))
    image.putpixel((0, 0), (0, 0))
    image.putpixel((1, 1), (0, 51))
    file = tmp_path / "grey-alpha.png"
    image.save(file)
    same(file, [[255, 100, 100], [100, 204, 100]])


@pytest.mark.parametrize(("mode", "key"), [("RGB", (9, 8, 7)), ("L", 9), ("1", 0)])
def test_a_colour_that_stands_for_transparent_becomes_white(tmp_path, mode, key):
    image = Image.new(mode, (3, 2), 1 if mode == "1" else "red")
    image.putpixel((1, 0), key)
    file = tmp_path / "key.png"
    image.save(file, transparency=key)
    expected = np.array(image.convert("RGB"))
    expected[0, 1] = 255
    same(file, expected)


def test_cmyk_jpeg_and_tiff(tmp_path):
    colours = {
        "white": (0, 0, 0, 0),
        "red": (0, 255, 255, 0),
        "blue": (255, 255, 0, 0),
        "black": (0, 0, 0, 255),
    }
    for name, cmyk in colours.items():
        expected = np.asarray(Image.new("RGB", (16, 16), name))
        for ending in (".tiff", ".jpg"):
            file = tmp_path / f"{name}{ending}"
            Image.new("CMYK", (16, 16), cmyk).save(file)
            assert facts(file)[1] == "CMYK"
            assert np.abs(opened(file) - expected).max() < (4 if ending == ".jpg" else 1e-4)


WIDE = np.array([[0, 128, 129, 257], [1000, 32768, 65406, 65535]], dtype=np.uint16)


@pytest.mark.parametrize("order", ["<u2", ">u2"])
@pytest.mark.parametrize("ending", [".png", ".tiff"])
def test_sixteen_bit_greys_are_scaled_not_cut_off(tmp_path, ending, order):
    file = tmp_path / f"wide{ending}"
    Image.fromarray(WIDE.astype(order)).save(file)
    assert facts(file)[1].startswith("I")
    same(file, (WIDE / 257.0).round())


@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (6, 4), (4, 2)])
def test_sixteen_bit_colours_and_alpha_are_right_to_one_level(tmp_path, colour, channels):
    samples = np.random.default_rng(1).integers(0, 65536, (4, 5, channels))
    if channels in (2, 4):
        samples[..., -1] = 65535
    file = tmp_path / "wide.png"
    file.write_bytes(png(5, 4, 16, colour, rows_of(samples)))
    shown = samples[..., :3] if channels > 2 else np.repeat(samples[..., :1], 3, axis=2)
    assert np.abs(opened(file) - shown / 257).max() <= 1 + 1e-4


def test_a_transparent_sixteen_bit_grey_becomes_white(tmp_path):
    file = tmp_path / "wide.png"
    file.write_bytes(png(4, 2, 16, 0, rows_of(WIDE), chunk(b"tRNS", struct.pack(">H", 1000))))
    expected = (WIDE / 257.0).round()
    expected[1, 0] = 255
    same(file, expected)


def test_floating_point_greys_from_0_to_1_are_read_and_others_refused(tmp_path):
    file = tmp_path / "float.tiff"
    Image.fromarray(np.array([[0, 0.5], [0.2, 1]], dtype=np.float32)).save(file)
    same(file, [[0, 128], [51, 255]])
    for bad in (1.5, -0.1, float("nan")):
        Image.fromarray(np.array([[0, bad], [0.2, 1]], dtype=np.float32)).save(file)
        with pytest.raises(ImageError, match="float"):
            pg.open_image(file)


STORED = {  # what the camera stored, for an upright picture
    1: lambda up: up,
    2: np.fliplr,
    3: lambda up: np.rot90(up, 2),
    4: np.flipud,
    5: lambda up: up.swapaxes(0, 1),
    6: lambda up: np.rot90(up, 1),
    7: lambda up: np.rot90(up, 2).swapaxes(0, 1),
    8: lambda up: np.rot90(up, -1),
}


@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp", ".tiff"])
@pytest.mark.parametrize("orientation", STORED)
def test_pictures_are_turned_as_exif_says(tmp_path, orientation, ending):
    corners = np.array([[[255, 0, 0], [0, 200, 0]], [[0, 0, 255], [240, 240, 10]]], dtype=np.uint8)
    upright = corners.repeat(16, axis=0).repeat(24, axis=1)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {".jpg": {"quality": 100, "subsampling": 0}, ".webp": {"lossless": True}}.get(ending, {})
    file = tmp_path / f"turned{ending}"
    Image.fromarray(np.ascontiguousarray(STORED[orientation](upright))).save(file, exif=exif, **options)
    found = opened(file)
    assert found.shape == upright.shape
    assert np.abs(found - upright).max() < 6


def test_damaged_exif_data_is_no_reason_not_to_read_the_picture(tmp_path):
    file = tmp_path / "exif.jpg"
    Image.new("RGB", (16, 16), "white").save(file, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\xff\x01\x12\0\x03\xff")
    same(file, np.full((16, 16), 255))


# ---------------------------------------------------------------------- samples


@pytest.mark.parametrize("name", ["cat", "coffee", "astronaut"])
def test_samples_come_with_the_install(name):
    assert min(pg.open_image(f"sample:{name}").shape[2:]) >= 224


def test_an_unknown_sample_is_answered_with_the_nearest():
    with pytest.raises(NotFound, match="astronaut"):
        pg.open_image("sample:astronut")


# ---------------------------------------------------------------------- limits


def test_100_megapixels_are_refused_before_anything_is_decoded(tmp_path, monkeypatch):
    row = b"\0" + bytes(10_000 // 8)
    file = tmp_path / "large.png"
    file.write_bytes(png(10_000, 10_000, 1, 0, row * 10_000))

    def load(self):
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    with pytest.raises(ImageError, match=r"10000×10000.*64,000,000"):
        pg.open_image(file)


@pytest.mark.parametrize("side", [15_000, 100_000, 2**31 - 1])
def test_a_header_that_promises_too_much_is_refused(tmp_path, side):
    file = tmp_path / "bomb.png"
    file.write_bytes(png(side, side, 8, 2, b""))
    with pytest.raises(ImageError, match="64,000,000 pixels"):
        pg.open_image(file)


def test_the_pixel_limit_itself_is_allowed(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MAX_PIXELS", 35)
    Image.fromarray(RGB).save(tmp_path / "a.png")
    same(tmp_path / "a.png", RGB)
    Image.new("RGB", (6, 6)).save(tmp_path / "b.png")
    with pytest.raises(ImageError, match="35 pixels"):
        pg.open_image(tmp_path / "b.png")


def test_the_byte_limit_itself_is_allowed_and_one_more_is_refused_unopened(tmp_path, monkeypatch):
    file = tmp_path / "a.png"
    Image.fromarray(RGB).save(file)
    size = file.stat().st_size
    monkeypatch.setattr(images, "MAX_BYTES", size)
    same(file, RGB)
    monkeypatch.setattr(images, "MAX_BYTES", size - 1)
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(ImageError, match=f"{size} bytes"):
        pg.open_image(file)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1)])
def test_a_picture_one_pixel_wide_is_refused(tmp_path, size):
    file = tmp_path / "thin.png"
    Image.new("RGB", size).save(file)
    with pytest.raises(ImageError, match=f"{size[0]}×{size[1]}"):
        pg.open_image(file)


def test_two_by_two_is_enough(tmp_path):
    Image.fromarray(RGB[:2, :2]).save(tmp_path / "least.png")
    same(tmp_path / "least.png", RGB[:2, :2])


BOMB = zlib.compress(bytes(80 * 2**20))


@pytest.mark.parametrize(
    "text", [chunk(b"zTXt", b"key\0\0" + BOMB), chunk(b"iTXt", b"key\0\1\0\0\0" + BOMB)], ids=["zTXt", "iTXt"]
)
def test_texts_that_unpack_to_80_megabytes_are_refused(tmp_path, text):
    file = tmp_path / "bomb.png"
    file.write_bytes(png(4, 4, 8, 0, (b"\0" + bytes(4)) * 4, text))
    with pytest.raises(ImageError):
        pg.open_image(file)


# ---------------------------------------------------------------------- no pictures


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("text.png", b"I am not a picture.\n" * 20),
        ("empty.png", b""),
        ("drawing.svg", b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>'),
        ("drawing.png", b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"></svg>'),
        ("start.png", b"\x89PNG\r\n\x1a\n"),
        ("map.ppm", b"P6\n4 4\n255\n" + bytes(48)),
        ("script.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"),
    ],
)
def test_what_is_no_picture_of_the_allowed_formats_is_refused(tmp_path, name, data):
    file = tmp_path / name
    file.write_bytes(data)
    with pytest.raises(ImageError, match=name):
        pg.open_image(file)


def test_a_missing_file_a_folder_and_a_device_are_refused(tmp_path):
    with pytest.raises(ImageError, match="no such file"):
        pg.open_image(tmp_path / "none.png")
    with pytest.raises(ImageError, match="not a file"):
        pg.open_image(tmp_path)
    with pytest.raises(ImageError, match="not a file"):
        pg.open_image("/dev/zero")
    with pytest.raises(ImageError):
        pg.open_image("")


def test_a_pipe_is_refused_and_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match="not a file"):
        pg.open_image(tmp_path / "pipe.png")


def test_paths_that_no_file_can_have_are_no_damage(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / ("x" * 300 + ".png"), tmp_path / "file" / "below.png"):
        with pytest.raises(ImageError) as caught:
            pg.open_image(path)
        assert "damaged" not in str(caught.value)


def test_a_file_that_may_not_be_read_says_so(tmp_path, monkeypatch):
    file = tmp_path / "secret.png"
    Image.fromarray(RGB).save(file)
    file.chmod(0)
    if os.access(file, os.R_OK):  # root may read everything
        ordinary = open

        def refuse(path, *args, **kwargs):
            if os.fspath(path) == os.fspath(file):
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return ordinary(path, *args, **kwargs)

        monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(ImageError, match="permission denied"):
        pg.open_image(file)


def encoded(kind: str) -> bytes:
    data = io.BytesIO()
    noise = np.random.default_rng(3).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 1
    options = {"exif": exif} if kind in ("JPEG", "PNG", "WEBP") else {}
    Image.fromarray(noise).save(data, kind, **options)
    return data.getvalue()


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("kind", images.FORMATS)
def test_a_truncated_picture_is_refused(tmp_path, kind, kept):
    data = encoded(kind)
    file = tmp_path / "cut"
    file.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(ImageError, match="cut"):
        pg.open_image(file)


@pytest.mark.parametrize("kind", images.FORMATS)
def test_flipped_bytes_give_a_picture_or_an_image_error(tmp_path, kind):
    data = encoded(kind)
    random = np.random.default_rng(4)
    file = tmp_path / "flipped"
    places = np.concatenate(
        [np.arange(min(150, len(data))), random.integers(0, len(data), 50), np.arange(-60, 0)]
    )
    for place in places:
        changed = bytearray(data)
        changed[place] ^= int(random.integers(1, 256))
        file.write_bytes(changed)
        try:
            pixels = pg.open_image(file)
        except ImageError:
            continue
        assert pixels.shape[1] == 3


# ---------------------------------------------------------------------- saving


def test_pixels_are_rounded_to_the_nearest_and_clipped():
    values = (
        torch.tensor([-0.2, 0.49 / 255, 0.51 / 255, 0.5, 254.51 / 255, 1.7]).view(1, 1, 6).expand(3, 1, 6)
    )
    assert np.asarray(images.to_image(values))[0, :, 0].tolist() == [0, 0, 1, 128, 255, 255]


@pytest.mark.parametrize("ending", [".png", ".PNG", ".bmp", ".tiff"])
def test_8_bit_values_come_back_exactly(tmp_path, ending):
    levels = torch.arange(256).view(1, 16, 16).expand(3, 16, 16)
    pixels = torch.stack([levels[0], levels[0].flip(0), levels[0].T]).float().div(255)
    file = tmp_path / f"levels{ending}"
    images.save(images.to_image(pixels), file)
    assert torch.equal(pg.open_image(file)[0], pixels)


@pytest.mark.parametrize("ending", [".jpg", ".jpeg", ".webp", ".gif"])
def test_other_formats_are_written_too(tmp_path, ending):
    file = tmp_path / f"picture{ending}"
    images.save(Image.new("RGB", (8, 8), (200, 30, 60)), file)
    assert facts(file)[0] == {".jpg": "JPEG"}.get(ending, ending[1:].upper())
    assert np.abs(opened(file) - [200, 30, 60]).max() < 8


@pytest.mark.parametrize("name", ["picture.xyz", "picture", "picture.pdf", "picture.png.txt", ".png"])
def test_an_unknown_ending_names_the_known_ones(tmp_path, name):
    with pytest.raises(OutputError, match=r"\.png"):
        images.save(Image.new("RGB", (4, 4)), tmp_path / name)
    assert os.listdir(tmp_path) == []


def test_a_missing_folder_a_folder_and_a_file_for_a_folder_are_refused(tmp_path):
    picture = Image.new("RGB", (4, 4))
    with pytest.raises(OutputError, match="no such folder"):
        images.save(picture, tmp_path / "none" / "a.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        images.save(picture, tmp_path / "folder.png")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="not a directory"):
        images.save(picture, tmp_path / "file" / "a.png")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder.png"]


def test_a_name_that_is_too_long_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match="too long"):
        images.save(Image.new("RGB", (4, 4)), tmp_path / ("x" * 300 + ".png"))


def test_the_longest_name_that_the_disk_takes_can_be_saved(tmp_path):
    file = tmp_path / ("x" * 251 + ".png")
    images.save(Image.fromarray(RGB), file)
    same(file, RGB)


@pytest.mark.parametrize(("ending", "width"), [(".webp", 17_000), (".jpg", 70_000)])
def test_a_picture_that_is_too_large_for_its_format_is_an_output_error(tmp_path, ending, width):
    with pytest.raises(OutputError, match="wide"):
        images.save(Image.new("RGB", (width, 2)), tmp_path / f"wide{ending}")
    assert os.listdir(tmp_path) == []


class Full(io.BytesIO):
    """A file on a full disk: takes a few bytes and fails."""

    def write(self, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def full_disk(monkeypatch):
    def fdopen(handle, *_):
        os.close(handle)
        return Full()

    monkeypatch.setattr(os, "fdopen", fdopen)


def no_replacing(monkeypatch):
    def replace(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", replace)


def no_permission(monkeypatch):
    def mkstemp(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("tempfile.mkstemp", mkstemp)


@pytest.mark.parametrize(
    ("fault", "words"),
    [(full_disk, "no space left"), (no_replacing, "no space left"), (no_permission, "permission denied")],
)
@pytest.mark.parametrize("old", [b"old", None])
def test_a_failing_write_leaves_everything_as_it_was(tmp_path, monkeypatch, fault, words, old):
    file = tmp_path / "a.png"
    if old is not None:
        file.write_bytes(old)
    fault(monkeypatch)
    with pytest.raises(OutputError, match=words):
        images.save(Image.fromarray(RGB), file)
    assert os.listdir(tmp_path) == (["a.png"] if old else [])
    assert old is None or file.read_bytes() == old


def test_a_file_system_that_takes_no_more_leaves_everything_as_it_was(tmp_path):
    file = tmp_path / "a.png"
    file.write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OutputError, match="too large"):
            images.write({file: bytes(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(tmp_path) == ["a.png"]
    assert file.read_bytes() == b"old"


def test_an_interruption_while_writing_leaves_no_temporary_file(tmp_path, monkeypatch):
    def replace(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        images.save(Image.fromarray(RGB), tmp_path / "a.png")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_locked_folder_is_an_output_error(tmp_path):
    for mode in (0o500, 0o000):
        folder = tmp_path / f"locked-{mode}"
        folder.mkdir()
        folder.chmod(mode)
        with pytest.raises(OutputError, match="permission denied"):
            images.save(Image.fromarray(RGB), folder / "a.png")
        folder.chmod(0o700)


def test_a_saved_file_has_the_ordinary_permissions(tmp_path):
    before = os.umask(0o027)
    try:
        images.save(Image.fromarray(RGB), tmp_path / "a.png")
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    assert (tmp_path / "a.png").stat().st_mode & 0o777 == 0o640


# ---------------------------------------------------------------------- recipes


@pytest.mark.parametrize(
    "recipe",
    [
        {},
        {"a": 1, "b": [0.1, None, True], "c": {"d": "e"}},
        {"words": 'Füße, 猫, 🐈, "quotes", \\, line\nbreak, \x00'},
        {"path": b"\xff.png".decode("utf-8", "surrogateescape")},
        {"many": list(range(50_000))},
    ],
    ids=["empty", "plain", "unicode", "odd-path", "long"],
)
def test_a_recipe_comes_back(tmp_path, recipe):
    file = tmp_path / "a.png"
    images.save(Image.fromarray(RGB), file, recipe)
    assert images.recipe(file) == recipe
    same(file, RGB)


def test_a_recipe_of_very_many_pictures_leaves_the_saved_file_readable(tmp_path):
    file = tmp_path / "a.png"
    recipe = {"images": [{"path": f"photos/{i:06}.png", "sha256": f"{i:064}"} for i in range(12_000)]}
    images.save(Image.fromarray(RGB), file, recipe)
    same(file, RGB)
    assert images.recipe(file) == recipe


def test_pictures_without_a_recipe_say_so(tmp_path):
    images.save(Image.fromarray(RGB), tmp_path / "a.png")
    images.save(Image.fromarray(RGB), tmp_path / "a.jpg", {"a": 1})
    for name in ("a.png", "a.jpg"):
        with pytest.raises(ImageError, match="no recipe"):
            images.recipe(tmp_path / name)


@pytest.mark.parametrize(
    "text", ["", "{", '"text"', "[1]", "null", "[" * 100_000], ids=lambda t: t[:6] or "empty"
)
def test_a_damaged_recipe_says_so(tmp_path, text):
    info = PngImagePlugin.PngInfo()
    info.add_itxt(images.RECIPE, text)
    file = tmp_path / "a.png"
    Image.fromarray(RGB).save(file, pnginfo=info)
    with pytest.raises(ImageError, match="damaged recipe"):
        images.recipe(file)


def test_a_recipe_is_plain_json_under_one_key(tmp_path):
    """Other programs can read it."""
    file = tmp_path / "a.png"
    images.save(Image.fromarray(RGB), file, {"a": "ü"})
    with Image.open(file) as image:
        assert json.loads(image.text["pixelgrad"]) == {"a": "ü"}
