"""Videos, streams and pictures told apart."""

from __future__ import annotations

import pytest

from colour_encoder import write_people
from passerby.errors import DataError
from passerby.gallery.manifest import MANIFEST
from passerby.ingest.ledger import STATE, TABLE
from passerby.ingest.sources import sort_sources


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_each_source_goes_to_its_kind(tmp_path):
    video = touch(tmp_path / "a.MP4")
    write_people(tmp_path / "people", 2)
    both = tmp_path / "both"
    write_people(both, 1)
    inner = touch(both / "deep" / "b.avi")
    only = touch(tmp_path / "only" / "c.mkv")
    names = [
        str(video),
        str(tmp_path / "people"),
        str(both),
        str(only.parent),
        "rtsp://cam/1",
        "crops/*.jpg",
        str(video),
    ]
    footage = sort_sources(names)
    assert footage.videos == (video, inner, only)
    assert footage.streams == ("rtsp://cam/1",)
    assert footage.pictures == (str(tmp_path / "people"), str(both), "crops/*.jpg")


def test_hidden_folders_galleries_and_crops_are_not_entered(tmp_path):
    touch(tmp_path / ".hidden" / "a.mp4")
    touch(tmp_path / "gallery" / MANIFEST)
    touch(tmp_path / "gallery" / "b.mp4")
    touch(tmp_path / "crops" / STATE)
    touch(tmp_path / "crops" / TABLE)
    touch(tmp_path / "crops" / "c.mp4")
    kept = touch(tmp_path / "d.mp4")
    assert sort_sources([str(tmp_path)]).videos == (kept,)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("nothing.mp4", "there is no video file nothing.mp4"),
        ("rtps://cam/1", "Did you mean 'rtsp"),
        ("ftp://a/b.mp4", "known: rtsp"),
    ],
)
def test_what_is_no_source_is_refused(source, reason):
    with pytest.raises(DataError, match=reason):
        sort_sources([source])
