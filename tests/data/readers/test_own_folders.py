"""One's own pictures in folders: of people, of splits with people, or all in one."""

from __future__ import annotations

import pytest
from miniature_sets import picture

from passerby.data.readers import open_dataset
from passerby.data.readers.own_folders import read, source
from passerby.errors import DataError


def pictures(root, *names):
    for number, name in enumerate(names):
        picture(root / name, number)
    return root


def test_a_folder_for_each_person(tmp_path):
    pictures(tmp_path, "0002/b.jpg", "0002/a.jpg", "0010/deep/c.jpg")
    (tmp_path / "0002" / "Thumbs.db").write_bytes(b"no picture")
    split = open_dataset(f"folders:{tmp_path}").split("all")
    assert [(image.image_id, image.person_id) for image in split.images] == [
        ("0002/a.jpg", 2), ("0002/b.jpg", 2), ("0010/deep/c.jpg", 10),
    ]  # fmt: skip
    assert source(tmp_path).notes == ()


def test_names_become_numbers_and_that_is_said(tmp_path):
    pictures(tmp_path, "zoe/a.jpg", "ada/b.jpg", "loose.jpg")
    split = read(tmp_path).split("all")
    assert [(image.image_id, image.person_id) for image in split.images] == [
        ("ada/b.jpg", 0), ("zoe/a.jpg", 1), ("loose.jpg", None),
    ]  # fmt: skip
    notes = source(tmp_path).notes
    assert "numbered in the order of their names" in notes[0]
    assert notes[1].startswith("1 pictures lie in no person's folder")


def test_numbers_that_fall_together_are_names(tmp_path):
    pictures(tmp_path, "1/a.jpg", "01/b.jpg")
    assert read(tmp_path).split("all").identities == (0, 1)


def test_folders_of_splits(tmp_path):
    pictures(tmp_path, "train/1/a.jpg", "query/2/b.jpg", "gallery/2/c.jpg", "gallery/stranger.jpg")
    dataset = read(tmp_path)
    assert list(dataset.splits) == ["train", "test"]
    assert dataset.split("test").query_ids == ("query/2/b.jpg",)
    assert [image.person_id for image in dataset.split("test").images] == [2, 2, None]


def test_a_person_in_two_splits_is_refused(tmp_path):
    pictures(tmp_path, "train/1/a.jpg", "test/1/b.jpg")
    with pytest.raises(DataError, match="person 1 is in test and in train"):
        read(tmp_path)


def test_all_in_one_folder(tmp_path):
    pictures(tmp_path, "b.jpg", "sub/a.png", ".hidden/c.jpg")
    split = open_dataset(f"flat:{tmp_path}").split("all")
    assert [image.image_id for image in split.images] == ["b.jpg", "sub/a.png"]
    assert split.identities == ()
    with pytest.raises(DataError, match=f"opened as flat:{tmp_path}/sub"):
        read(tmp_path / "sub")


def test_no_pictures(tmp_path):
    with pytest.raises(DataError, match="holds no pictures"):
        read(tmp_path)
