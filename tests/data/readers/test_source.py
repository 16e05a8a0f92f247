"""From rows to records: order, counts and refusals, for any order of the files, against counting by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passerby.data.readers.source import (
    Counts,
    Source,
    SourceRow,
    assemble,
    count,
    crossing,
    differences,
    in_one_split,
    leads_out,
    missing,
    repeated,
)
from passerby.errors import DataError

ROWS = st.lists(
    st.builds(
        SourceRow,
        image=st.sampled_from([f"{folder}{name}.jpg" for folder in ("", "sub/") for name in "abcdef"]),
        split=st.sampled_from(["test", "train", "val", "zoo", "extra"]),
        person_id=st.none() | st.integers(0, 4),
        captions=st.lists(st.sampled_from(["One.", "Two."]), max_size=2).map(tuple),
        junk=st.booleans(),
        asks=st.booleans(),
    ),
    max_size=20,
)


def made(rows, folder=Path("nowhere"), **options):
    return Source("made", "Made", folder, folder, folder / "list", tuple(rows), **options)


@settings(max_examples=40, deadline=None)
@given(ROWS)
def test_counts_are_those_of_counting_by_hand(rows):
    people, captions, queries = set(), 0, 0
    for row in rows:
        captions += len(row.captions)
        queries += 1 if row.asks else 0
        if row.person_id is not None and not row.junk:
            people.add(row.person_id)
    assert count(rows) == Counts(len(rows), len(people), captions, queries)


@settings(max_examples=40, deadline=None)
@given(ROWS)
def test_crossing_and_repeated_are_those_of_comparing_all_pairs(rows):
    pairs = [(a, b) for number, a in enumerate(rows) for b in rows[number + 1 :]]
    both = {
        a.person_id
        for a, b in pairs
        if a.person_id is not None and a.person_id == b.person_id and a.split != b.split and not a.junk and not b.junk
    }
    assert set(crossing(made(rows))) == both
    assert set(repeated(made(rows))) == {a.image for a, b in pairs if a.image == b.image}
    assert crossing(in_one_split(made(rows))) == {}


@settings(max_examples=40, deadline=None)
@given(ROWS, st.randoms())
def test_the_order_of_the_files_does_not_matter(rows, random):
    distinct = list({row.image: row for row in rows}.values())
    again = list(distinct)
    random.shuffle(again)
    splits = made(distinct).by_split()
    assert splits == made(again).by_split()
    assert list(splits) == list(made(again).by_split())
    usual = [name for name in splits if name in ("train", "val", "test")]
    assert list(splits)[: len(usual)] == usual
    assert usual == [name for name in ("train", "val", "test") if name in splits]


@pytest.fixture
def folder(tmp_path):
    for name in ("a.jpg", "b.jpg", "sub/c.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"picture")
    return tmp_path


def rows():
    return [
        SourceRow("b.jpg", "test", 1, camera_id="c1", asks=True),
        SourceRow("sub/c.jpg", "test", None, junk=True, time=2.5),
        SourceRow("a.jpg", "test", 1, ("One.", "Two."), "c2"),
    ]


def test_records_hold_all_that_the_rows_said(folder):
    dataset = assemble(made(rows(), folder, licence="free", provenance={"test": "made up"}))
    split = dataset.split("test")
    assert [image.image_id for image in split.images] == ["a.jpg", "b.jpg", "sub/c.jpg"]
    assert [image.path for image in split.images] == [folder / "a.jpg", folder / "b.jpg", folder / "sub" / "c.jpg"]
    assert [image.camera_id for image in split.images] == ["c2", "c1", None]
    assert (split.images[2].junk, split.images[2].time) == (True, 2.5)
    assert split.query_ids == ("b.jpg",)
    assert [(one.text, one.image_id, one.person_id) for one in split.captions] == [
        ("One.", "a.jpg", 1),
        ("Two.", "a.jpg", 1),
    ]
    assert (dataset.licence, split.provenance) == ("free", "made up")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"published": {"test": Counts(4)}}, "split test of Made has 3 pictures instead of 4 as published"),
        ({"published": {"test": Counts(3, 2)}}, "has 1 people instead of 2"),
        ({"published": {"test": Counts(3, 1, 2, 5)}}, "has 1 queries instead of 5"),
        ({"published": {"train": Counts(1)}}, "split train of Made has 0 pictures instead of 1"),
        ({"captioned": True}, "b.jpg has no caption"),
    ],
)
def test_what_is_not_as_published_is_refused(folder, change, message):
    with pytest.raises(DataError, match=message):
        assemble(made(rows(), folder, **change))


def test_a_street_is_spared_the_counts_and_has_its_own_licence(folder):
    (folder / "street.json").write_text("{}")
    dataset = assemble(made(rows(), folder, published={"test": Counts(4)}, licence="research only"))
    assert "synthetic street" in dataset.licence


def test_nothing_listed_and_nowhere_to_look(folder):
    with pytest.raises(DataError, match="lists no pictures"):
        assemble(made([], folder))
    with pytest.raises(DataError, match="no such folder"):
        assemble(made(rows(), folder / "none"))


@pytest.mark.parametrize("image", ["../a.jpg", "sub/../../a.jpg", "/etc/passwd", "..\\a.jpg", "a\0.jpg"])
def test_paths_that_lead_out(folder, image):
    assert leads_out(image)
    with pytest.raises(DataError, match="leads out of"):
        assemble(made([SourceRow(image, "all")], folder))


def test_ones_own_list_may_lead_anywhere(folder):
    source = made([SourceRow("../a.jpg", "all"), SourceRow(str(folder / "b.jpg"), "all")], folder / "sub", own=True)
    assert len(assemble(source).split("all").images) == 2


def test_missing_pictures_are_those_that_are_no_files(folder):
    listed = ["a.jpg", "sub/c.jpg", "sub/d.jpg", "none/e.jpg", "f.jpg"]
    assert missing(made([SourceRow(name, "all") for name in listed], folder)) == ["f.jpg", "none/e.jpg", "sub/d.jpg"]


def test_only_what_is_off_is_named():
    assert differences(Counts(1, 2, 3, 4), Counts(1, 2, 3, 4)) == []
    assert differences(Counts(1, 2, 3, 4), Counts(1)) == []
    assert differences(Counts(1, 2, 3, 4), Counts(1, 5, 3, None)) == ["2 people instead of 5"]
