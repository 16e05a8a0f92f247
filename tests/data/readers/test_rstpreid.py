"""RSTPReid as it is published, as it is damaged, and as people point at it."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys

import pytest

from passerby.data.readers import READERS, open_dataset
from passerby.data.readers.rstpreid import read
from passerby.errors import DataError


def rows():
    """Two people in train, one in val, one in test; not in order; a sentence without its blank."""
    people = [(1, "train"), (0, "train"), (2, "val"), (3, "test")]
    return [
        {
            "id": person,
            "img_path": f"{person:04d}_c{camera}_00{camera}1.jpg",
            "captions": ["A man wears a black jacket.He carries a bag.", f"Person {person} by camera {camera}."],
            "split": split,
        }
        for person, split in people
        for camera in (14, 5)
    ]


def written(root, entries, *, street=True, images=True):
    (root / "imgs").mkdir(parents=True, exist_ok=True)
    for entry in entries if images else []:
        name = entry.get("img_path") if isinstance(entry, dict) else None
        if isinstance(name, str) and name.endswith(".jpg"):
            (root / "imgs" / name).write_bytes(b"picture")
    (root / "data_captions.json").write_text(json.dumps(entries))
    if street:
        (root / "street.json").write_text("{}")  # spares a miniature the published counts
    return root


def test_order_records_and_text_are_kept(tmp_path):
    dataset = open_dataset(f"rstpreid:{written(tmp_path, rows())}")
    assert list(dataset.splits) == ["train", "val", "test"]
    train = dataset.split("train")
    assert [image.image_id for image in train.images] == [
        "0000_c14_00141.jpg", "0000_c5_0051.jpg", "0001_c14_00141.jpg", "0001_c5_0051.jpg",
    ]  # fmt: skip
    assert train.images[1].camera_id == "c5"
    assert train.images[1].path == tmp_path / "imgs" / "0000_c5_0051.jpg"
    assert train.identities == (0, 1)
    assert len(train.captions) == 8
    assert train.captions[0].text == "A man wears a black jacket.He carries a bag."
    assert train.captions[1].image_id == "0000_c14_00141.jpg"
    assert train.captions[1].person_id == 0


def test_a_name_that_tells_no_camera_is_read_all_the_same(tmp_path):
    entries = rows()
    entries[0]["img_path"] = "someone.jpg"
    images = read(written(tmp_path, entries)).split("train").images
    assert [image.camera_id for image in images if image.image_id == "someone.jpg"] == [None]


def test_the_real_set_is_held_to_its_published_counts(tmp_path):
    with pytest.raises(
        DataError,
        match="train of RSTPReid has 4 pictures instead of 18505, 2 people instead of 3701, 8 captions instead",
    ):
        read(written(tmp_path, rows(), street=False))


def altered(number, **change):
    entries = rows()
    entries[number] = {**entries[number], **change}
    return entries


def without(key):
    entries = rows()
    entries[2] = {("file_path" if name == key else name): value for name, value in entries[2].items()}
    return entries


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (altered(1, id="7"), r"entry 1 \(0001_c5_0051.jpg\): id is '7' \(str\)"),
        (altered(1, id=True), "id is True"),
        (altered(1, id=-1), "id is -1"),
        (altered(3, captions=[]), "has no caption; expected a sentence"),
        (altered(3, captions="one sentence"), "expected a list"),
        (altered(3, captions=["good", "  "]), "0000_c5_0051.jpg has an empty caption"),
        (altered(3, captions=["good", None]), "a caption is None"),
        (altered(2, split="trian"), "Did you mean 'train'"),
        (altered(2, img_path=""), "img_path is ''"),
        (altered(2, img_path=5), "img_path is 5"),
        (altered(2, img_path="../secret.jpg"), "leads out of .*imgs"),
        (altered(2, img_path="0001_c14_00141.jpg"), "lists 0001_c14_00141.jpg 2 times"),
        (altered(2, split="test"), "person 0 is in test and in train"),
        (without("img_path"), "entry 2 has no 'img_path'; it has 'id', 'file_path'"),
        ([*rows(), "a string"], "entry 8 is str"),
        ([], "holds an empty list"),
        ({"id": 1}, "holds dict"),
    ],
)
def test_damaged_annotations_are_refused_with_the_place(tmp_path, entries, message):
    with pytest.raises(DataError, match=message):
        read(written(tmp_path, entries))


def test_missing_pictures_are_counted(tmp_path):
    root = written(tmp_path, rows())
    (root / "imgs" / "0000_c5_0051.jpg").unlink()
    with pytest.raises(DataError, match=r"1 of 8 pictures are not in .*imgs, the first being 0000_c5_0051.jpg"):
        read(root)


def test_no_folder_of_pictures(tmp_path):
    (written(tmp_path, rows(), images=False) / "imgs").rmdir()
    with pytest.raises(DataError, match="imgs; the pictures of RSTPReid belong there"):
        read(tmp_path)


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe\x00", b"[" * 100_000])
def test_what_is_not_json_is_refused(tmp_path, content):
    (written(tmp_path, rows()) / "data_captions.json").write_bytes(content)
    with pytest.raises(DataError, match=r"is not (JSON|text in UTF-8)"):
        read(tmp_path)


def test_one_folder_too_deep_or_too_high_names_the_right_one(tmp_path):
    root = written(tmp_path / "RSTPReid", rows())
    with pytest.raises(DataError, match=f"further up: give {root}"):
        open_dataset(f"rstpreid:{root / 'imgs'}")
    with pytest.raises(DataError, match=f"further down: give {root}"):
        open_dataset(f"rstpreid:{tmp_path}")


def test_an_empty_folder_is_told_what_belongs_there(tmp_path):
    with pytest.raises(DataError, match="expected the unpacked archive"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("rstpried:{}", "Did you mean 'rstpreid'"),
        ("{}", "expected NAME:ROOT"),
        ("rstpreid:", "expected NAME:ROOT"),
        ("rstpreid:{}/nowhere", "no such folder"),
        ("rstpreid:{}/file", "is a file"),
    ],
)
def test_wrong_sources_are_refused(tmp_path, source, message):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=message):
        open_dataset(source.format(tmp_path))


def test_every_reader_exists_and_is_imported_only_when_asked_for():
    for reader in READERS.values():
        module = importlib.import_module(f"passerby.data.readers.{reader.module}")
        assert callable(module.read)
        assert callable(module.source)
    script = "import sys; import passerby.data.readers; sys.exit('passerby.data.readers.rstpreid' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
