"""`passerby index` on videos and whole frames, and what it refuses; `passerby world film`."""

from __future__ import annotations

import json
import sys

import pytest

from passerby.cli.footage import Asked, settings_of
from passerby.errors import ConfigError
from passerby.ingest import Footage
from passerby.ingest.run import joined


@pytest.fixture
def film(call, tmp_path):
    code, out, err = call(
        "world", "film", tmp_path / "c02_gate.avi",
        "--walkers", 2, "--seconds", 4, "--fps", 5, "--size", "270x360", "--seed", 4,
    )  # fmt: skip
    assert code == 0, err
    assert "20 frames of 2 people" in out
    return tmp_path / "c02_gate.avi"


def test_a_video_is_indexed_and_found_and_not_watched_again(call, film, tmp_path):
    people = tmp_path / "people"
    code, out, err = call("index", film, "--gallery", people, "--start-time", "2026-11-20 08:00", "--json")
    assert code == 0, err
    report = json.loads(out)
    (watched,) = report["watched"]
    assert (watched["source"], watched["frames"], watched["finished"]) == (str(film), 20, True)
    assert report["added"] == watched["crops"] > 0
    assert "frames/s" in err
    code, out, _ = call("search", people, "a person", "-k", 2, "--keep-poor", "--json")
    hit = json.loads(out)["hits"][0]
    assert (hit["camera"], hit["source"]) == ("c02", str(film))
    assert hit["time"] >= 1795161600
    assert (tmp_path / "people.crops").is_dir()
    code, out, _ = call("index", film, "--gallery", people)
    assert code == 0
    assert "0 pictures added" in out
    assert f"{film}: {watched['passages']} passages, {watched['crops']} crops of 20 frames" in out


def test_pictures_can_be_whole_frames(call, film, tmp_path):
    import cv2

    video, frames = cv2.VideoCapture(str(film)), tmp_path / "frames"
    frames.mkdir()
    for number in range(20):
        _, pixels = video.read()
        if number % 5 == 0:
            cv2.imwrite(str(frames / f"f_c4_{number}.png"), pixels)
    code, out, err = call("index", frames, "--gallery", tmp_path / "g", "--frames", "--json")
    assert code == 0, err
    report = json.loads(out)
    assert report["watched"][0]["frames"] == 4
    assert report["pictures"] == report["watched"][0]["crops"] > 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["missing.mp4"], "there is no video file missing.mp4"),
        (["FILM", "--start-time", "soon"], "expected ISO 8601"),
        (["FILM", "TEXT", "--start-time", "2026-01-01"], "belongs to one video"),
        (["FILM", "--every", "0"], "every is 0"),
        (["FILM", "--per-passage", "0"], "0 crops of each passage"),
        (["FILM", "--detector", "hogg"], "Did you mean 'hog'"),
        (["FILM", "--detector-weights", "COCO_V1"], "takes neither"),
        (["FILM", "--stop-after", "0"], "--stop-after is 0"),
        (["FILM", "--camera", " "], "--camera is empty"),
        (["ftp://camera/1"], "known: rtsp"),
    ],
)
def test_wrong_use_is_refused_before_a_gallery_is_made(call, film, tmp_path, monkeypatch, arguments, reason):
    (tmp_path / "text.mp4").write_text("hello")
    monkeypatch.chdir(tmp_path)
    names = {"FILM": film, "TEXT": tmp_path / "text.mp4"}
    code, _, err = call("index", *[names.get(one, one) for one in arguments], "--gallery", tmp_path / "g")
    assert code == 1
    assert reason in err
    assert err.startswith("passerby: ")
    assert not (tmp_path / "g").exists()


def test_videos_that_cannot_be_read_are_listed_and_fail_where_nothing_else_was_read(call, tmp_path):
    (tmp_path / "text.mp4").write_text("hello")
    code, out, err = call("index", tmp_path / "text.mp4", "--gallery", tmp_path / "g")
    assert code == 1
    assert "left out" in err
    assert "is no video" in err
    assert "1 left out" in out


def test_missing_opencv_names_the_extra(call, film, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    code, _, err = call("index", film, "--gallery", tmp_path / "g")
    assert code == 1
    assert "pip install 'passerby[video]'" in err


def test_options_for_videos_are_refused_where_there_are_none():
    plain = {"frames": False, "camera": None, "start_time": None, "every": 0.2, "per_passage": 4, "detector": "hog"}
    nothing = {"weights": None, "crops": None, "stop_after": None}
    assert settings_of(Asked(**plain, **nothing), Footage(pictures=("a",)), "people") is None
    for name, value in {"camera": "c1", "start_time": "x", "crops": "d", "weights": "w", "stop_after": 1.0}.items():
        with pytest.raises(ConfigError, match="none of the sources is one"):
            settings_of(Asked(**{**plain, **nothing, name: value}), Footage(pictures=("a",)), "people")


def test_reports_are_joined():
    from passerby.gallery import AddReport

    both = joined(AddReport(1, 2, 3, 4, (("a", "b"),)), AddReport(10, 20, 30, 40, (("c", "d"),)))
    assert both == AddReport(11, 22, 33, 44, (("a", "b"), ("c", "d")))


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("f.mp4", [], "ending in .avi"),
        ("f.avi", ["--size", "natural"], "HEIGHTxWIDTH"),
        ("f.avi", ["--light", "dusk"], "light 'dusk' is unknown"),
    ],
)
def test_films_that_cannot_be_made_are_refused(call, tmp_path, name, options, reason):
    code, _, err = call("world", "film", tmp_path / name, *options)
    assert code == 1
    assert reason in err
