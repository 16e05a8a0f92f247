"""An index that belongs to one process is lent to whoever wants to write; rows of other processes are seen."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
import time

import pytest

from colour_encoder import ColourEncoder, write_people
from passerby.errors import GalleryError
from passerby.gallery import Gallery, lending, local
from passerby.gallery.lock import GalleryLock, holder_of


@pytest.fixture
def indexed(tmp_path):
    """Thirty people with an index over them."""
    write_people(tmp_path / "people", 30)
    with Gallery.create(tmp_path / "g", ColourEncoder()) as gallery:
        gallery.add(tmp_path / "people")
        gallery.optimize()
    return tmp_path / "g"


def until(condition, seconds=30.0):
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "waited in vain"
        time.sleep(0.01)


def test_a_searcher_lends_the_index_to_writers_and_takes_it_back(indexed, tmp_path, monkeypatch):
    monkeypatch.setattr(local, "_PATIENCE_S", 30.0)
    write_people(tmp_path / "more", 6, seed=900)
    with Gallery.open(indexed, ColourEncoder()) as searching:
        before = searching.search("red blue", k=40, keep_poor=True)
        assert (len(before), searching.store._lock.held) == (30, True)
        with Gallery.open(indexed, ColourEncoder()) as writing:
            report = writing.add(tmp_path / "more")
            assert report.added == 6
            assert not searching.store._lock.held
            found = searching.search("red blue", k=40, keep_poor=True)
            assert len(found) == 36, "every row is compared while another process has the index"
            assert writing.delete([before[0].id]) == 1
            assert before[0].id not in {hit.id for hit in searching.search("red blue", k=40, keep_poor=True)}
        again = searching.search("red blue", k=40, keep_poor=True)
        assert (len(again), searching.store._lock.held) == (35, True)
        assert searching.store.engine._shard is not None
        assert searching.delete([again[0].id]) == 1


def test_what_is_being_used_is_not_lent(indexed, tmp_path, monkeypatch):
    monkeypatch.setattr(local, "_PATIENCE_S", 0.5)
    with Gallery.open(indexed, ColourEncoder()) as one, Gallery.open(indexed, ColourEncoder()) as other:
        with one.store.writing():
            with pytest.raises(GalleryError, match="this very process"):
                other.delete(["00" * 16])
            assert one.store._lock.held
        monkeypatch.setattr(local, "_PATIENCE_S", 30.0)
        assert other.delete(["00" * 16]) == 0


def test_a_lender_that_is_gone_is_watched_no_longer(indexed):
    gallery = Gallery.open(indexed, ColourEncoder())
    gallery.search("red")
    assert any(thread.name == "passerby-lending" for thread in threading.enumerate())
    gallery.close()
    until(lambda: not any(thread.name == "passerby-lending" for thread in threading.enumerate()))


def test_searchers_do_not_take_back_what_a_writer_waits_for(indexed):
    queue = GalleryLock(indexed / "queue")
    queue.acquire(0)
    assert lending.is_wanted(indexed)
    with Gallery.open(indexed, ColourEncoder()) as gallery:
        gallery.search("red")
        assert not gallery.store._lock.held
        queue.release()
        assert not lending.is_wanted(indexed)
        gallery.search("red")
        assert gallery.store._lock.held


@pytest.mark.parametrize("engine", ["edge", "exact"])
def test_as_many_new_rows_as_erased_ones_are_seen_by_others(engine, tmp_path):
    write_people(tmp_path / "people", 6)
    write_people(tmp_path / "more", 2, seed=900)
    address = f"{engine}:{tmp_path / 'g'}"
    with Gallery.create(address, ColourEncoder()) as writing:
        writing.add(tmp_path / "people")
        with Gallery.open(address, ColourEncoder()) as searching:
            gone = [hit.id for hit in searching.search("red", k=2, keep_poor=True)]
            writing.delete(gone)
            writing.add(tmp_path / "more")
            found = {hit.id for hit in searching.search("red", k=9, keep_poor=True)}
            assert found == {picture.id for picture in writing}
            assert len(found) == 6


def test_a_holder_is_known_by_its_lock_and_not_by_its_note(tmp_path):
    path = tmp_path / "lock"
    assert holder_of(path) is None
    lock = GalleryLock(path, {"more": [1, "a"]})
    lock.acquire(0)
    assert holder_of(path) == {"pid": os.getpid(), "host": platform.node(), "more": [1, "a"]}
    code = (
        f"from pathlib import Path; from passerby.gallery.lock import holder_of; print(holder_of(Path({str(path)!r})))"
    )
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert f"'pid': {os.getpid()}" in seen
    lock.release()
    assert "more" in path.read_text()
    assert holder_of(path) is None
