"""Ranked sheets: the right queries are chosen, the right verdicts drawn."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from passerby.data.records import Caption, PersonImage, Split
from passerby.errors import ConfigError, DataError
from passerby.evaluation import Features, Scoring, find_protocol
from passerby.evaluation import ranked_sheets as module
from passerby.evaluation.ranked_sheets import choose_queries, write_ranked_sheets

TEXT, IMAGE = find_protocol("text-to-image"), find_protocol("image-to-image", same_camera="junk")


@pytest.fixture
def street(tmp_path):
    """Twelve people with three pictures each; vectors that get worse from person to person."""
    images = []
    for person in range(12):
        for view in range(3):
            path = tmp_path / f"{person}_{view}.png"
            Image.new("RGB", (16, 32), (20 * person, 100, 80 * view)).save(path)
            images.append(PersonImage(path.name, path, person, f"c{view // 2}"))
    captions = tuple(Caption(f"person {i.person_id}", i.image_id, i.person_id) for i in images[::3])
    split = Split("test", tuple(images), captions)
    random = np.random.default_rng(0)
    vectors = np.repeat(np.eye(12), 3, axis=0) + random.normal(size=(36, 12)) * np.repeat(np.arange(12), 3)[:, None] / 9
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return split, Features(vectors, vectors[1::3])


def test_best_middle_and_worst_are_chosen_with_no_person_twice():
    precision = np.array([1.0, 1.0, 0.9, np.nan, 0.5, 0.4, 0.1, 0.0])
    people = np.array([1, 1, 2, 3, 4, 5, 6, 7])
    chosen = choose_queries(precision, people, 2, seed=0)
    assert chosen["good"][0] in (0, 1)
    assert chosen["good"][1] == 2
    assert chosen["bad"] == [7, 6]
    assert chosen["median"] in ([2, 4], [4, 5])
    assert choose_queries(precision, people, 99, seed=0)["bad"][-1] in (0, 1)


def test_verdicts_follow_the_protocol(street, monkeypatch):
    split, features = street
    drawn = {}
    monkeypatch.setattr(module, "ranked_sheet", lambda title, rows, **_: drawn.setdefault(title, rows))
    monkeypatch.setattr(module, "save_sheet", lambda sheet, path: path)
    write_ranked_sheets(features, split, IMAGE, Path("unused"), rows=12, top=36)
    rows = drawn["Good queries"]
    assert len(rows) == 12
    for row in rows:
        verdicts = [tile.verdict for tile in row.tiles]
        camera_is_shared = not row.query.endswith("_2.png")
        assert len(verdicts) == 35  # all but the query itself
        assert verdicts.count("junk") == int(camera_is_shared)
        assert verdicts.count("hit") == 2 - int(camera_is_shared)
        ranks = [tile.caption.split(" ")[0] for tile in row.tiles if tile.verdict != "junk"]
        assert ranks == [str(place + 1) for place in range(len(ranks))]


def test_captions_are_shown_with_their_pictures_and_another_scoring_decides_the_order(street, monkeypatch):
    split, features = street
    drawn = {}
    monkeypatch.setattr(module, "ranked_sheet", lambda title, rows, **_: drawn.__setitem__(title, rows))
    monkeypatch.setattr(module, "save_sheet", lambda sheet, path: path)
    write_ranked_sheets(features, split, find_protocol("image-to-text"), Path("unused"), rows=1, top=2)
    good = drawn["Good queries"][0]
    assert good.tiles[0].verdict == "hit"
    assert f"person {good.query.split('_')[0]}" in good.tiles[0].caption
    junk = replace(split, images=tuple(replace(i, junk=i.image_id == "0_1.png") for i in split.images))
    upside_down = Scoring("upside down", lambda queries, gallery, own: iter([-(queries @ gallery.T)]))
    for scoring, shown in ((None, 36), (upside_down, 35)):  # junk has no score but the dot product
        write_ranked_sheets(features, junk, TEXT, Path("unused"), rows=1, top=99, scoring=scoring)
        tiles = drawn["Bad queries"][0].tiles
        assert len(tiles) == shown
        scores = [float(tile.caption.split(" · ")[1]) for tile in tiles]
        assert scores == sorted(scores, reverse=True)
    assert drawn["Bad queries"][0].tiles[0].verdict == "miss"


def test_three_sheets_are_written(street, tmp_path):
    split, features = street
    for protocol in (TEXT, IMAGE):
        written = write_ranked_sheets(features, split, protocol, tmp_path / protocol.name, rows=3, top=4)
        assert list(written) == ["good", "median", "bad"]
        for path in written.values():
            with Image.open(path) as sheet:
                assert sheet.width > 600


def test_a_missing_picture_is_named(street, tmp_path):
    split, features = street
    for image in split.images:
        image.path.unlink()
    with pytest.raises(DataError, match=r"_.*png"):
        write_ranked_sheets(features, split, TEXT, tmp_path)


def test_empty_sheets_are_refused(street, tmp_path):
    split, features = street
    with pytest.raises(ConfigError, match="0 queries"):
        write_ranked_sheets(features, split, TEXT, tmp_path, rows=0)
