"""MSMT17 in both versions, with and without its second training list; ids of train and test kept apart."""

from __future__ import annotations

import pytest
from reid_miniatures import MSMT, few, msmt

from passerby.data.readers import msmt17, open_dataset
from passerby.data.readers.msmt17 import read
from passerby.data.readers.source import Counts
from passerby.errors import DataError

TEST = Counts(3, 2, queries=1)


@pytest.fixture(autouse=True)
def _few(monkeypatch):
    few(
        monkeypatch,
        msmt17,
        PUBLISHED={"train": Counts(3, 2), "test": TEST},
        PUBLISHED_TRAIN_ALONE={"train": Counts(2, 2), "test": TEST},
    )


@pytest.mark.parametrize(
    ("name", "version", "pictures", "lists"),
    [
        ("msmt17", 1, 3, "list_train.txt and list_val.txt"),
        ("msmt17-train", 1, 2, "list_train.txt alone"),
        ("msmt17-v2", 2, 3, "list_train.txt and list_val.txt"),
        ("msmt17-v2-train", 2, 2, "list_train.txt alone"),
    ],
)
def test_the_name_says_version_and_lists(tmp_path, name, version, pictures, lists):
    dataset = open_dataset(f"{name}:{msmt(tmp_path, version=version)}")
    assert dataset.name == name
    train = dataset.split("train")
    assert (len(train.images), train.provenance) == (pictures, lists)


def test_test_people_are_numbered_behind_training_people(tmp_path):
    dataset = read(msmt(tmp_path))
    assert dataset.split("train").identities == (0, 1)
    test = dataset.split("test")
    assert [(image.image_id, image.person_id, image.camera_id) for image in test.images] == [
        ("test/0000/0000_000_02_0303morning_0210_0.jpg", 2, "c2"),
        ("test/0000/0000_001_15_0303morning_0211_0.jpg", 2, "c15"),
        ("test/0001/0001_000_03_0303noon_0212_0.jpg", 3, "c3"),
    ]
    assert test.query_ids == ("test/0000/0000_000_02_0303morning_0210_0.jpg",)


def test_numbers_do_not_depend_on_the_second_list(tmp_path):
    lists = {**MSMT, "list_train.txt": MSMT["list_train.txt"][:1]}
    root = msmt(tmp_path, lists)
    (root / "street.json").write_text("{}")
    assert read(root).split("test") == read(root, with_val=False).split("test")


def test_the_other_version_is_named(tmp_path):
    with pytest.raises(DataError, match="holds MSMT17 V2, not V1; open it as msmt17-v2"):
        read(msmt(tmp_path / "two", version=2))
    with pytest.raises(DataError, match=r"holds MSMT17 V1, not V2; open it as msmt17$"):
        read(msmt(tmp_path / "one"), version=2)


def test_the_folder_above_is_entered_and_the_one_below_refused(tmp_path):
    root = msmt(tmp_path / "MSMT17_V1")
    assert read(tmp_path).root == root
    with pytest.raises(DataError, match=f"give {root}"):
        read(root / "train")


def altered(name, line):
    return {**MSMT, name: [*MSMT[name][:-1], line]}


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        (altered("list_train.txt", "0001/0001_000_05_0303noon_0083_1.jpg"), r"list_train.txt, line 2 is .*expected a"),
        (altered("list_val.txt", "0001/0001_003_14_0303afternoon_0001_0.jpg one"), "list_val.txt, line 1 is"),
        (altered("list_query.txt", "0000/0000_000_02_0303morning_0210_0.jpg -1"), "expected a path, a blank and a"),
        (altered("list_query.txt", "0000/picture.jpg 0"), "line 1: '0000/picture.jpg' names no camera"),
        (altered("list_query.txt", "0000/0000_000_xx_0303morning_0210_0.jpg 0"), "names no camera"),
        (altered("list_gallery.txt", "../0001_000_03_0303noon_0212_0.jpg 1"), "leads out of"),
        (altered("list_gallery.txt", MSMT["list_gallery.txt"][0]), "2 times; expected every picture once"),
        (altered("list_gallery.txt", "0001/0001_009_03_0303noon_0999_0.jpg 1"), "1 of 6 pictures are not in"),
        ({**MSMT, "list_query.txt": []}, "test of MSMT17 V1 has 2 pictures instead of 3, 0 queries instead of 1"),
    ],
)
def test_damaged_lists_are_refused_with_the_place(tmp_path, lists, message):
    with pytest.raises(DataError, match=message):
        read(msmt(tmp_path, lists))


@pytest.mark.parametrize("name", ["list_val.txt", "list_query.txt"])
def test_a_missing_list_is_named(tmp_path, name):
    (msmt(tmp_path) / name).unlink()
    with pytest.raises(DataError, match=f"has no {name}; expected list_train.txt"):
        read(tmp_path)


def test_a_missing_folder_of_pictures_is_named(tmp_path):
    (msmt(tmp_path) / "test").rename(tmp_path / "tests")
    with pytest.raises(DataError, match="has no test/; expected"):
        read(tmp_path)
