"""A street on disk: the same bytes however it came about, never half, never over something else; and its ceiling."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from passerby.data.readers import open_dataset
from passerby.data.world import pieces, writing
from passerby.data.world.attributes import PARTS
from passerby.data.world.sidecar import ceiling_scores, read_descriptions, read_people, read_plan, split_file
from passerby.data.world.street import Street, inhabitants, queries
from passerby.data.world.writing import write
from passerby.errors import ConfigError, DataError

PLAN = Street(train=28, val=4, test=26, train_views=1, test_views=2, size=(48, 24), masks=True)


def content(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    return write(PLAN, tmp_path_factory.mktemp("street") / "one", workers=1)


def test_layout_is_that_of_rstpreid(street):
    text = (street / "data_captions.json").read_text("utf-8")
    rows = json.loads(text)
    assert "\n" not in text
    assert len(rows) == PLAN.images == 28 + 2 * 30
    assert all(set(row) == {"id", "img_path", "captions", "split"} and len(row["captions"]) == 2 for row in rows)
    assert sorted({row["id"] for row in rows}) == list(range(58))
    assert sorted(row["img_path"] for row in rows) == sorted(path.name for path in (street / "imgs").iterdir())
    with Image.open(street / "imgs" / rows[0]["img_path"]) as image:
        assert (image.format, image.size) == ("JPEG", (24, 48))
    assert not list(street.rglob("*.partial"))
    assert not (street / ".unfinished").exists()


def test_masks_are_palette_pictures_of_part_labels(street):
    names = sorted(path.stem for path in (street / "imgs").iterdir())
    assert sorted(path.stem for path in (street / "masks").iterdir()) == names
    with Image.open(street / "masks" / f"{names[0]}.png") as mask:
        assert mask.mode == "P"
        assert np.asarray(mask).shape == (48, 24)
        assert set(np.unique(np.asarray(mask))) <= set(range(len(PARTS)))


def test_any_number_of_workers_writes_the_same_bytes(street, tmp_path):
    assert content(write(PLAN, tmp_path / "two", workers=2)) == content(street)


def test_a_stopped_run_goes_on_and_ends_with_the_same_bytes(street, tmp_path, monkeypatch):
    drawn = []
    whole = pieces.take_picture

    def counted(*arguments):
        drawn.append(arguments)
        return whole(*arguments)

    monkeypatch.setattr(pieces, "take_picture", counted)

    def stop(done, total):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(PLAN, tmp_path, workers=1, progress=stop)
    before = len(drawn)
    assert 0 < before < PLAN.images
    with pytest.raises(DataError, match="never finished"):
        open_dataset(f"rstpreid:{tmp_path}")
    heard = []
    write(PLAN, tmp_path, workers=1, progress=lambda *state: heard.append(state))
    assert len(drawn) == PLAN.images  # what was finished was not drawn again
    assert heard[0] == (before, PLAN.images)
    assert heard[-1] == (PLAN.images, PLAN.images)
    assert content(tmp_path) == content(street)


def test_a_killed_run_goes_on(street, tmp_path):
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from passerby.data.world import pieces, writing; from passerby.data.world.street import Street\n"
        "whole, calls = pieces.take_picture, []\n"
        "def take(*arguments):\n"
        "    calls.append(1)\n"
        "    if len(calls) == 40: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return whole(*arguments)\n"
        "pieces.take_picture = take\n"
        f"writing.write({PLAN!r}, sys.argv[1], workers=1)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path)]).returncode != 0
    assert content(write(PLAN, tmp_path, workers=1)) == content(street)


def test_a_finished_street_is_recognised_at_once(street, monkeypatch):
    monkeypatch.setattr(pieces, "take_picture", None)
    before, heard = content(street), []
    started = time.process_time()
    assert write(PLAN, street, progress=lambda *state: heard.append(state)) == street
    assert time.process_time() - started < 0.3
    assert heard == [(PLAN.images, PLAN.images)]
    assert content(street) == before


def test_a_finished_street_that_lost_a_picture_is_made_whole(street, tmp_path):
    write(PLAN, tmp_path, workers=1)
    next((tmp_path / "imgs").iterdir()).unlink()
    assert content(write(PLAN, tmp_path, workers=1)) == content(street)


@pytest.mark.parametrize("change", [{"seed": 1}, {"train": 32}, {"size": "natural"}, {"masks": False}])
def test_another_plan_in_the_same_folder_is_refused(street, change):
    before = content(street)
    (name, value), *_ = change.items()
    with pytest.raises(DataError, match=rf"holds another street: {name} .*asked for: {value}"):
        write(replace(PLAN, **change), street)
    assert content(street) == before


def test_another_plan_is_refused_while_the_first_is_unfinished(tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(PLAN, tmp_path, workers=1, progress=stop)
    with pytest.raises(DataError, match="another street: seed 0"):
        write(replace(PLAN, seed=5), tmp_path, workers=1)


def test_another_version_of_the_street_is_refused(street, monkeypatch):
    monkeypatch.setattr(writing, "WORLD_VERSION", 2)
    with pytest.raises(DataError, match="version 1 of the street; this passerby draws version 2"):
        write(PLAN, street)


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(DataError, match=r"not empty \(thesis.txt"):
        write(PLAN, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(DataError, match="is a file"):
        write(PLAN, tmp_path / "thesis.txt")


def test_no_space_left_keeps_what_is_finished(street, tmp_path, monkeypatch):
    whole, calls = pieces.take_picture, []

    def full(*arguments):
        calls.append(arguments)
        if len(calls) == 30:
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(*arguments)

    monkeypatch.setattr(pieces, "take_picture", full)
    with pytest.raises(DataError, match=r"No space left on device\. What is finished is kept"):
        write(PLAN, tmp_path, workers=1)
    monkeypatch.setattr(pieces, "take_picture", whole)
    assert content(write(PLAN, tmp_path, workers=1)) == content(street)


@pytest.mark.parametrize(
    ("options", "message"), [({"workers": 0}, "workers is 0"), ({"layout": "rstpried"}, "Did you mean 'rstpreid'")]
)
def test_wrong_options_are_refused(tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        write(PLAN, tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()


def test_the_sidecar_gives_back_what_was_drawn(street):
    assert read_plan(street)[0] == PLAN
    residents = inhabitants(PLAN)
    assert {split: read_people(street, split) for split in residents} == residents
    split = open_dataset(f"rstpreid:{street}").split("test")
    told = read_descriptions(street, "test")
    assert set(told) == {(caption.image_id, caption.text) for caption in split.captions}
    assert all(phrase.facts for one in told.values() for phrase in one.phrases)


def test_the_ceiling_is_high_but_not_perfect_and_equal_for_pictures_of_one_person(street):
    split = queries(open_dataset(f"rstpreid:{street}").split("test"))
    scores = ceiling_scores(street, split)
    owners = np.array([image.person_id for image in split.images])
    wanted = np.array([caption.person_id for caption in split.captions])
    assert scores.shape == (len(split.captions), len(split.images))
    top = scores >= scores.max(axis=1, keepdims=True) - 1e-9
    hits = (top & (owners == wanted[:, None])).sum(axis=1) / top.sum(axis=1)
    assert 0.7 < hits.mean() < 1
    for person in set(owners):
        assert (np.ptp(scores[:, owners == person], axis=1) == 0).all()


def test_the_ceiling_refuses_a_split_of_another_street(street, tmp_path):
    other = write(replace(PLAN, seed=9, train=0, val=0, test=4, masks=False), tmp_path, workers=1)
    with pytest.raises(DataError, match="belongs to another street"):
        ceiling_scores(street, open_dataset(f"rstpreid:{other}").split("test"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "no split 'test'"),
        (lambda path: path.write_text('{"split": "test"}\n'), "line 1, is damaged"),
        (lambda path: path.write_text("not JSON\n"), "line 1, is damaged"),
    ],
)
def test_a_damaged_sidecar_is_named(tmp_path, damage, message):
    root = write(replace(PLAN, train=0, val=0, test=2, masks=False), tmp_path, workers=1)
    damage(root / split_file("test"))
    with pytest.raises(DataError, match=message):
        read_people(root, "test")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "holds no street"),
        ("{", "is damaged"),
        ('{"format": "passerby street", "format_version": 7}', "version 7; this passerby reads"),
        ('{"format": "passerby street", "format_version": 1}', "is damaged"),
        ('{"format": "passerby street", "format_version": 1, "plan": {"size": [1, 2]}}', "is damaged"),
    ],
)
def test_a_damaged_plan_is_named(tmp_path, text, message):
    if text is not None:
        (tmp_path / "street.json").write_text(text)
    with pytest.raises(DataError, match=message):
        read_plan(tmp_path)


def test_drawing_needs_no_torch():
    script = "import sys; sys.modules['torch'] = None; import passerby.data.world.writing"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
