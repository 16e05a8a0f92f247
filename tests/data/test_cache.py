"""Decoded pictures on disk: the right pixels, made once, made anew when anything changed, never half there."""

from __future__ import annotations

import errno
import os
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from passerby.data import cache
from passerby.data.cache import cache_root, cached_images
from passerby.data.images import decode_image, resize_image
from passerby.errors import ConfigError, DataError

SIZE = (12, 6)


@pytest.fixture
def pictures(tmp_path):
    paths = []
    for seed in range(5):
        pixels = np.random.default_rng(seed).integers(0, 256, (40 + seed, 20, 3), dtype=np.uint8)
        paths.append(tmp_path / f"{seed}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_it_holds_what_decoding_gives(pictures, tmp_path, interpolation):
    pixels = cached_images(pictures, SIZE, tmp_path / "c", workers=3, interpolation=interpolation)
    expected = [resize_image(decode_image(path, at_least=SIZE), SIZE, interpolation) for path in pictures]
    np.testing.assert_array_equal(pixels, expected)
    assert isinstance(pixels, np.memmap)
    assert not pixels.flags.writeable


def test_pictures_are_decoded_once(pictures, tmp_path, monkeypatch):
    told = []
    first = cached_images(pictures, SIZE, tmp_path / "c", progress=lambda done, total: told.append((done, total)))
    assert told == [(0, 5), (5, 5)]
    monkeypatch.setattr(cache, "decode_image", lambda *_, **__: pytest.fail("decoded again"))
    np.testing.assert_array_equal(cached_images(pictures, SIZE, tmp_path / "c"), first)


def test_whatever_decides_the_pixels_makes_a_cache_of_its_own(pictures, tmp_path):
    def made():
        return len(list((tmp_path / "c").iterdir()))

    cached_images(pictures, SIZE, tmp_path / "c")
    cached_images(pictures, (6, 12), tmp_path / "c")
    cached_images(pictures, SIZE, tmp_path / "c", interpolation="bicubic")
    cached_images(pictures[::-1], SIZE, tmp_path / "c")
    assert made() == 4
    os.utime(pictures[0], ns=(1, 1))
    cached_images(pictures, SIZE, tmp_path / "c")
    assert made() == 5


def test_it_lies_where_the_user_says(pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("PASSERBY_CACHE", str(tmp_path / "here"))
    cached_images(pictures, SIZE)
    assert len(list((tmp_path / "here" / "images").iterdir())) == 1
    monkeypatch.delenv("PASSERBY_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "there"))
    assert cache_root() == tmp_path / "there" / "passerby"


def test_a_picture_that_cannot_be_read_leaves_nothing(pictures, tmp_path):
    pictures[3].write_bytes(pictures[3].read_bytes()[:-40])
    with pytest.raises(DataError, match=r"3\.png is damaged or cut off"):
        cached_images(pictures, SIZE, tmp_path / "c")
    assert list((tmp_path / "c").iterdir()) == []


@pytest.mark.parametrize("how", ["told beforehand", "found while writing"])
def test_a_full_disk_is_said_and_leaves_nothing(pictures, tmp_path, monkeypatch, how):
    if how == "told beforehand":
        monkeypatch.setattr(cache.shutil, "disk_usage", lambda folder: SimpleNamespace(free=5 * 12 * 6 * 3 - 1))
    else:

        def full(path, **_):
            path.write_bytes(b"begun")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(np.lib.format, "open_memmap", full)
    with pytest.raises(DataError, match=r"No space left on device.*PASSERBY_CACHE"):
        cached_images(pictures, SIZE, tmp_path / "c")
    assert list((tmp_path / "c").iterdir()) == []


@pytest.mark.parametrize(
    ("paths", "options", "error", "words"),
    [
        ([], {}, DataError, "no pictures to cache"),
        (["none.png"], {}, DataError, r"none\.png cannot be read"),
        (None, {"interpolation": "bilinaer"}, ConfigError, "Did you mean 'bilinear'"),
    ],
)
def test_wrong_input(pictures, tmp_path, paths, options, error, words):
    paths = pictures if paths is None else [tmp_path / name for name in paths]
    with pytest.raises(error, match=words):
        cached_images(paths, SIZE, tmp_path / "c", **options)
