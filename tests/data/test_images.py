"""Pictures of every kind and every defect, and what becomes of them."""

from __future__ import annotations

import io
import os
import struct
import threading
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from passerby.data import images
from passerby.data.images import decode_image, is_image_file, read_image_file, resize_image
from passerby.errors import ConfigError, DataError


def picture(height=40, width=20, seed=0):
    """A smooth random picture: JPEG keeps it nearly as it is."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 3, 3), dtype=np.uint8)
    return np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def encode(pixels, kind="PNG", **options):
    buffer = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_header(width, height):
    """A PNG that promises any size in 100 bytes."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP", "JPEG"])
def test_every_format_comes_out_as_rgb(kind, tmp_path):
    pixels = picture()
    encoded = encode(
        pixels, kind, **({"lossless": True} if kind == "WEBP" else {"quality": 98} if kind == "JPEG" else {})
    )
    (tmp_path / "a.dat").write_bytes(encoded)
    for source in (encoded, tmp_path / "a.dat", str(tmp_path / "a.dat"), Image.open(io.BytesIO(encoded))):
        decoded = decode_image(source)
        assert decoded.shape == (40, 20, 3)
        assert decoded.dtype == np.uint8
        assert np.abs(decoded.astype(int) - pixels).mean() < (4 if kind == "JPEG" else 1e-9)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(orientation):
    upright = picture(48, 24)
    # what a camera stores so that a viewer that obeys the tag shows `upright`
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    for kind, options, tolerance in (("JPEG", {"quality": 98, "subsampling": 0}, 4.0), ("PNG", {}, 1e-9)):
        decoded = decode_image(encode(np.ascontiguousarray(stored), kind, exif=exif, **options))
        assert decoded.shape == upright.shape
        assert np.abs(decoded.astype(int) - upright).mean() < tolerance


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_does_not_lose_the_picture():
    pixels = picture()
    for junk in (b"Exif\0\0" + b"\xff" * 40, b"Exif\0\0II*\0\xff\xff\xff\xff"):
        assert decode_image(encode(pixels, "JPEG", exif=junk)).shape == (40, 20, 3)


def test_cmyk_keeps_its_colours():
    red = Image.new("RGB", (16, 16), (220, 30, 30)).convert("CMYK")
    decoded = decode_image(encode(red, "JPEG", quality=95))
    assert np.abs(decoded.reshape(-1, 3).mean(0) - (220, 30, 30)).max() < 12


def test_sixteen_bits_keep_their_upper_byte():
    samples = np.arange(0, 65536, 256, dtype=np.uint16).reshape(16, 16) + 77
    decoded = decode_image(encode(Image.fromarray(samples)))
    np.testing.assert_array_equal(decoded[..., 0], samples >> 8)
    np.testing.assert_array_equal(decoded[..., 0], decoded[..., 2])
    wide = Image.fromarray(samples.astype(np.int32))
    np.testing.assert_array_equal(decode_image(wide)[..., 1], samples >> 8)


def test_palette_grey_and_bilevel():
    pixels = picture()
    palette = Image.fromarray(pixels).quantize(256)
    np.testing.assert_array_equal(decode_image(encode(palette)), np.array(palette.convert("RGB")))
    grey = Image.fromarray(pixels).convert("L")
    np.testing.assert_array_equal(decode_image(encode(grey))[..., 1], np.array(grey))
    assert set(np.unique(decode_image(encode(grey.convert("1"))))) <= {0, 255}


def test_transparency_is_laid_over_white():
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:, :4] = (200, 0, 0, 255)
    pixels[:, 4:6] = (0, 0, 0, 128)
    for source in (encode(pixels), pixels, encode(pixels, "WEBP", lossless=True)):
        decoded = decode_image(source)
        np.testing.assert_array_equal(decoded[0, 0], (200, 0, 0))
        np.testing.assert_allclose(decoded[0, 4], 127, atol=1)
        np.testing.assert_array_equal(decoded[0, 7], (255, 255, 255))
    palette = Image.fromarray(np.zeros((4, 4), np.uint8), "P")
    palette.putpalette([10, 20, 30] * 256)
    np.testing.assert_array_equal(decode_image(encode(palette, transparency=0)), 255)
    np.testing.assert_array_equal(
        decode_image(encode(Image.new("RGB", (4, 4), (9, 9, 9)), transparency=(9, 9, 9))), 255
    )


