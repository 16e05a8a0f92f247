"""Several processes fill one gallery, are killed and started again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from colour_encoder import ColourEncoder, write_people
from passerby.data.records import PersonImage
from passerby.errors import ConfigError, GalleryError
from passerby.gallery import Gallery, Sighting, shards
from passerby.gallery.shards import Together, index_together, together

PROGRAM = Path(__file__).with_name("sharing_process.py")


def start(address, folder, rank, world):
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), address, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(PROGRAM.parent.parent), "RANK": str(rank), "WORLD_SIZE": str(world)},
    )


def last_line(process):
    out, _ = process.communicate()
    assert process.returncode == 0
    return [int(word) for word in out.splitlines()[-1].split()[1:]]


def test_two_processes_make_the_gallery_that_one_would_make(tmp_path):
    write_people(tmp_path / "people", 60)
    (tmp_path / "people" / "bad.jpg").write_text("text")
    address = str(tmp_path / "together")
    # Both are killed in the middle of their work, then started again, then once more with nothing left to do.
    first = [start(address, tmp_path / "people", rank, 2) for rank in range(2)]
    for process in first:
        assert process.stdout.readline().strip() == "4"
        process.kill()
        process.communicate()
    second = [start(address, tmp_path / "people", rank, 2) for rank in (1, 0)]
    other, whole = [last_line(process) for process in second]
    assert whole[0] + whole[1] == 60
    assert whole[1] >= 8  # what the killed processes had acknowledged was not done again
    assert whole[2] == 1
    assert other[3] + whole[3] == whole[0]
    assert not (tmp_path / ".together.shards").exists()
    with Gallery.create(tmp_path / "alone", ColourEncoder()) as alone, Gallery.open(address, ColourEncoder()) as made:
        alone.add(tmp_path / "people")
        assert list(made) == list(alone)
        assert made.verify() == []
        for text in ("red", "green blue"):
            assert [hit.id for hit in made.search(text)] == [hit.id for hit in alone.search(text)]
    third = [start(address, tmp_path / "people", rank, 2) for rank in range(2)]
    assert last_line(third[0])[:2] == [0, 60]
    assert last_line(third[1])[3] == 0


def test_shards_of_another_number_of_processes_are_merged_too(tmp_path):
    write_people(tmp_path / "people", 9)
    sightings = [Sighting(PersonImage(str(path), path)) for path in sorted((tmp_path / "people").iterdir())]
    address, model = str(tmp_path / "gallery"), ColourEncoder()
    index_together(address, model, sightings, Together(2, 3))
    index_together(address, model, sightings, Together(1, 2))
    before = model.encoded
    report = index_together(address, model, sightings, Together(0, 2))
    assert report.added + report.already_there == 9
    assert model.encoded - before == len(Together(0, 2).mine(sightings))
    with Gallery.open(address, model) as gallery:
        assert len(gallery) == 9


def test_a_process_that_does_nothing_is_not_waited_for_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "_PATIENCE_S", 0.3)
    write_people(tmp_path / "people", 6)
    sightings = [Sighting(PersonImage(str(path), path)) for path in sorted((tmp_path / "people").iterdir())]
    with pytest.raises(GalleryError, match=r"process 1 of 2 has done nothing .* give the same command again"):
        index_together(str(tmp_path / "gallery"), ColourEncoder(), sightings, Together(0, 2))


def test_the_shares_are_a_partition():
    sightings = [Sighting(PersonImage(f"{number}", Path(f"/people/{number}.jpg"))) for number in range(200)]
    shares = [Together(rank, 3).mine(sightings) for rank in range(3)]
    assert sorted(one.image.image_id for share in shares for one in share) == sorted(
        one.image.image_id for one in sightings
    )
    assert min(map(len, shares)) > 40


def test_which_process_this_is():
    assert together({}) is None
    assert together({"RANK": "0", "WORLD_SIZE": "1"}) is None
    assert together({"RANK": "1", "WORLD_SIZE": "2"}) == Together(1, 2)
    for rank, world in (("2", "2"), ("x", "2"), ("0", "-1")):
        with pytest.raises(ConfigError, match="RANK is"):
            together({"RANK": rank, "WORLD_SIZE": world})
