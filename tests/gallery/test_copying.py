"""Copies between any two engines, interrupted ones too, and snapshots."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from colour_encoder import ColourEncoder, all_bytes, write_people
from gallery_places import a_server
from passerby.errors import DataError, GalleryError
from passerby.gallery import Gallery, calibration, copying, local
from passerby.gallery.bands import FEWEST
from passerby.gallery.calibration import NOTE
from passerby.gallery.copying import copy_rows, verify_copy
from passerby.gallery.decoding import Decoder, decode_picture
from passerby.gallery.lock import LOCKS
from passerby.gallery.snapshots import copy_folder
from passerby.gallery.store import exists


@pytest.fixture
def places(tmp_path):
    server = a_server(tmp_path)
    yield {"edge": str(tmp_path / "edge"), "exact": f"exact:{tmp_path / 'exact'}", "server": next(server, None)}
    next(server, None)


@pytest.fixture
def people(tmp_path):
    write_people(tmp_path / "people", 30)
    return tmp_path / "people"


@pytest.mark.parametrize(("source", "target"), [("edge", "server"), ("server", "exact"), ("exact", "edge")])
def test_a_copy_is_the_same_gallery(places, people, source, target, monkeypatch):
    monkeypatch.setattr(copying, "_BATCH", 7)
    assert not exists(places[source])
    with Gallery.create(places[source], ColourEncoder()) as old:
        old.add(people)
        with Gallery.create_like(places[target], old) as new:

            class Stopped(Exception):
                pass

            def stop(done, _):
                if done >= 14:
                    raise Stopped

            with pytest.raises(Stopped):
                copy_rows(old.store, new.store, stop)
            assert len(new) == 14
            assert copy_rows(old.store, new.store) == 16
            verify_copy(old.store, new.store)
            assert list(new) == list(old)
            assert copy_rows(old.store, new.store) == 0
            for text in ("red", "blue green"):
                assert [hit.id for hit in new.search(text)] == [hit.id for hit in old.search(text)]
            report = new.add(people)
            assert (report.added, new.model.encoded) == (0, 30)  # the files are known too
            assert new.verify() == []
    assert exists(places[target])


@pytest.mark.parametrize("target", ["server", "exact"])
def test_a_copy_knows_where_matches_begin_without_measuring(places, tmp_path, target, monkeypatch):
    write_people(tmp_path / "many", FEWEST)
    with Gallery.create(places["edge"], ColourEncoder()) as old, Gallery.create_like(places[target], old) as new:
        old.add(tmp_path / "many")
        copy_rows(old.store, new.store)
        assert new.store.read_note(NOTE) == old.store.read_note(NOTE) is not None
        monkeypatch.setattr(calibration, "measure_bands", None)
        assert [hit.band for hit in new.search("red blue")] == [hit.band for hit in old.search("red blue")]


def test_a_copy_that_differs_is_told(places, people):
    with (
        Gallery.create(places["edge"], ColourEncoder()) as old,
        Gallery.create(places["exact"], ColourEncoder()) as new,
    ):
        old.add(people)
        copy_rows(old.store, new.store)
        victim = next(iter(old))
        with new.store.writing():
            new.store.put([], [replace(victim, camera="other")])
        with pytest.raises(GalleryError, match=f"the picture {victim.id} differs"):
            verify_copy(old.store, new.store)
        assert copy_rows(old.store, new.store) == 0  # what is known is brought up to date
        verify_copy(old.store, new.store)
        new.delete([victim.id])
        with pytest.raises(GalleryError, match=f"lacks the picture {victim.id}"):
            verify_copy(old.store, new.store)


def test_galleries_of_different_models_are_not_mixed(places, people):
    other = ColourEncoder(name="other", fingerprint="ab" * 32)
    with Gallery.create(places["edge"], ColourEncoder()) as old, Gallery.create(places["exact"], other) as new:
        old.add(people)
        with pytest.raises(GalleryError, match=r"belongs to the model 'other' .* copy into a new gallery"):
            copy_rows(old.store, new.store)


def test_a_snapshot_is_the_folder_of_that_moment(places, people, tmp_path, monkeypatch):
    with Gallery.create(places["edge"], ColourEncoder()) as gallery:
        gallery.add(people)
    assert copy_folder(tmp_path / "edge", tmp_path / "snapshot") == 30
    same = {path.relative_to(tmp_path / "edge"): raw for path, raw in all_bytes(tmp_path / "edge").items()}
    copied = {path.relative_to(tmp_path / "snapshot"): raw for path, raw in all_bytes(tmp_path / "snapshot").items()}
    assert copied == {path: raw for path, raw in same.items() if path.name not in LOCKS}
    with pytest.raises(GalleryError, match="exists and is not an empty folder"):
        copy_folder(tmp_path / "edge", tmp_path / "snapshot")
    with Gallery.open(places["edge"], ColourEncoder()) as gallery, gallery.store.writing():
        monkeypatch.setattr(local, "_PATIENCE_S", 0.05)
        with pytest.raises(GalleryError, match="in use by"):
            copy_folder(tmp_path / "edge", tmp_path / "second")
    shutil.rmtree(tmp_path / "edge")
    copy_folder(tmp_path / "snapshot", tmp_path / "edge")
    with Gallery.open(places["edge"], ColourEncoder()) as gallery:
        assert len(gallery.search("red", k=30)) == 30


def test_a_decoder_that_dies_takes_one_picture_with_it(people, monkeypatch):
    path = next(people.iterdir())
    decoder = Decoder(10_000)
    decoder._processes = True
    try:
        pixels, thumbnail = decoder.decode(path.read_bytes(), (24, 12), "a")
        np.testing.assert_array_equal(pixels, decode_picture(path.read_bytes(), (24, 12), "a")[0])
        assert thumbnail[:2] == b"\xff\xd8"
        with pytest.raises(DataError, match="cut off"):
            decoder.decode(path.read_bytes()[:200], (24, 12), "b")
        monkeypatch.setattr("passerby.gallery.decoding.decode_picture", die)
        with pytest.raises(DataError, match="brings its decoder down"):
            decoder.decode(b"", (24, 12), "c")
        monkeypatch.undo()
        assert decoder.decode(path.read_bytes(), (24, 12), "d")[0].shape == pixels.shape
    finally:
        decoder.close()


def die(*_):
    os._exit(9)
