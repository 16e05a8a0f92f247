"""Films as files."""

from __future__ import annotations

import numpy as np
import pytest

import filmed_street
from passerby.data.world.scenes import Scene
from passerby.data.world.scenes import film as frames_of
from passerby.errors import DataError
from passerby.ingest.filming import write_film, write_video
from passerby.ingest.footage import VideoFile


def test_the_file_shows_the_scene_and_the_table_says_who_is_where(film):
    frames = list(frames_of(filmed_street.SCENE))
    samples = list(VideoFile(film).samples(1e-3))
    rows = filmed_street.truth(film)
    assert len(frames) == len(samples) == len(rows) == 40
    for frame, sample, row in zip(frames, samples, rows, strict=True):
        assert abs(frame.image.astype(int) - sample.image).mean() < 6
        assert row["time"] == pytest.approx(frame.time) == pytest.approx(sample.time)
        assert [tuple(one["box"]) for one in row["people"]] == [one.box for one in frame.people]


def test_wrong_places_are_refused_and_nothing_is_left(tmp_path):
    scene = Scene(walkers=0, seconds=0.5, fps=2, size=(64, 64))
    with pytest.raises(DataError, match=r"ending in \.avi"):
        write_film(scene, tmp_path / "film.mp4")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="cannot be written"):
        write_film(scene, tmp_path / "file" / "film.avi")
    with pytest.raises(DataError, match="no frame"):
        write_video([], 5, tmp_path / "none.avi")
    with pytest.raises(DataError, match="OpenCV cannot write"):
        write_video([np.zeros((64, 64, 3), np.uint8)], 5, tmp_path / "nowhere" / "film.avi")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
