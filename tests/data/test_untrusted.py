"""Pictures that were made to be expensive cost little; ordinary ones start no process."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from passerby.data import untrusted
from passerby.data.images import decode_image
from passerby.data.untrusted import DecodingProcess, decode_untrusted, is_ordinary
from passerby.errors import DataError

limited = pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits memory and time of a process so")


def saved(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(height, width, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def many_scans(side, scans):
    """A progressive JPEG whose last scan comes again and again, at fourteen bytes each."""
    raw = saved(Image.new("L", (side, side), 128), "JPEG", progressive=True, quality=50)
    last, end = raw.rfind(b"\xff\xda"), raw.rfind(b"\xff\xd9")
    return raw[:end] + raw[last:end] * scans + b"\xff\xd9"


def run_lengths(width, height):
    """A BMP of runs of one pixel each."""
    pixels, palette = (b"\x01\x00" * width + b"\x00\x00") * height + b"\x00\x01", bytes(1024)
    begin = 14 + 40 + len(palette)
    head = b"BM" + struct.pack("<IHHI", begin + len(pixels), 0, 0, begin)
    facts = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(pixels), 0, 0, 256, 0)
    return head + facts + palette + pixels


def png_header(width, height):
    """A PNG that promises pixels and brings none."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(b""))]
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def animated(kind):
    frames = [Image.new("RGB", (20, 30), colour) for colour in ("red", "green", "blue")]
    return saved(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)


@pytest.fixture
def no_process(monkeypatch):
    def decode(*_):
        raise AssertionError("a process was asked")

    monkeypatch.setattr(untrusted._PROCESS, "decode", decode)


ORDINARY = {
    "jpeg": saved(noise(60, 30), "JPEG"),
    "progressive jpeg": saved(noise(60, 30), "JPEG", progressive=True),
    "png": saved(noise(60, 30), "PNG"),
    "webp": saved(noise(60, 30), "WEBP"),
    "bmp": saved(noise(60, 30), "BMP"),
}
EXPENSIVE = {
    "many scans": many_scans(64, 20),
    "run lengths": run_lengths(64, 64),
    "many pixels": saved(Image.new("L", (3000, 2001)), "PNG"),
    "animated png": animated("PNG"),
    "animated webp": animated("WEBP"),
}


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_pictures_are_decoded_here(name, no_process):
    np.testing.assert_array_equal(decode_untrusted(ORDINARY[name]), decode_image(ORDINARY[name]))
    assert decode_untrusted(ORDINARY[name], (10, 5)).shape == decode_image(ORDINARY[name], (10, 5)).shape


@pytest.mark.parametrize("name", EXPENSIVE)
def test_others_are_sent_to_the_process(name, monkeypatch):
    assert not is_ordinary(EXPENSIVE[name], name)
    sent = []
    monkeypatch.setattr(untrusted._PROCESS, "decode", lambda *given: sent.append(given))
    decode_untrusted(EXPENSIVE[name], (96, 48), "its name")
    assert sent == [(EXPENSIVE[name], (96, 48), "its name")]


@pytest.mark.parametrize(
    ("encoded", "words"),
    [
        (png_header(60_000, 60_000), "at most 40 megapixels"),
        (png_header(100_000, 10), "side 8192|far too many pixels"),
        (animated("GIF"), "is a GIF"),
        (b"\xff\xd8\xff\xe0", "damaged"),
        (bytes(20_000_001), "at most 20 MB"),
        (saved(noise(200, 200), "JPEG", progressive=True)[:-900], "cut off"),
    ],
    ids=["many pixels", "long side", "gif", "bare", "large file", "cut progressive"],
)
def test_what_is_refused_is_refused_as_everywhere(encoded, words):
    for decode in (decode_untrusted, decode_image):
        with pytest.raises(DataError, match=words):
            decode(encoded)


def test_the_process_decodes_what_is_decoded_here_and_outlives_errors():
    process = DecodingProcess()
    try:
        for encoded in EXPENSIVE.values():
            np.testing.assert_array_equal(process.decode(encoded, (96, 48), "a"), decode_image(encoded, (96, 48)))
        first = process._process.pid
        with pytest.raises(DataError, match="name is damaged or cut off"):
            process.decode(EXPENSIVE["many pixels"][:200], None, "odd \udcff\n name")
        with ThreadPoolExecutor(4) as pool:
            names = list(ORDINARY) * 3
            found = pool.map(lambda name: process.decode(ORDINARY[name], None, name), names)
            for name, pixels in zip(names, found, strict=True):
                np.testing.assert_array_equal(pixels, decode_image(ORDINARY[name]))
        assert process._process.pid == first
    finally:
        process.close()
    process.close()


@limited
def test_time_and_memory_are_limited_and_the_next_picture_is_decoded():
    process = DecodingProcess(seconds=1, memory=700_000_000)
    try:
        bomb = many_scans(2000, 100_000)  # 1.4 MB that keep a decoder busy for nine minutes
        with pytest.raises(DataError, match="the bomb takes too much time or memory"):
            process.decode(bomb, (96, 48), "the bomb")
        np.testing.assert_array_equal(process.decode(ORDINARY["png"], None, "b"), decode_image(ORDINARY["png"]))
        large = saved(Image.new("RGBA", (8000, 5000)), "PNG", compress_level=1)
        with pytest.raises(
            DataError, match=r"the large one takes (more memory to decode than there is|too much time or memory)"
        ):
            process.decode(large, None, "the large one")
        np.testing.assert_array_equal(process.decode(ORDINARY["png"], None, "c"), decode_image(ORDINARY["png"]))
    finally:
        process.close()


def test_a_wait_has_an_end():
    process = DecodingProcess(patience_s=0.01)
    try:
        with pytest.raises(DataError, match="slow takes too much time"):
            process.decode(many_scans(2000, 2_000), None, "slow")
        assert process._process is None
    finally:
        process.close()
