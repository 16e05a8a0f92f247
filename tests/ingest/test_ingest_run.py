"""From videos and frames to a gallery that answers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import filmed_street
from colour_encoder import ColourEncoder
from passerby.errors import ConfigError
from passerby.gallery import Filter, Gallery
from passerby.gallery.sources import find_pictures
from passerby.ingest import Footage, Ingesting, crops_folder, ingest
from passerby.ingest.boxes import overlaps


@pytest.fixture
def gallery(tmp_path):
    with Gallery.create(tmp_path / "people", ColourEncoder()) as opened:
        yield opened


def test_a_video_becomes_searchable_and_is_not_watched_or_encoded_again(film, oracle, gallery, tmp_path):
    settings = Ingesting(oracle, tmp_path / "crops", start=1000.0)
    told = []
    report = ingest(gallery, Footage(videos=(film,)), settings, tell=told.append)
    assert report.added.added == len(gallery) > 6
    assert report.watched == (told[-1],)
    hits = gallery.search("red blue", k=3, group="track")
    assert len({hit.picture.track for hit in hits}) == 3
    assert gallery.count(Filter.of(cameras=["c03"], since=1000.0, until=1008.1, sources=[str(film)])) == len(gallery)
    calls, encoded = oracle.calls, gallery.model.encoded
    again = ingest(gallery, Footage(videos=(film,)), settings)
    assert (again.added.added, again.added.already_there) == (0, len(gallery))
    assert (oracle.calls, gallery.model.encoded) == (calls, encoded)


def test_a_video_that_cannot_be_read_is_listed_and_stops_nothing(film, oracle, gallery, tmp_path):
    (tmp_path / "text.mp4").write_text("hello")
    report = ingest(gallery, Footage(videos=(tmp_path / "text.mp4", film)), Ingesting(oracle, tmp_path / "crops"))
    ((path, reason),) = report.added.unreadable
    assert path == tmp_path / "text.mp4"
    assert "is no video" in reason
    assert report.watched[-1].finished
    assert len(gallery)


class Halves:
    """Finds somebody in the left and somebody in the right half of every picture."""

    name = "halves"

    def __init__(self):
        self.calls = 0

    def detect(self, frame):
        from passerby.ingest.detection import Detections

        self.calls += 1
        height, width = frame.shape[:2]
        boxes = np.array([[0, 0, width / 2, height], [width / 2, 0, width, height]])
        return Detections(boxes, np.ones(2))


def test_frames_become_crops_with_what_is_known_about_the_frame(gallery, tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "frames").mkdir()
    for number in range(5):
        pixels = rng.integers(0, 255, (100, 120, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "frames" / f"{number:04d}_c2_{number}.png")
    (tmp_path / "frames" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    detector = Halves()
    settings = Ingesting(detector, tmp_path / "crops", camera="spare")
    frames = find_pictures(tmp_path / "frames")
    report = ingest(gallery, Footage(), settings, frames)
    assert report.added.added == len(gallery) == 10
    assert [path.name for path, _ in report.added.unreadable] == ["broken.png"]
    assert report.watched[-1].finished
    for picture in gallery.pictures():
        assert picture.camera == "c2"
        assert picture.track is None
        assert picture.source == str(tmp_path / "frames")
        assert picture.metadata["frame"].endswith(".png")
        box = [[float(edge) for edge in picture.metadata["box"].split()]]
        assert overlaps(np.array(box), np.array([[0, 0, 60, 100], [60, 0, 120, 100]])).max() == 1
    again = ingest(gallery, Footage(), settings, frames)
    assert again.added.already_there == 10
    assert detector.calls == 5
    Image.fromarray(rng.integers(0, 255, (100, 120, 3), dtype=np.uint8)).save(tmp_path / "frames" / "new.png")
    assert ingest(gallery, Footage(), settings, find_pictures(tmp_path / "frames")).added.added == 2
    assert gallery.count(Filter.of(cameras=["spare"])) == 2


@pytest.mark.parametrize("footage", [Footage(), Footage(streams=("rtsp://a/1",))])
def test_a_start_time_belongs_to_one_video(gallery, oracle, tmp_path, footage):
    with pytest.raises(ConfigError, match="belongs to one video"):
        ingest(gallery, footage, Ingesting(oracle, tmp_path, start=1.0))


def test_crops_lie_beside_the_gallery_unless_told(tmp_path):
    assert crops_folder(str(tmp_path / "people"), None) == tmp_path / "people.crops"
    assert crops_folder(f"exact:{tmp_path / 'people'}", None) == tmp_path / "people.crops"
    assert crops_folder("http://localhost:6333/people", str(tmp_path)) == tmp_path
    with pytest.raises(ConfigError, match="--crops"):
        crops_folder("http://localhost:6333/people", None)


PROGRAM = """
import sys
from pathlib import Path
import filmed_street
from colour_encoder import ColourEncoder
from passerby.gallery import Gallery
from passerby.gallery.store import exists
from passerby.ingest import Footage, Ingesting, ingest
from passerby.ingest import watching
watching.FRAMES_AT_A_TIME = 3
film, place = Path(sys.argv[1]), Path(sys.argv[2])
oracle = filmed_street.Oracle(film)
opening = Gallery.open if exists(place / "g") else Gallery.create
with opening(place / "g", ColourEncoder()) as gallery:
    settings = Ingesting(oracle, place / "crops", start=0.5)
    ingest(gallery, Footage(videos=(film,)), settings, tell=lambda at: print(at.frames, flush=True))
print("done", oracle.calls, flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 here")
def test_killed_processes_leave_nothing_out_and_nothing_twice(film, oracle, tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(filmed_street.__file__)}  # noqa: PTH120
    command = [sys.executable, "-c", PROGRAM, str(film), str(tmp_path / "killed")]
    for frames in (5, 17):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        for line in process.stdout:
            if int(line) >= frames:
                process.kill()
                break
        process.wait()
        process.stdout.close()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert int(done.stdout.split()[-1]) < 30  # of 40: the frames before the kills were not looked at again
    with Gallery.create(tmp_path / "whole", ColourEncoder()) as whole:
        ingest(whole, Footage(videos=(film,)), Ingesting(oracle, tmp_path / "crops", start=0.5))
        expected = [(one.id, one.time, one.track) for one in whole.pictures()]
    with Gallery.open(tmp_path / "killed" / "g", ColourEncoder()) as killed:
        assert [(one.id, one.time, one.track) for one in killed.pictures()] == expected
        assert killed.verify() == []
