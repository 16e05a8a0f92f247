"""Names of sources, cameras out of file names, and times that people type."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from passerby.errors import ConfigError, DataError
from passerby.ingest.naming import camera_of, file_key, parse_start, slug, start_of, stream_key


@pytest.mark.parametrize(
    ("name", "camera"),
    [
        ("entrance_c03_monday.mp4", "c03"),
        ("c2.avi", "c2"),
        ("CAM4-0800.mkv", "cam4"),
        ("0002_c1s1_000451.avi", "c1"),
        ("camera_12.mp4", "camera_12"),
        ("music3.mp4", None),
        ("abc12.mp4", None),
        ("holiday.mov", None),
    ],
)
def test_cameras_in_file_names(name, camera):
    assert camera_of(Path(name)) == camera


@pytest.mark.parametrize(
    ("text", "plain"), [("Eingang Süd (1)", "eingang-sd-1"), ("", "source"), ("日本", "source"), ("../../etc", "etc")]
)
def test_slugs_are_safe_names(text, plain):
    assert slug(text) == plain
    assert len(slug(text * 100)) <= 40


def test_a_key_stays_when_a_file_moves_and_changes_with_content_and_settings(tmp_path):
    one, other = tmp_path / "a.mp4", tmp_path / "b" / "a.mp4"
    other.parent.mkdir()
    one.write_bytes(b"x" * 5_000_000)
    other.write_bytes(b"x" * 5_000_000)
    key = file_key(one, {"every": 0.2})
    assert key == file_key(other, {"every": 0.2})
    assert key != file_key(one, {"every": 0.4})
    other.write_bytes(b"x" * 2_500_000 + b"y" + b"x" * 2_499_999)
    assert key != file_key(other, {"every": 0.2})
    with pytest.raises(DataError, match="cannot be read"):
        file_key(tmp_path / "none.mp4", {})
    assert stream_key("rtsp://a/1", {}) != stream_key("rtsp://a/2", {})


def test_a_video_begins_its_length_before_its_file_was_last_changed(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"")
    os.utime(tmp_path / "a.mp4", (5000, 5000))
    assert start_of(tmp_path / "a.mp4", 100.0) == 4900
    assert start_of(tmp_path / "a.mp4", None) == 5000


def test_start_times():
    assert parse_start("2026-11-20 08:00") == parse_start("2026-11-20T09:00:00+01:00") == 1795161600


@pytest.mark.parametrize("text", ["", "tomorrow", "8:00", "2026-13-01", "20/11/2026", "nan", "١"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ConfigError, match="ISO 8601 such as"):
        parse_start(text)
