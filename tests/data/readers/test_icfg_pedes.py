"""ICFG-PEDES as it is published, with people held out of train, and as it is damaged."""

from __future__ import annotations

import dataclasses
import json

import pytest
from miniature_sets import icfg_rows, json_set

from passerby.data import readers
from passerby.data.readers import READERS, open_dataset
from passerby.data.readers.icfg_pedes import ANNOTATIONS, read
from passerby.errors import DataError


@pytest.mark.parametrize("name", ANNOTATIONS)
def test_each_name_of_its_file(tmp_path, name):
    dataset = read(json_set(tmp_path, name, icfg_rows()))
    assert list(dataset.splits) == ["train", "test"]
    train = dataset.split("train")
    # The split is the field's, in any case, and never the folder's.
    assert [image.image_id.split("/")[0] for image in train.images] == ["test", "train", "train"]
    assert [image.camera_id for image in train.images] == ["c5", "c12", "c1"]
    assert train.identities == (0, 1, 2)
    assert len(train.captions) == 3


def test_people_held_out_to_choose_models_on(tmp_path, monkeypatch):
    root = json_set(tmp_path, "ICFG-PEDES.json", icfg_rows())
    whole = open_dataset(f"icfg-pedes:{root}").split("train")
    few = {**READERS, "icfg-pedes-val": dataclasses.replace(READERS["icfg-pedes-val"], held_out=1)}
    monkeypatch.setattr(readers, "READERS", few)
    dataset = open_dataset(f"icfg-pedes-val:{root}")
    assert dataset.name == "icfg-pedes-val"
    assert list(dataset.splits) == ["train", "val", "test"]
    train, val = dataset.split("train"), dataset.split("val")
    assert len(val.identities) == 1
    assert set(train.identities) | set(val.identities) == set(whole.identities)
    assert not set(train.identities) & set(val.identities)
    assert val.provenance == train.provenance == "1 people of train held out as val, seed 0"
    assert dataset.split("test").provenance == ""
    assert open_dataset(f"icfg-pedes-val:{root}").split("val") == val


def test_the_held_out_number_is_the_one_documented():
    assert READERS["icfg-pedes-val"].held_out == 200


def test_too_few_people_to_hold_out(tmp_path):
    root = json_set(tmp_path, "ICFG-PEDES.json", icfg_rows())
    with pytest.raises(DataError, match="200 of 3 people of train cannot be held out"):
        open_dataset(f"icfg-pedes-val:{root}")


def test_the_real_set_is_held_to_its_published_counts(tmp_path):
    with pytest.raises(
        DataError, match="train of ICFG-PEDES has 3 pictures instead of 34674, 3 people instead of 3102"
    ):
        read(json_set(tmp_path, "ICFG-PEDES.json", icfg_rows(), street=False))


def altered(number, **change):
    entries = icfg_rows()
    entries[number] = {**entries[number], **change}
    return entries


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (altered(0, split="tset"), "Did you mean 'test'"),
        (altered(0, split=None), "split is None"),
        (altered(0, id="0"), r"id is '0' \(str\)"),
        (altered(0, captions=[]), "has no caption"),
        (altered(0, captions=[["a", "b"]]), "expected a sentence"),
        (altered(0, file_path=None), "file_path is None"),
        (altered(3, id=0), "person 0 is in test and in train"),
        ([{"img_path": "a.jpg", "split": "train", "captions": [], "id": 1}], "no 'file_path'.*Did you mean"),
    ],
)
def test_damaged_annotations_are_refused_with_the_place(tmp_path, entries, message):
    with pytest.raises(DataError, match=message):
        read(json_set(tmp_path, "ICFG-PEDES.json", entries))


def test_a_missing_picture_a_missing_file_and_wrong_json(tmp_path):
    root = json_set(tmp_path / "set", "ICFG-PEDES.json", icfg_rows())
    (root / "imgs" / icfg_rows()[0]["file_path"]).unlink()
    with pytest.raises(DataError, match="1 of 4 pictures are not in"):
        read(root)
    (root / "ICFG-PEDES.json").write_text(json.dumps(icfg_rows())[:-3])
    with pytest.raises(DataError, match="is not JSON"):
        read(root)
    with pytest.raises(DataError, match=f"further down: give {root}"):
        read(tmp_path)
    with pytest.raises(DataError, match=f"further up: give {root}"):
        read(root / "imgs")
