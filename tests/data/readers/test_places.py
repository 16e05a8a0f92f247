"""Where files are: the right root from the wrong one, lists with the numbers of their lines, tables as they come."""

from __future__ import annotations

from pathlib import Path

import pytest

from passerby.data.readers.entries import Entry
from passerby.data.readers.places import find_root, list_images, read_entries, read_lines, read_table
from passerby.errors import DataError


@pytest.fixture
def root(tmp_path):
    right = tmp_path / "data" / "archive" / "set"
    (right / "imgs" / "deep").mkdir(parents=True)
    (right / "mark.json").write_text("{}")
    return right


def test_the_right_root_is_named_from_two_levels_around(root):
    assert find_root(root, ("mark.json",), "the set") == root
    for wrong in (root / "imgs", root / "imgs" / "deep", root.parent, root.parent.parent):
        with pytest.raises(DataError, match=f"give {root}$"):
            find_root(wrong, ("mark.json", "other.json"), "the set")


def test_a_relative_root_is_answered_with_a_relative_one(root, monkeypatch):
    monkeypatch.chdir(root.parent)
    with pytest.raises(DataError, match=r"give set$"):
        find_root(Path("set/imgs"), ("mark.json",), "the set")
    with pytest.raises(DataError, match=r"give set$"):
        find_root(Path(), ("mark.json",), "the set")
    monkeypatch.chdir(root / "imgs")
    with pytest.raises(DataError, match=f"give {root}$"):
        find_root(Path(), ("mark.json",), "the set")


def test_a_known_folder_of_the_archive_is_entered(root):
    assert find_root(root.parent, ("mark.json",), "the set", inside=("other", "set")) == root


def test_no_root_at_all(tmp_path, root):
    for wrong, message in (
        (tmp_path / "none", "no such folder"),
        (root / "mark.json", "is a file"),
        (tmp_path / "empty", "expected the set"),
    ):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(DataError, match=message):
            find_root(wrong, ("nothing.json",), "the set")
    (tmp_path / "empty" / ".unfinished").mkdir()
    with pytest.raises(DataError, match="never finished"):
        find_root(tmp_path / "empty", ("nothing.json",), "the set")


def test_pictures_are_listed_sorted_and_nothing_else(tmp_path):
    for name in ("b.JPG", "a.png", "Thumbs.db", ".hidden.jpg", "sub/c.webp", "sub/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert list_images(tmp_path) == ["a.png", "b.JPG"]
    assert list_images(tmp_path, deep=True) == ["a.png", "b.JPG", "sub/c.webp"]
    with pytest.raises(DataError, match="cannot be read"):
        list_images(tmp_path / "none")


def test_lines_keep_their_numbers(tmp_path):
    (tmp_path / "list").write_bytes("\ufeffone\r\n\r\ntwo\x0cstill two\u2028still\n".encode())
    assert read_lines(tmp_path / "list") == [(1, "one"), (3, "two\x0cstill two\u2028still")]


def test_tables_keep_commas_quotes_and_line_breaks(tmp_path):
    (tmp_path / "t.csv").write_text(' image ,caption\na.jpg,"red, ""very"" red\nand blue"\n,\n\nb.jpg,plain "quoted"\n')
    heading, rows = read_table(tmp_path / "t.csv")
    assert heading == ["image", "caption"]
    assert rows == [(3, ["a.jpg", 'red, "very" red\nand blue']), (6, ["b.jpg", 'plain "quoted"'])]


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "is empty"), (b"a\n\xff", "not text in UTF-8"), (b'a\n"b', "quote left open")]
)
def test_what_is_no_table(tmp_path, content, message):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_table(tmp_path / "t.csv")
    with pytest.raises(DataError, match="cannot be read"):
        read_table(tmp_path / "none.csv")


@pytest.mark.parametrize("content", ["{", "[]", "{}", '"text"', "[" * 100_000])
def test_what_is_no_list_of_entries(tmp_path, content):
    (tmp_path / "list.json").write_text(content)
    with pytest.raises(DataError):
        read_entries(tmp_path / "list.json", "{id}")


def test_entries_say_where(tmp_path):
    entry = Entry({"id": 3, "split": "Train", "captions": ["x"]}, tmp_path / "f.json", "entry 4", ("id",))
    entry.named("a.jpg")
    assert (entry.whole_number("id"), entry.captions("captions")) == (3, ("x",))
    assert entry.choice("split", ("train",), any_case=True) == "train"
    with pytest.raises(DataError, match=r"f.json, entry 4 \(a.jpg\): split is 'Train'; expected train"):
        entry.choice("split", ("train",))
    with pytest.raises(DataError, match="id is 3"):
        entry.text("id")
    with pytest.raises(DataError, match="expected a whole number from 4"):
        entry.whole_number("id", least=4)
    with pytest.raises(DataError, match="is NoneType"):
        Entry(None, tmp_path, "entry 1", ("id",))
