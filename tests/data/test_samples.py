"""A sheet of a data set: people by the seed, what cannot be read counted, what is not there refused."""

from __future__ import annotations

import numpy as np
import pytest
import set_with_defects

from passerby.data.readers import open_source
from passerby.data.samples import sample_sheet
from passerby.errors import DataError


@pytest.fixture
def source(tmp_path):
    return open_source("rstpreid", set_with_defects.write(tmp_path, defects=False))


def drawn(source, **options):
    return np.asarray(sample_sheet(source, **{"split": None, "people": 3, "views": 2, "seed": 0, **options}))


def test_the_seed_decides_and_more_people_need_more_room(source):
    assert np.array_equal(drawn(source), drawn(source))
    assert not np.array_equal(drawn(source), drawn(source, seed=1))
    assert drawn(source, people=6).shape[0] > drawn(source, people=2).shape[0]


def test_a_set_with_defects_is_drawn_without_them(tmp_path):
    source = open_source("rstpreid", set_with_defects.write(tmp_path / "bad", defects=True))
    assert drawn(source, people=20).size


def test_no_such_split(source):
    with pytest.raises(DataError, match=r"has no split 'tst'; it has train, test. Did you mean 'test'"):
        drawn(source, split="tst")


def test_nothing_to_draw(source):
    for path in (source.root / "imgs").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="none of the 6 pictures drawn"):
        drawn(source)