def test_only_the_first_frame_is_read():
    frames = [Image.fromarray(picture(seed=seed)) for seed in range(3)]
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True})):
        encoded = encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        np.testing.assert_array_equal(decode_image(encoded), np.array(frames[0]))


def test_one_pixel():
    for kind in ("PNG", "JPEG", "BMP", "WEBP"):
        decoded = decode_image(encode(np.full((1, 1, 3), 90, np.uint8), kind), at_least=(96, 48))
        assert decoded.shape == (1, 1, 3)
        assert resize_image(decoded, (96, 48)).shape == (96, 48, 3)


def test_draft_decodes_near_the_wanted_size_and_not_below_twice_of_it():
    pixels = picture(1600, 800)
    encoded = encode(pixels, "JPEG", quality=95)
    whole = decode_image(encoded)
    small = decode_image(encoded, at_least=(96, 48))
    assert whole.shape == (1600, 800, 3)
    assert small.shape == (200, 100, 3)
    difference = resize_image(whole, (96, 48)).astype(int) - resize_image(small, (96, 48))
    assert np.abs(difference).mean() < 1.0
    assert decode_image(encoded, at_least=(1000, 500)).shape == (1600, 800, 3)
    exif = Image.Exif()
    exif[0x0112] = 6
    sideways = encode(np.ascontiguousarray(np.rot90(pixels)), "JPEG", exif=exif)
    assert decode_image(sideways, at_least=(96, 48)).shape == (200, 100, 3)


def test_large_pictures_of_every_format_are_reduced():
    pixels = picture(1600, 800)
    whole = resize_image(pixels, (96, 48)).astype(int)
    for source in (encode(pixels), encode(pixels, "WEBP", lossless=True), Image.fromarray(pixels)):
        reduced = decode_image(source, at_least=(96, 48))
        assert reduced.shape == (200, 100, 3)
        assert np.abs(resize_image(reduced, (96, 48)) - whole).mean() < 1.0
    assert decode_image(encode(picture(1600, 30)), at_least=(96, 48)).shape == (1600, 30, 3)


def test_the_callers_pillow_image_is_left_alone():
    image = Image.open(io.BytesIO(encode(picture(800, 400), "JPEG")))
    assert decode_image(image, at_least=(20, 10)).shape == (40, 20, 3)
    assert image.size == (400, 800)


@pytest.mark.filterwarnings("ignore:Image size")
def test_bombs_are_refused_from_the_header():
    for width, height in ((13_300, 13_300), (60_000, 60_000), (8_193, 10), (10, 8_193), (7_000, 7_000)):
        with pytest.raises(DataError, match=r"bomb\.png has .*; at most .* are decoded; scale it down"):
            decode_image(png_header(width, height), name="bomb.png")


def test_large_files_are_refused_before_they_are_read(tmp_path):
    with (tmp_path / "a.jpg").open("wb") as file:
        file.truncate(images.MAX_FILE_BYTES + 1)
    with pytest.raises(DataError, match=r"a\.jpg has 20 MB; at most 20 MB"):
        decode_image(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="at most 20 MB"):
        decode_image(bytes(images.MAX_FILE_BYTES + 1))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"hello, I am a text file\n", "a text file"),
        ("größe 你好".encode(), "a text file"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "XML, SVG or HTML"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "PostScript"),
        (b"%PDF-1.4", "a PDF"),
        (encode(picture(), "GIF"), "a GIF"),
        (encode(picture(), "TIFF"), "a TIFF"),
        (b"", "an empty file"),
        (os.urandom(300), "in no format"),
        (b"\xff\xd8\xff\xe0", "damaged"),
    ],
)
def test_what_is_no_picture_is_named(content, found, tmp_path):
    path = tmp_path / "odd.jpg"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"odd.jpg is {found}|odd.jpg is .*{found}"):
        decode_image(path)


