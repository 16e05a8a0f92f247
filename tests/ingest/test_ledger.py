"""What is written of a source: whole after any interruption, and a table that the gallery reads."""

from __future__ import annotations

import json

import pytest

from passerby.errors import GalleryError
from passerby.gallery.tables import read_table
from passerby.ingest import ledger as ledgers
from passerby.ingest.ledger import STATE, TABLE, Entry, Ledger, crop_name


def entry(number, **more):
    known = {"time": 10.0 + number, "source": "v.mp4", "camera": "c1", "track": f"t{number}", "quality": 0.5, **more}
    return Entry(crop_name(number, 0), bytes([number % 256]), known)


@pytest.fixture
def folder(tmp_path):
    with Ledger(tmp_path / "v") as ledger:
        ledger.record([entry(1)], {"at": 1})
        ledger.record([], {"at": 2})
        ledger.record([entry(2), entry(1001)], {"at": 3})
    return tmp_path / "v"


def test_what_was_recorded_is_there_again(folder):
    with Ledger(folder) as ledger:
        assert ledger.state == {"at": 3}
        first, second, third = ledger.sightings()
    assert first.image.path.read_bytes() == b"\x01"
    assert (first.image.camera_id, first.image.time, first.track, first.source) == ("c1", 11.0, "t1", "v.mp4")
    assert first.metadata == {"quality": 0.5}
    assert second.track == "t2"
    assert third.image.path.parent.name == "001"


def test_the_table_is_one_that_can_be_indexed(folder):
    assert [one.track for one in read_table(folder / TABLE)] == ["t1", "t2", "t1001"]


@pytest.mark.parametrize("stop", range(1, 12))
def test_a_run_that_dies_at_any_write_leaves_what_was_acknowledged(folder, monkeypatch, stop):
    """Every write and rename in turn is the last one."""
    done, real = 0, ledgers._write

    def write(path, content):
        nonlocal done
        done += 1
        if done == stop:
            raise KeyboardInterrupt
        real(path, content)

    monkeypatch.setattr(ledgers, "_write", write)
    known = 3
    with pytest.raises(KeyboardInterrupt), Ledger(folder) as ledger:  # noqa: PT012
        for number in range(3, 20):
            ledger.record([entry(number)], {"at": number + 1})
            known = number + 1
    monkeypatch.undo()
    with Ledger(folder) as ledger:
        assert ledger.state == {"at": known}
        assert len(ledger.sightings()) == known
        ledger.record([entry(known)], {"at": known + 1})
        assert len((folder / TABLE).read_text().splitlines()) == known + 1


@pytest.mark.parametrize("stop", [1, 2, 3, None])
def test_lines_are_corrected_whole_or_not_at_all(folder, monkeypatch, stop):
    done, real = 0, ledgers._write

    def write(path, content):
        nonlocal done
        done += 1
        if done == stop:
            raise KeyboardInterrupt
        real(path, content)

    monkeypatch.setattr(ledgers, "_write", write)
    try:
        with Ledger(folder) as ledger:
            ledger.correct(camera="c9", person=None)
            ledger.shift(100)
    except KeyboardInterrupt:
        pass
    monkeypatch.undo()
    with Ledger(folder) as ledger:
        assert ledger.state == {"at": 3}
        assert len({one.image.camera_id for one in ledger.sightings()}) == 1
        if stop is None:
            assert [one.image.time for one in ledger.sightings()] == [111, 112, 1111]
            assert ledger.sightings()[0].image.camera_id == "c9"


def test_a_crop_that_somebody_removed_stays_removed(folder):
    (folder / crop_name(2, 0)).unlink()
    with Ledger(folder) as ledger:
        assert [one.track for one in ledger.sightings()] == ["t1", "t1001"]


def test_two_processes_do_not_watch_one_source(folder):
    with Ledger(folder), pytest.raises(GalleryError, match="in use"), Ledger(folder):
        pass


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / STATE).write_bytes(b"{"),
        lambda folder: (folder / STATE).write_text(json.dumps({"format": 99})),
        lambda folder: (folder / TABLE).write_bytes(b""),
        lambda folder: (folder / TABLE).unlink(),
        lambda folder: (folder / TABLE).write_bytes(b"x" * 1000),
    ],
)
def test_a_damaged_folder_is_refused(folder, damage):
    damage(folder)
    with pytest.raises(GalleryError, match="remove this folder"), Ledger(folder):
        pass


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(GalleryError, match="--crops"), Ledger(tmp_path / "file" / "v"):
        pass
