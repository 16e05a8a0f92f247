"""Market-1501, with its junk, its distractors and its hand-drawn boxes, and as people point at it."""

from __future__ import annotations

import pytest
from reid_miniatures import DUKE, MARKET, few, folders

from passerby.data.readers import market1501, open_dataset, open_source
from passerby.data.readers.market1501 import read
from passerby.data.readers.reid_folders import NAMINGS, rows_of
from passerby.data.readers.source import Counts, missing
from passerby.errors import DataError

COUNTS = {"train": Counts(4, 3), "test": Counts(8, 3, queries=2)}


@pytest.fixture
def root(tmp_path, monkeypatch):
    few(monkeypatch, market1501, PUBLISHED=COUNTS)
    return folders(tmp_path / "Market-1501-v15.09.15", MARKET)


def test_names_say_person_camera_and_role(root):
    dataset = open_dataset(f"market1501:{root}")
    assert list(dataset.splits) == ["train", "test", "multi_query"]
    train, test = dataset.split("train"), dataset.split("test")
    assert [(image.image_id, image.person_id, image.camera_id) for image in train.images] == [
        ("bounding_box_train/0002_c1s1_000451_03.jpg", 2, "c1"),
        ("bounding_box_train/0002_c3s2_000901_01.jpg", 2, "c3"),
        ("bounding_box_train/0007_c6s4_002426_01.jpg", 7, "c6"),
        ("bounding_box_train/0010_c1s1_000401_01.jpg", 10, "c1"),
    ]
    assert test.query_ids == ("query/0001_c1s1_001051_00.jpg", "query/0003_c4s6_015641_00.jpg")
    assert test.identities == (1, 3, 4)
    assert train.images[0].path == root / "bounding_box_train" / "0002_c1s1_000451_03.jpg"


def test_junk_is_kept_and_flagged_and_distractors_are_nobody(root):
    images = {image.image_id: image for image in read(root).split("test").images}
    assert len(images) == 8
    junk = images["bounding_box_test/-1_c1s1_000401_03.jpg"]
    assert (junk.person_id, junk.junk, junk.camera_id) == (None, True, "c1")
    nobody = images["bounding_box_test/0000_c4s6_004485_01.jpg"]
    assert (nobody.person_id, nobody.junk) == (None, False)


def test_hand_drawn_boxes_of_those_who_are_asked_for_are_a_split(root):
    split = read(root).split("multi_query")
    assert [image.image_id for image in split.images] == [
        "gt_bbox/0001_c1s1_001051_00.jpg",
        "gt_bbox/0001_c1s1_001056_00.jpg",
    ]
    assert split.provenance.startswith("gt_bbox: ")


def test_without_hand_drawn_boxes_there_is_no_such_split(tmp_path, root):
    for path in (root / "gt_bbox").iterdir():
        path.unlink()
    (root / "gt_bbox").rmdir()
    assert list(read(root).splits) == ["train", "test"]


def test_half_a_million_distractors_are_an_option(root, monkeypatch):
    with pytest.raises(DataError, match=r"no folder of the 500,000 distractors; unpack .* or open it as market1501"):
        read(root, distractors=True)
    folders(root, {"images": ["0000_c2s1_000001_01.jpg", "whatever.jpg", "Thumbs.db"]})
    with pytest.raises(DataError, match="split test of Market-1501 has 10 pictures instead of 500008"):
        read(root, distractors=True)
    few(monkeypatch, market1501, HOW_MANY_DISTRACTORS=2)
    dataset = open_dataset(f"market1501-500k:{root}")
    test = dataset.split("test")
    assert (dataset.name, len(test.images), test.provenance) == ("market1501-500k", 10, "with the 500,000 distractors")
    assert {image.image_id: (image.person_id, image.camera_id) for image in test.images[-2:]} == {
        "images/0000_c2s1_000001_01.jpg": (None, "c2"),
        "images/whatever.jpg": (None, None),
    }


def test_the_folder_above_is_entered(root):
    assert read(root.parent).root == root


def test_the_real_set_is_held_to_its_published_counts(tmp_path):
    root = folders(tmp_path, MARKET)
    with pytest.raises(
        DataError, match="train of Market-1501 has 4 pictures instead of 12936, 3 people instead of 751 as published"
    ):
        read(root)
    assert market1501.PUBLISHED["test"] == Counts(23_100, 750, queries=3_368)
    assert missing(open_source("market1501", root)) == []


@pytest.mark.parametrize(
    ("folder", "name", "message"),
    [
        ("bounding_box_test", "photo.jpg", r"photo.jpg is not named as in market1501, such as 0002_c1s1.*elsewhere"),
        ("bounding_box_train", "x2_c1s1_000451_03.jpg", "is not named as in market1501"),
        ("bounding_box_train", "0005_c2_f0046985.jpg", "it is named as in dukemtmc: open it as that"),
        ("query", "-1_c1s1_000401_00.jpg", "asks for label -1, which is nobody"),
        ("query", "0000_c1s1_000401_00.jpg", "asks for label 0000, which is nobody"),
        ("query", "0002_c1s1_000451_00.jpg", "person 2 is in test and in train"),
    ],
)
def test_pictures_that_do_not_belong_are_refused(root, folder, name, message):
    folders(root, {folder: [name]})
    with pytest.raises(DataError, match=message):
        read(root)


def test_a_missing_or_empty_folder_is_named(root):
    for path in (root / "query").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"query holds no pictures; expected some like 0002_c1s1_000451_03.jpg"):
        read(root)
    (root / "query").rmdir()
    with pytest.raises(DataError, match=r"no such folder: .*query; expected bounding_box_train, query, bounding_box"):
        read(root)


def test_one_folder_too_deep_or_too_high_names_the_right_one(tmp_path):
    root = folders(tmp_path / "mine", MARKET)
    with pytest.raises(DataError, match=f"give {root}"):
        read(root / "query")
    with pytest.raises(DataError, match=f"give {root}"):
        read(tmp_path)
    with pytest.raises(DataError, match="expected the unpacked archive Market-1501"):
        read(folders(tmp_path / "empty", {"other": []}))


def test_every_example_has_its_own_form():
    for name, naming in NAMINGS.items():
        assert [other for other, one in NAMINGS.items() if one.pattern.match(naming.example)] == [name]


def test_only_market_knows_label_zero_as_nobody(tmp_path):
    folders(tmp_path, {"query": [DUKE["query"][0].replace("0010", "0000")]})
    assert rows_of(tmp_path, "query", "test", "dukemtmc")[0].person_id == 0
