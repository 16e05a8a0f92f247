"""Every check finds the defect that was planted, names it, and finds nothing where nothing was."""

from __future__ import annotations

import dataclasses

import pytest
import set_with_defects

from passerby.data.checking import check
from passerby.data.readers import open_dataset, open_source
from passerby.data.readers.source import Source, SourceRow
from passerby.errors import DataError


@pytest.fixture
def source(tmp_path):
    root = set_with_defects.write(tmp_path, defects=True)
    return open_source("rstpreid", root)


def findings(source, **options):
    return {one.check: one for one in check(source, **options).findings}


PLANTED = {
    "splits with other counts than published": ("fatal", 3, "train: 10 pictures instead of 18505"),
    "pictures listed twice": ("fatal", 1, "0003_c2_0001.jpg (2 times)"),
    "paths that lead out of the folder": ("fatal", 1, "../out.jpg"),
    "people in more than one split": ("fatal", 1, "0 in test and train"),
    "numbers without a person in train": ("note", 37, "2"),
    "pictures with an empty caption, or none": ("fatal", 1, "0003_c1_0000.jpg"),
    "captions shared by several people": ("warning", 2, "2 people: 'the very same sentence.'"),
    "captions that look like program code": ("warning", 1, "0000_c1_0000.jpg: 'x = self.model(image)'"),
    "captions with CJK characters, or without a letter": ("warning", 1, "0001_c1_0000.jpg: '一个男人"),
    "captions that are cut": ("warning", 1, "0002_c1_0000.jpg: 'word word"),
    "captions with line breaks or runs of blanks": ("note", 2, "0001_c1_0000.jpg: 'the very same  sentence.'"),
    "missing pictures": ("fatal", 1, "0000_c2_0001.jpg"),
    "unreadable pictures": ("fatal", 1, "0001_c2_0001.jpg is a text file"),
    "equal files in two splits": ("warning", 1, "0004_c2_0001.jpg is 0000_c1_0000.jpg (test and train)"),
    "equal files of two people": ("warning", 1, "0002_c2_0001.jpg is 0001_c1_0000.jpg (people 40 and 1)"),
    "equal files of one person": ("note", 1, "0003_c2_0001.jpg is 0003_c1_0000.jpg"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_each_defect_is_found(source, name):
    level, count, example = PLANTED[name]
    one = findings(source)[name]
    assert (one.level, one.count) == (level, count)
    assert one.examples[0].startswith(example)
    assert one.advice


def test_all_checks_are_planted_and_reading_is_refused(source):
    assert set(findings(source)) == set(PLANTED)
    assert check(source).is_fatal
    with pytest.raises(DataError):
        open_dataset(f"rstpreid:{source.root}")


def test_a_good_set_has_no_finding(tmp_path):
    root = set_with_defects.write(tmp_path, defects=False)
    (root / "street.json").write_text("{}")
    found = check(open_source("rstpreid", root))
    assert {one.check: one.count for one in found.findings if one.count} == {}
    assert not found.is_fatal
    assert not found.published
    assert found.counts["train"].captions == 16
    open_dataset(f"rstpreid:{root}")  # what has no finding is read


def test_shares_of_shared_captions_stand_by_split(source):
    assert findings(source)["captions shared by several people"].detail.startswith("train 10.53 %, test 0.00 %")


def test_a_sample_says_how_many_and_all_finds_all(tmp_path):
    root = set_with_defects.write(tmp_path, defects=False)
    for name in ("0000_c1_0000.jpg", "0003_c2_0001.jpg"):
        (root / "imgs" / name).write_bytes(b"\xff\xd8\xff")
    source = open_source("rstpreid", root)
    some, everything = (
        findings(source, sample=3)["unreadable pictures"],
        findings(source, sample=None)["unreadable pictures"],
    )
    assert some.of == 3
    assert "3 of 12 were decoded" in some.detail
    assert (everything.count, everything.of, everything.detail) == (2, 12, "")
    assert findings(source, sample=3) == findings(source, sample=3)


def test_progress_reaches_its_total(source):
    seen = []
    check(source, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1]


def test_without_captions_and_people_only_files_are_checked(tmp_path):
    source = Source("flat", "files", tmp_path, tmp_path, tmp_path, (SourceRow("a.jpg", "all"),))
    assert set(findings(source)) == {
        "pictures listed twice", "paths that lead out of the folder", "missing pictures", "unreadable pictures",
        "equal files in two splits", "equal files of two people", "equal files of one person",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("gallery", "unmatched"),
    [
        ([("c2", 1, False)], 0),
        ([("c1", 1, False)], 1),  # its own camera
        ([("c2", 2, False)], 1),  # somebody else
        ([("c2", 1, True)], 1),  # junk
        ([(None, 1, False)], 0),  # a camera nobody knows may be another
        ([], 1),
    ],
)
def test_queries_that_can_find_nothing(tmp_path, gallery, unmatched):
    rows = [SourceRow("q.jpg", "test", 1, camera_id="c1", asks=True)]
    rows += [
        SourceRow(f"{n}.jpg", "test", who, camera_id=camera, junk=junk) for n, (camera, who, junk) in enumerate(gallery)
    ]
    source = Source("made", "made", tmp_path, tmp_path, tmp_path, tuple(rows))
    assert findings(source)["queries without a match by another camera"].count == unmatched


def test_pictures_instead_of_people_where_nobody_is_known(source):
    rows = tuple(dataclasses.replace(row, person_id=None) for row in source.rows)
    found = findings(dataclasses.replace(source, rows=rows))
    assert found["captions shared by several pictures"].count == 2
