"""A sample of what `benchmarks/gallery.py` does thousands of times: killed writers, damaged files."""

from __future__ import annotations

import pytest
from kills import kill_often
from mutations import of_gallery, of_pictures

from passerby.gallery import edge


@pytest.mark.parametrize(("engine", "runs", "longest"), [("edge", 4, 3.0), ("exact", 6, 0.6)])
def test_kills_lose_nothing_acknowledged_and_resurrect_nothing(tmp_path, engine, runs, longest):
    problems, _ = kill_often(f"{engine}:{tmp_path / 'gallery'}", runs, seed=11, longest_s=longest)
    assert not problems


@pytest.mark.parametrize(("indexed", "count"), [(False, 60), (True, 6)])
def test_damaged_files_of_a_gallery_are_noticed(tmp_path, monkeypatch, indexed, count):
    monkeypatch.setattr(edge, "_INDEX_FROM", edge._INDEX_FROM)  # it is changed, and has to be as it was afterwards
    monkeypatch.setattr(edge, "_FEW", edge._FEW)
    found = of_gallery(tmp_path, count, seed=21, indexed=indexed)
    assert found["files"] == count
    assert found["silent"] == []
    assert 0 < sum(found["noticed"].values()) <= count


def test_damaged_pictures_are_refused_or_pictures():
    found = of_pictures(400, seed=31)
    assert found["silent"] == []
    assert sum(found["noticed"].values()) == 400
