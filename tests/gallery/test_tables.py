"""Tables of pictures and globs as sources."""

from __future__ import annotations

import errno
import json
import os

import pytest

from colour_encoder import write_people
from passerby.errors import DataError
from passerby.gallery.sources import find_pictures, holds_pictures
from passerby.gallery.tables import read_table


@pytest.fixture
def people(tmp_path):
    write_people(tmp_path / "people", 4)
    return tmp_path / "people"


def table(folder, text, name="people.csv"):
    (folder / name).write_text(text)
    return folder / name


def test_csv_tsv_and_json_lines_say_the_same(people):
    rows = [
        {
            "path": "a.jpg",
            "camera": "12",
            "time": 60,
            "identity": 7,
            "track": "t",
            "source": "s",
            "coat": "007",
            "h": 1.5,
        },
        {"path": "b.jpg"},
    ]
    csv = table(people, "path,camera,time,identity,track,source,coat,h\na.jpg,12,60,7,t,s,007,1.5\nb.jpg,,,,,,,\n")
    tsv = table(people, csv.read_text().replace(",", "\t"), "people.tsv")
    lines = table(people, "\n\n".join(map(json.dumps, rows)), "people.jsonl")
    for path in (csv, tsv, lines):
        one, other = read_table(path)
        image = one.image
        assert (image.path, image.camera_id, image.time, image.person_id) == (people / "a.jpg", "12", 60, 7)
        assert (one.track, one.source, one.metadata) == ("t", "s", {"coat": "007", "h": 1.5})
        assert (other.image.camera_id, other.image.time, other.image.person_id) == (None, None, None)
        assert (other.track, other.source, other.metadata) == (None, str(path), {})


def test_times_may_be_written_as_iso_8601(people):
    path = table(people, 'path,time\na.jpg,1970-01-01 00:01\nb.jpg,"1970-01-01T01:00:00+01:00"\n')
    assert [one.image.time for one in read_table(path)] == [60, 0]


def test_a_table_and_its_folder_name_each_file_once(people):
    path = table(people, "path,camera\n0000_c1s1_000000.jpg,door\n0001_c2s1_000001.jpg,\n")
    found = {one.image.path.name: one for one in find_pictures([path, people])}
    assert len(found) == 4
    assert found["0000_c1s1_000000.jpg"].image.camera_id == "door"
    assert found["0001_c2s1_000001.jpg"].image.camera_id == "c2"  # from the name
    assert found["0001_c2s1_000001.jpg"].source == str(path)
    assert found["0002_c3s1_000002.jpg"].source == str(people)


def test_what_a_folder_holds_and_is_not_read_is_said(people, caplog, monkeypatch):
    for name in ("a.heic", "b.HEIC", "c.gif", "notes.txt", ".hidden.gif"):
        (people / name).write_bytes(b"x")
    assert len(find_pictures([people, f"{people}/*.jpg"])) == 4
    assert [record.message for record in caplog.records] == [
        "left out: pictures of kinds that are not read (2 .heic, 1 .gif); convert them to JPEG or PNG"
    ]
    closed, look = people / "closed", os.scandir
    closed.mkdir()

    def refuse(path):
        if path == str(closed):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return look(path)

    caplog.clear()
    monkeypatch.setattr(os, "scandir", refuse)
    assert len(find_pictures(people)) == 4
    assert f"left out: the folder {closed} cannot be read: Permission denied" in caplog.messages
    assert holds_pictures(people)
    assert not holds_pictures(closed)


def test_globs(people):
    assert len(find_pictures(f"{people}/*_c1s1_*.jpg")) == 2
    assert len(find_pictures(f"{people.parent}/**/*.jpg")) == 4
    with pytest.raises(DataError, match="no pictures in"):
        find_pictures(f"{people}/*.png")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "paht,camera\na.jpg,c1\n", r"no column 'path'; it has paht, camera"),
        ("a.csv", "path,camera\na.jpg\n", r"line 2: the row has not as many cells"),
        ("a.csv", "path,time\na.jpg,noon\n", r"line 2: time is 'noon'; expected seconds"),
        ("a.csv", "path,person\na.jpg,1.5\n", r"line 2: person is 1.5; expected a whole number"),
        ("a.csv", "path,person\na.jpg,Ann\n", r"line 2: person is a number"),
        ("a.csv", "path,my coat\na.jpg,red\n", r"line 2: 'my coat' is no field"),
        ("a.csv", "path\n\" \"\n", r"line 2: there is no path"),
        ("a.csv", "", r"no column 'path'; it has none"),
        ("a.jsonl", "{", r"line 1: .*; expected one JSON object"),
        ("a.jsonl", "[]", r"line 1: expected a JSON object"),
        ("a.jsonl", '{"path": "a.jpg", "coat": [1]}', r"line 1: the value \[1\] of coat is neither"),
        ("a.jsonl", '{"camera": "c1"}', r"no column 'path'"),
    ],
)  # fmt: skip
def test_wrong_tables(people, name, text, words):
    with pytest.raises(DataError, match=words):
        list(read_table(table(people, text, name)))


def test_a_table_that_is_no_text(people):
    (people / "a.csv").write_bytes(b"path\n\xff\xfe\n")
    with pytest.raises(DataError, match="cannot be read"):
        list(read_table(people / "a.csv"))
