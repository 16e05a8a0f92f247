"""One's own pictures as CSV and JSONL: what is read, which line is wrong, and what is written is read back."""

from __future__ import annotations

import json

import pytest
from miniature_sets import picture

from passerby.data.readers import open_dataset
from passerby.data.readers.own_list import read, source, write_list
from passerby.data.records import Caption, Dataset, PersonImage, Split
from passerby.errors import DataError

CSV = """image,caption,identity,camera,time,split,junk,query,width
a.png,"A man, in red.",7,c1,1700000000,train,,,8
a.png,He walks.,7,c1,1700000000,train,,,8
b.png,,3,2,2024-05-01T12:30:00,test,no,yes,8
c.png,,,,2024-05-01T12:30:00+02:00,test,true,,8
"""


@pytest.fixture
def folder(tmp_path):
    for number, name in enumerate("abc"):
        picture(tmp_path / f"{name}.png", number)
    return tmp_path


def listed(folder, text, name="people.csv"):
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_every_column_of_a_csv(folder):
    path = listed(folder, CSV)
    dataset = open_dataset(f"csv:{path}")
    train, test = dataset.split("train"), dataset.split("test")
    assert train.images == (PersonImage("a.png", folder / "a.png", 7, "c1", 1700000000.0),)
    assert [caption.text for caption in train.captions] == ["A man, in red.", "He walks."]
    assert test.query_ids == ("b.png",)
    assert [(image.person_id, image.camera_id, image.junk) for image in test.images] == [
        (3, "2", False),
        (None, None, True),
    ]
    assert [image.time for image in test.images] == [1714566600.0, 1714559400.0]
    assert source(path, form="csv").notes == ("Columns that are not read: width.",)


def test_every_field_of_a_jsonl(folder):
    lines = [
        {"image": "a.png", "captions": ["One.", "Two."], "identity": 1, "camera": 4, "time": 1.5, "split": "val"},
        {"image": "b.png", "caption": "Three.", "identity": 1, "junk": True, "query": False, "split": "val"},
        {"image": "c.png", "caption": None, "identity": None},
    ]
    dataset = read(listed(folder, "\n".join(map(json.dumps, lines)), "people.jsonl"))
    val = dataset.split("val")
    assert [caption.text for caption in val.captions] == ["One.", "Two.", "Three."]
    assert [(image.camera_id, image.time, image.junk) for image in val.images] == [
        ("4", 1.5, False),
        (None, None, True),
    ]
    assert dataset.split("all").images[0].person_id is None


def test_people_may_have_names(folder):
    path = listed(folder, "image,identity\na.png,zoe\nb.png,ada\nc.png,zoe\n")
    assert [(image.image_id, image.person_id) for image in read(path, form="csv").split("all").images] == [
        ("b.png", 0),
        ("a.png", 1),
        ("c.png", 1),
    ]
    assert "numbered in the order of their names" in source(path, form="csv").notes[0]


def test_a_byte_order_mark_of_a_spreadsheet(folder):
    path = folder / "people.csv"
    path.write_bytes("\ufeffimage,identity\r\na.png,1\r\n".encode())
    assert read(path, form="csv").split("all").identities == (1,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("image\n", "lists no pictures"),
        ("picture,identity\na.png,1\n", "line 2 has no 'image'; it has 'picture', 'identity'"),
        ("imge,identity\na.png,1\n", "Did you mean 'imge'"),
        ("image,idenity\na.png,1\n", "unknown column 'idenity'. Did you mean 'identity'"),
        ("image,image\na.png,b.png\n", "two columns named 'image'"),
        ("image,caption\na.png,red, walks\n", "line 2 has 3 columns; expected 2"),
        ("image,identity\na.png,1\nb.png,two\n", "line 3: identity is 'two', while line 2 has 1"),
        ("image,identity\na.png,-1\nb.png,2\n", "line 2: identity is '-1'"),
        ("image,time\na.png,yesterday\n", "line 2: time is 'yesterday'"),
        ("image,time\na.png,nan\n", "line 2: time is 'nan'"),
        ("image,junk\na.png,maybe\n", "line 2: junk is 'maybe'; expected true or false"),
        ("image,identity,caption\na.png,1,x\na.png,2,y\n", "line 3: identity of a.png is 2, on an earlier line 1"),
        ("image,split,caption\na.png,train,x\na.png,test,y\n", "line 3: split of a.png is test"),
        ("image,caption\na.png,x\na.png,\n", "line 3 lists a.png again without another caption"),
        ("image,identity,split\na.png,1,train\nb.png,1,test\n", "person 1 is in test and in train"),
        ("image\na.png\nd.png\n", "1 of 2 pictures are not in"),
        ('image,caption\na.png,"open\n', "is a quote left open"),
    ],
)
def test_wrong_lines_of_a_csv(folder, text, message):
    with pytest.raises(DataError, match=message):
        read(listed(folder, text), form="csv")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "is empty"),
        ("{", "line 1 is not JSON"),
        ("[1]", "line 1 is list"),
        ('{"img_path": "a.png"}', "line 1 has no 'image'"),
        ('{"image": 5}', "line 1: image is 5; expected text"),
        ('{"image": " "}', "expected the path of a picture"),
        ('{"image": "a.png", "captions": "one"}', "captions is 'one'"),
        ('{"image": "a.png", "captions": [1]}', "expected a list of sentences"),
        ('{"image": "a.png", "caption": ["one"]}', "expected a sentence"),
        ('{"image": "a.png", "caption": ""}', "has an empty caption"),
        ('{"image": "a.png", "identity": 1.5}', "identity is 1.5"),
        ('{"image": "a.png", "identity": true}', "identity is True"),
        ('{"image": "a.png", "camera": 1.5}', "camera is 1.5"),
        ('{"image": "a.png", "time": []}', r"time is \[\]"),
        ('{"image": "a.png", "time": 1e999}', "time is inf"),
    ],
)
def test_wrong_lines_of_a_jsonl(folder, line, message):
    with pytest.raises(DataError, match=message):
        read(listed(folder, line, "people.jsonl"))


def test_what_is_no_text_and_what_is_no_file(folder):
    (folder / "people.csv").write_bytes(b"image\n\xff\xfe.png\n")
    with pytest.raises(DataError, match="is not text in UTF-8"):
        read(folder / "people.csv", form="csv")
    with pytest.raises(DataError, match="is a folder; expected the file that lists"):
        open_dataset(f"csv:{folder}")
    with pytest.raises(DataError, match="no such file"):
        open_dataset(f"jsonl:{folder / 'none.jsonl'}")


@pytest.mark.parametrize("place", ["people.jsonl", "elsewhere/people.jsonl"])
def test_what_is_written_is_read_back(folder, place):
    images = (
        PersonImage("a", folder / "a.png", 5, "c1", 3.25),
        PersonImage("b", folder / "b.png", 6, None, None, junk=True),
        PersonImage("c", folder / "c.png"),
    )
    captions = (Caption("Ünïcode, “quoted”.", "a", 5), Caption("Two\nlines.", "a", 5))
    split = Split("test", images, captions, ("a",))
    again = read(write_list(Dataset("any", folder, {"test": split}), folder / place)).split("test")
    assert [(one.path, one.person_id, one.camera_id, one.time, one.junk) for one in again.images] == [
        (one.path, one.person_id, one.camera_id, one.time, one.junk) for one in images
    ]
    assert [one.text for one in again.captions] == [one.text for one in captions]
    assert again.query_ids == (again.images[0].image_id,)


def test_a_list_that_cannot_be_written(folder):
    (folder / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        write_list(Dataset("any", folder, {}), folder / "file" / "people.jsonl")
