"""Processes that decode their shares give the pixels that one would, and stop together when a picture is bad."""

from __future__ import annotations

import json
import subprocess

import numpy as np
import pytest
from PIL import Image

from passerby.data import cache, shared_decoding
from passerby.data.cache import cached_images
from passerby.data.images import decode_image, resize_image
from passerby.data.shared_decoding import decode_into
from passerby.errors import DataError

SIZE = (8, 4)


@pytest.fixture
def pictures(tmp_path):
    paths = []
    for seed in range(7):
        pixels = np.random.default_rng(seed).integers(0, 256, (24 + seed, 12, 3), dtype=np.uint8)
        paths.append(tmp_path / f"pictüre {seed}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


def array(tmp_path, count):
    target = tmp_path / "pixels.npy"
    np.lib.format.open_memmap(target, mode="w+", dtype=np.uint8, shape=(count, *SIZE, 3)).flush()
    return target


@pytest.mark.parametrize(("processes", "interpolation"), [(1, "bilinear"), (3, "bicubic")])
def test_every_row_holds_its_picture(pictures, tmp_path, processes, interpolation):
    target, told = array(tmp_path, len(pictures)), []
    decode_into(target, pictures, interpolation, processes, told.append)
    expected = [resize_image(decode_image(path, at_least=SIZE), SIZE, interpolation) for path in pictures]
    np.testing.assert_array_equal(np.load(target), expected)
    assert sum(told) == len(pictures)


def test_more_processes_than_pictures(pictures, tmp_path):
    target = array(tmp_path, 1)
    decode_into(target, pictures[:1], "bilinear", 2, lambda more: None)
    assert np.load(target).any()


def test_a_large_cache_goes_through_processes_and_is_the_same(pictures, tmp_path, monkeypatch):
    few, told = cached_images(pictures, SIZE, tmp_path / "few"), []
    monkeypatch.setattr(cache, "_WORTH_PROCESSES", 2)
    monkeypatch.setattr(cache, "decode_image", lambda *_, **__: pytest.fail("decoded in this process"))
    many = cached_images(
        pictures, SIZE, tmp_path / "many", workers=2, progress=lambda done, total: told.append((done, total))
    )
    np.testing.assert_array_equal(many, few)
    assert told[0] == (0, 7)
    assert told[-1] == (7, 7)
    assert many.filename.parent == tmp_path / "many"


def test_a_bad_picture_is_named_and_every_process_ends(pictures, tmp_path, monkeypatch):
    pictures[4].write_bytes(b"no picture")
    begun = []
    start = shared_decoding._start
    monkeypatch.setattr(shared_decoding, "_start", lambda *given: begun.append(start(*given)) or begun[-1])
    with pytest.raises(DataError, match=r"pictüre 4\.png is a text file"):
        decode_into(array(tmp_path, len(pictures)), pictures, "bilinear", 2, lambda more: None)
    assert all(process.poll() is not None for process in begun)


def test_a_process_that_is_killed_is_no_finished_cache(pictures, tmp_path, monkeypatch):
    start = shared_decoding._start

    def shot(*given):
        process = start(*given)
        process.kill()
        return process

    monkeypatch.setattr(shared_decoding, "_start", shot)
    with pytest.raises(DataError, match="a process that decodes pictures"):
        decode_into(array(tmp_path, len(pictures)), pictures, "bilinear", 2, lambda more: None)


def test_a_share_that_is_stopped_by_its_teller_leaves_no_process(pictures, tmp_path, monkeypatch):
    """As when a progress bar is interrupted."""

    def interrupted(more):
        raise ValueError("enough")

    with pytest.raises(DataError, match="enough"):
        decode_into(array(tmp_path, len(pictures)), pictures, "bilinear", 2, interrupted)


def test_news_is_one_json_object_a_line(pictures, tmp_path):
    target = array(tmp_path, 2)
    process = shared_decoding._start(target, "bilinear")
    said, _ = process.communicate(json.dumps([[0, str(pictures[0])], [1, "nowhere.png"]]).encode())
    (news,) = [json.loads(line) for line in said.splitlines()]
    assert news["error"].startswith("nowhere.png cannot be read")
    assert isinstance(process, subprocess.Popen)
