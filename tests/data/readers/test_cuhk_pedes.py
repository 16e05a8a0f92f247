"""CUHK-PEDES in each form that goes round, as it is damaged, and as people point at it."""

from __future__ import annotations

import json

import pytest
from miniature_sets import cuhk_rows, json_set

from passerby.data.readers import open_dataset
from passerby.data.readers.cuhk_pedes import read
from passerby.errors import DataError


@pytest.fixture
def root(tmp_path):
    return json_set(tmp_path / "data" / "CUHK-PEDES", "reid_raw.json", cuhk_rows())


def test_raw_file(root):
    dataset = open_dataset(f"cuhk-pedes:{root}")
    assert {name: len(split.images) for name, split in dataset.splits.items()} == {"train": 3, "val": 1, "test": 1}
    train = dataset.split("train")
    assert [image.image_id for image in train.images] == [
        "CUHK01/0363001.png",
        "CUHK01/0363004.png",
        "cam_a/001_45.bmp",
    ]
    assert train.identities == (1, 2)
    assert train.images[0].path.is_file()
    assert train.captions[0].text == "A man in a t-shirt,dark, number 1."  # punctuation kept: never the tokens
    assert train.captions[1].text == "He walks. 1\n"
    assert {caption.person_id for caption in train.captions} == {1, 2}


def test_three_files_of_later_projects(tmp_path):
    rows = cuhk_rows()
    for split in ("train", "val", "test"):
        members = [{**row, "captions_bt": ["translated"]} for row in rows if row["split"] == split]
        json_set(tmp_path, f"{split}_reid.json", members)
    raw = json_set(tmp_path / "raw", "reid_raw.json", rows)
    three, one = read(tmp_path), read(raw)
    for name, split in one.splits.items():
        assert [image.image_id for image in three.splits[name].images] == [image.image_id for image in split.images]
        assert three.splits[name].captions == split.captions
    (tmp_path / "val_reid.json").unlink()
    with pytest.raises(DataError, match=r"no val_reid\.json"):
        read(tmp_path)


def test_proofread_sentences_are_joined_by_path_and_nothing_else_is_taken(root):
    # Its ids are another numbering, its order another, and one picture is not in it.
    proofread = [
        {"id": 900 + number, "file_path": row["file_path"], "captions": [f"Proof-read {row['file_path']}."]}
        for number, row in enumerate(reversed(cuhk_rows()[1:]))
    ]
    (root / "caption_all.json").write_text(json.dumps(proofread))
    dataset = open_dataset(f"cuhk-pedes-proofread:{root}")
    assert dataset.name == "cuhk-pedes-proofread"
    train = dataset.split("train")
    assert train.identities == (1, 2)
    texts = {caption.image_id: caption.text for caption in train.captions}
    assert texts["cam_a/001_45.bmp"] == "Proof-read cam_a/001_45.bmp."
    assert texts["CUHK01/0363004.png"] == "He walks. 0\n"
    assert train.provenance == "captions of caption_all.json for 2 of 3 pictures"
    assert open_dataset(f"cuhk-pedes:{root}").split("train").captions[0].text.startswith("A man")


def test_proofread_needs_its_file_and_the_same_paths(root):
    with pytest.raises(DataError, match=r"has no caption_all\.json"):
        read(root, proofread=True)
    (root / "caption_all.json").write_text(json.dumps([{"id": 1, "file_path": "other.png", "captions": ["x"]}]))
    with pytest.raises(DataError, match="names none of the pictures"):
        read(root, proofread=True)


def test_the_real_set_is_held_to_its_published_counts(tmp_path):
    root = json_set(tmp_path, "reid_raw.json", cuhk_rows(), street=False)
    with pytest.raises(
        DataError, match="train of CUHK-PEDES has 3 pictures instead of 34054, 2 people instead of 11003"
    ):
        read(root)


def altered(number, **change):
    entries = cuhk_rows()
    entries[number] = {**entries[number], **change}
    return entries


BROKEN = [
    (altered(1, id="2"), r"entry 1 \(CUHK01/0363001.png\): id is '2' \(str\)"),
    (altered(0, captions="A man in one string."), "expected a list of sentences"),
    (altered(0, captions=[]), "CUHK01/0363004.png has no caption"),
    (altered(0, captions=["A man.", " "]), "CUHK01/0363004.png has an empty caption"),
    (altered(3, split="vall"), "split is 'vall'; expected train, val, test. Did you mean 'val'"),
    (altered(0, file_path="/etc/passwd"), "leads out of"),
    (altered(4, id=1), "person 1 is in test and in train"),
    (altered(1, file_path="CUHK01/0363004.png"), "lists CUHK01/0363004.png 2 times"),
    ([{"id": 7, "file_path": "a.png", "captions": ["x"]}], r"it is caption_all.json under another name"),
    ({"train": []}, "holds dict"),
    ([], "holds an empty list"),
]


@pytest.mark.parametrize(("entries", "message"), BROKEN)
def test_damaged_annotations_are_refused_with_the_place(tmp_path, entries, message):
    root = json_set(tmp_path, "reid_raw.json", entries if isinstance(entries, list) else [])
    (root / "reid_raw.json").write_text(json.dumps(entries))
    with pytest.raises(DataError, match=message):
        read(root)


def test_missing_pictures_are_counted_over_nested_folders(root):
    (root / "imgs" / "cam_a" / "001_45.bmp").unlink()
    (root / "imgs" / "CUHK01" / "0363001.png").unlink()
    with pytest.raises(DataError, match=r"2 of 5 pictures are not in .*imgs, the first being CUHK01/0363001.png"):
        read(root)


def test_wrong_roots_name_the_right_one(root):
    for wrong in (root / "imgs", root / "imgs" / "CUHK01", root.parent, root.parent.parent):
        with pytest.raises(DataError, match=f"give {root}$"):
            open_dataset(f"cuhk-pedes:{wrong}")


def test_only_the_proofread_file_is_told_what_is_missing(tmp_path):
    (tmp_path / "caption_all.json").write_text("[]")
    with pytest.raises(DataError, match=r"has no reid_raw\.json and only caption_all\.json, which has no splits"):
        read(tmp_path)
