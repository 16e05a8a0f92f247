"""DukeMTMC-reID for those who hold it: read, warned about, and in no table of all data sets."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from reid_miniatures import DUKE, few, folders

from passerby.data.readers import READERS, dukemtmc, open_dataset
from passerby.data.readers.dukemtmc import NOTICE, read
from passerby.data.readers.source import Counts
from passerby.errors import DataError


@pytest.fixture
def root(tmp_path, monkeypatch):
    few(monkeypatch, dukemtmc, PUBLISHED={"train": Counts(2, 2), "test": Counts(3, 2, queries=1)})
    return folders(tmp_path / "DukeMTMC-reID", DUKE)


def test_opening_warns_with_the_reason(root):
    with pytest.warns(UserWarning, match="withdrawn by its authors in 2019: people were filmed without the consent"):
        dataset = open_dataset(f"dukemtmc:{root}")
    test = dataset.split("test")
    assert [(image.person_id, image.camera_id) for image in test.images] == [(10, "c8"), (10, "c1"), (7050, "c3")]
    assert test.query_ids == ("query/0010_c1_f0038923.jpg",)
    assert "withdrawn" in dataset.licence


def test_a_street_in_its_layout_is_nobodys_secret(root):
    (root / "street.json").write_text("{}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(root).licence.startswith("Apache-2.0")


def test_it_alone_is_flagged_and_nothing_tells_where_to_get_it():
    assert [name for name, reader in READERS.items() if reader.withdrawn] == ["dukemtmc"]
    assert "http" not in Path(dukemtmc.__file__).read_text("utf-8") + NOTICE


@pytest.mark.filterwarnings("ignore:DukeMTMC")
def test_damage_is_refused(root):
    folders(root, {"query": ["0010_c1s1_000401_00.jpg"]})
    with pytest.raises(DataError, match="it is named as in market1501: open it as that"):
        read(root)


@pytest.mark.filterwarnings("ignore:DukeMTMC")
def test_it_is_held_to_its_published_counts(tmp_path):
    assert dukemtmc.PUBLISHED["test"] == Counts(19_889, 1_110, queries=2_228)
    with pytest.raises(DataError, match="train of DukeMTMC-reID has 2 pictures instead of 16522, 2 people instead of"):
        read(folders(tmp_path, DUKE))
    with pytest.raises(DataError, match="give "):
        read(tmp_path / "query")
