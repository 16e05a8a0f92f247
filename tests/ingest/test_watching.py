"""A video from its first frame to its last, whole and in pieces, and a stream beside it."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

import filmed_street
from passerby.errors import DataError
from passerby.ingest import watching as rooms
from passerby.ingest.boxes import overlaps
from passerby.ingest.ledger import STATE, TABLE
from passerby.ingest.passages import Looking
from passerby.ingest.watching import Watching

START = 1_700_000_000.0


def watch(film, oracle, folder, **more):
    told = []
    settings = {"start": START, **more}
    batches = list(Watching(oracle, Looking(), folder, **settings).video(film, told.append))
    return [one for batch in batches for one in batch], told


def content(folder):
    """Every file of a folder of crops but its lock."""
    return {
        path.relative_to(folder): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "lock"
    }


def test_each_passage_is_one_track_with_its_best_crops(film, oracle, tmp_path):
    sightings, told = watch(film, oracle, tmp_path)
    truth = filmed_street.truth(film)
    owners = {}
    for one in sightings:
        row = min(truth, key=lambda row: abs(row["time"] - one.metadata["offset"]))
        box = np.array([[float(edge) for edge in one.metadata["box"].split()]])
        shared = overlaps(box, np.array([person["box"] for person in row["people"]]))[0]
        assert shared.max() > 0.9
        owners.setdefault(one.track, set()).add(row["people"][int(shared.argmax())]["walk"])
        assert one.image.camera_id == "c03"
        assert one.image.time == pytest.approx(START + one.metadata["offset"])
        assert one.source == str(film)
        height = Image.open(one.image.path).height
        assert height == pytest.approx(1.12 * (box[0, 3] - box[0, 1]), abs=12)
    assert sorted(len(walks) for walks in owners.values()) == [1] * len(owners)
    assert {walk for walks in owners.values() for walk in walks} == {0, 1, 2}
    assert len(owners) == 3
    assert max(sum(one.track == track for one in sightings) for track in owners) == Looking().most
    last = told[-1]
    assert (last.frames, last.of, last.passages, last.crops, last.finished) == (40, 40, 3, len(sightings), True)
    assert last.remark == ""


@pytest.mark.parametrize("stop", [1, 4, 9, 23, 39])
def test_a_run_killed_anywhere_is_continued_to_the_same_files(film, oracle, tmp_path, monkeypatch, stop):
    monkeypatch.setattr(rooms, "FRAMES_AT_A_TIME", 4)
    whole, _ = watch(film, oracle, tmp_path / "whole")
    oracle.calls, oracle.stop_at = 0, stop
    with pytest.raises(RuntimeError, match="killed"):
        watch(film, oracle, tmp_path / "parts")
    oracle.stop_at = None
    parts, _ = watch(film, oracle, tmp_path / "parts")
    assert oracle.calls <= 40 + 4  # no more than the frames since the last visit to the ledger are looked at again
    assert content(tmp_path / "parts") == content(tmp_path / "whole")
    assert [one.track for one in parts] == [one.track for one in whole]


def test_a_finished_video_is_not_watched_again_even_after_it_moved(film, oracle, tmp_path):
    first, _ = watch(film, oracle, tmp_path / "crops")
    moved = tmp_path / "elsewhere_c03.avi"
    moved.write_bytes(film.read_bytes())
    calls = oracle.calls
    again, told = watch(film, oracle, tmp_path / "crops")
    assert oracle.calls == calls
    assert again == first
    assert told[-1].finished
    assert told[-1].frames == 40


def test_what_is_newly_known_about_a_video_is_put_right_everywhere(film, oracle, tmp_path):
    first, _ = watch(film, oracle, tmp_path)
    second, _ = watch(film, oracle, tmp_path, camera="gate", start=START + 60)
    assert {one.image.camera_id for one in second} == {"gate"}
    assert [one.image.time for one in second] == pytest.approx([one.image.time + 60 for one in first])
    third, _ = watch(film, oracle, tmp_path, start=None)  # what was said once holds
    assert third == second
    table = next(tmp_path.rglob(TABLE)).read_text()
    assert {json.loads(line)["camera"] for line in table.splitlines()} == {"gate"}


def test_another_way_of_looking_begins_anew(film, oracle, tmp_path):
    watch(film, oracle, tmp_path)
    list(Watching(oracle, Looking(every=0.4), tmp_path).video(film, lambda _: None))
    assert len(list(tmp_path.rglob(STATE))) == 2


def test_without_a_start_the_time_is_that_of_the_file(film, oracle, tmp_path):
    sightings, _ = watch(film, oracle, tmp_path, start=None)
    begun = film.stat().st_mtime - 8.0
    for one in sightings:
        assert one.image.time == pytest.approx(begun + one.metadata["offset"], abs=0.01)


def test_a_video_that_is_cut_off_keeps_what_came_before_and_says_so(film, tmp_path, oracle):
    short = tmp_path / "short.avi"
    short.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    sightings, told = watch(short, oracle, tmp_path / "crops")
    assert sightings
    assert told[-1].finished
    assert "cut off" in told[-1].remark
    assert watch(short, oracle, tmp_path / "crops")[1][-1].remark == told[-1].remark


def test_what_is_no_video_leaves_no_state(tmp_path, oracle):
    (tmp_path / "text.mp4").write_text("hello")
    with pytest.raises(DataError, match="no video"):
        watch(tmp_path / "text.mp4", oracle, tmp_path / "crops")
    assert not list((tmp_path / "crops").rglob(STATE))


class Replay:
    """A stream made of a film."""

    drops = 1

    def __init__(self, film):
        self.film = film

    def __call__(self, url, say):
        say("dropped")
        return self

    def samples(self, every, stop_after=None):
        for sample in rooms.VideoFile(self.film).samples(every):
            yield rooms.Sample(sample.image, START + sample.time)


def test_a_stream_is_timed_by_the_clock_and_two_sessions_are_told_apart(film, oracle, tmp_path, monkeypatch):
    monkeypatch.setattr(rooms, "Stream", Replay(film))
    runs = []
    for _ in range(2):
        told, said = [], []
        watching = Watching(oracle, Looking(), tmp_path, camera="c7")
        batches = list(watching.stream("rtsp://me:pw@cam/1", told.append, said.append))
        runs.append([one for batch in batches for one in batch])
        assert told[-1].remark == "dropped 1 times"
        assert said == ["dropped"]
    first, second = runs
    assert len({one.track for one in first}) == 3
    assert len({one.track for one in second}) == 6
    assert second[: len(first)] == first
    assert {one.source for one in second} == {"rtsp://cam/1"}
    assert all(START <= one.image.time <= START + 8 for one in second)
    assert "pw" not in next(tmp_path.rglob(TABLE)).read_text()


def test_a_stream_that_is_stopped_by_hand_keeps_everything(film, oracle, tmp_path, monkeypatch):
    class Stopped(Replay):
        def samples(self, every, stop_after=None):
            yield from super().samples(every)
            raise KeyboardInterrupt

    monkeypatch.setattr(rooms, "Stream", Stopped(film))
    batches, found = Watching(oracle, Looking(), tmp_path).stream("rtsp://cam/1", lambda _: None, lambda _: None), []
    with pytest.raises(KeyboardInterrupt):
        found.extend(batches)
    assert len({one.track for batch in found for one in batch}) == 3


def test_every_crop_is_a_whole_jpeg(film, oracle, tmp_path):
    sightings, _ = watch(film, oracle, tmp_path)
    for one in sightings:
        Image.open(io.BytesIO(one.image.path.read_bytes())).load()
