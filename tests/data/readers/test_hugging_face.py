"""Folders of Hugging Face's `datasets`: as pictures with a table beside them, by class, and as saved tables."""

from __future__ import annotations

import sys

import pytest
from miniature_sets import picture

from passerby.data.images import decode_image
from passerby.data.readers import open_dataset
from passerby.data.readers.hugging_face import read
from passerby.errors import DataError, MissingExtraError

datasets = pytest.importorskip("datasets")


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "set"
    for split, names in {"train": "ab", "validation": "c"}.items():
        for number, name in enumerate(names):
            picture(root / split / f"{name}.png", 90 * number + len(split))
    (root / "train" / "metadata.csv").write_text(
        'file_name,text,pid,camid\na.png,"A man, in red.",7,1\nb.png,A woman.,3,2\n'
    )
    (root / "validation" / "metadata.csv").write_text("file_name,text,pid,camid\nc.png,A child.,9,1\n")
    return root


def test_a_folder_with_tables(folder):
    dataset = open_dataset(f"hf:{folder}")
    assert list(dataset.splits) == ["train", "val"]
    train = dataset.split("train")
    assert [(image.image_id, image.person_id, image.camera_id) for image in train.images] == [
        ("train/b.png", 3, "2"),
        ("train/a.png", 7, "1"),
    ]
    assert [caption.text for caption in train.captions] == ["A woman.", "A man, in red."]
    assert train.images[0].path == folder / "train" / "b.png"


def test_folders_of_classes_are_people(tmp_path):
    root = tmp_path / "set"
    for name in ("ada/1.png", "ada/2.png", "zoe/3.png"):
        picture(root / name)
    images = read(root).split("train").images
    assert [(image.image_id, image.person_id) for image in images] == [
        ("ada/1.png", 0), ("ada/2.png", 0), ("zoe/3.png", 1),
    ]  # fmt: skip


def test_pictures_inside_saved_tables_are_written_to_the_cache_once(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("PASSERBY_CACHE", str(tmp_path / "cache"))
    loaded = datasets.load_dataset("imagefolder", data_dir=str(folder), cache_dir=str(tmp_path / "hf"))
    loaded.save_to_disk(str(tmp_path / "saved"))
    images = read(tmp_path / "saved").split("train").images
    assert [image.person_id for image in images] == [3, 7]
    for image, name in zip(images, "ba", strict=True):
        assert (decode_image(image.path) == decode_image(folder / "train" / f"{name}.png")).all()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache" / "hf").rglob("*.png")}
    assert len(before) == 3
    read(tmp_path / "saved")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache" / "hf").rglob("*.png")} == before


def test_folders_that_are_none(tmp_path):
    with pytest.raises(DataError, match="cannot be read as a Hugging Face folder"):
        read(tmp_path)
    datasets.Dataset.from_dict({"text": ["no picture"]}).save_to_disk(str(tmp_path / "words"))
    with pytest.raises(DataError, match="has 0 columns of pictures among text"):
        read(tmp_path / "words")


def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"passerby\[data\]"):
        read(tmp_path)