def test_paths_that_hold_no_file(tmp_path):
    with pytest.raises(DataError, match=r"none\.jpg cannot be read: No such file"):
        decode_image(tmp_path / "none.jpg")
    with pytest.raises(DataError, match="is a folder"):
        decode_image(tmp_path)
    with pytest.raises(DataError, match="cannot be read"):
        decode_image("with\0nul.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    done = threading.Event()

    def read():
        with pytest.raises(DataError, match="no ordinary file"):
            read_image_file(tmp_path / "pipe.jpg")
        done.set()

    threading.Thread(target=read, daemon=True).start()
    assert done.wait(5), "a pipe blocked the reader"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_truncated_pictures_are_refused(kind):
    noise = np.random.default_rng(1).integers(0, 256, (64, 32, 3), dtype=np.uint8)
    encoded = encode(noise, kind)
    for share in (0.3, 0.5, 0.7, 0.9):
        with pytest.raises(DataError, match=r"x\.jpg is .*(damaged|no format).*; expected a JPEG"):
            decode_image(encoded[: int(len(encoded) * share)], name="x.jpg")


@pytest.mark.parametrize(
    ("pixels", "found"),
    [
        (np.zeros((4, 4, 3)), "type float64"),
        (np.zeros((4, 4, 2), np.uint8), "2 channels"),
        (np.zeros((3, 40, 40), np.uint8), "40 channels"),
        (np.zeros((0, 4, 3), np.uint8), r"shape \(0, 4, 3\)"),
        (np.zeros(4, np.uint8), r"shape \(4,\)"),
        (np.zeros((9000, 2, 3), np.uint8), "2 x 9000 pixels"),
    ],
)
def test_wrong_arrays(pixels, found):
    with pytest.raises(DataError, match=found):
        decode_image(pixels)


def test_arrays_pass_and_grey_ones_become_rgb():
    pixels = picture()
    assert decode_image(pixels) is pixels
    np.testing.assert_array_equal(decode_image(pixels[..., 0])[..., 2], pixels[..., 0])


def test_floating_point_pillow_images_are_refused():
    with pytest.raises(DataError, match="floating-point"):
        decode_image(Image.fromarray(np.zeros((4, 4), np.float32)))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["JPEG", "PNG", "WEBP", "BMP"]), st.data())
def test_mutated_files_decode_or_raise_our_error(kind, data):
    encoded = bytearray(encode(picture(), kind))
    for _ in range(data.draw(st.integers(1, 8))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded = decode_image(bytes(encoded), at_least=(10, 5))
    except DataError:
        return
    assert decoded.dtype == np.uint8
    assert decoded.ndim == 3


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 60), st.integers(1, 60))
def test_resize_gives_the_size_asked_for_and_keeps_flat_colour(height, width, to_height, to_width):
    flat = np.full((height, width, 3), (10, 120, 250), np.uint8)
    resized = resize_image(flat, (to_height, to_width))
    assert resized.shape == (to_height, to_width, 3)
    np.testing.assert_array_equal(resized, np.broadcast_to((10, 120, 250), resized.shape))


def test_resize_averages_instead_of_skipping():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[::2] = 255
    assert np.abs(resize_image(stripes, (8, 8)).astype(int) - 127).max() <= 8


def test_interpolation_is_pillows():
    pixels = picture(90, 70)
    for name, resampling in (("bilinear", Image.Resampling.BILINEAR), ("bicubic", Image.Resampling.BICUBIC)):
        expected = np.array(Image.fromarray(pixels).resize((24, 48), resampling))
        np.testing.assert_array_equal(resize_image(pixels, (48, 24), name), expected)
    assert (resize_image(pixels, (48, 24)) == resize_image(pixels, (48, 24), "bilinear")).all()
    assert (resize_image(pixels, (48, 24)) != resize_image(pixels, (48, 24), "bicubic")).any()
    with pytest.raises(ConfigError, match="Did you mean 'bicubic'"):
        resize_image(pixels, (48, 24), "bicubc")


def test_image_endings(tmp_path):
    assert all(is_image_file(tmp_path / name) for name in ("a.jpg", "b.JPEG", "c.Png", "d.webp", "e.bmp"))
    assert not any(is_image_file(tmp_path / name) for name in ("a.gif", "b.txt", "jpg", ".jpg", "c.jpg.txt"))
