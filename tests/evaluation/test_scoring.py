"""The place where re-ranking enters: what a scoring is given, what is done with its scores, what is stamped."""

import sys
from pathlib import Path

import numpy as np
import pytest

from passerby.data.records import PersonImage, Split
from passerby.errors import ConfigError, DataError, MissingExtraError
from passerby.evaluation import Features, Scoring, dot_product, evaluate_features, find_protocol, rank_task, set_up
from passerby.metrics import average_precision

CROSS, IMAGE = find_protocol("cross-camera"), find_protocol("image-to-image")


def market(queries=6, gallery=24, seed=0, keep_queries=True):
    """Pictures by two cameras; the gallery holds junk and strangers."""
    random = np.random.default_rng(seed)
    images = [PersonImage(f"q{n}", Path(f"q{n}.jpg"), n % 3, f"c{n % 2}") for n in range(queries)]
    for number in range(gallery):
        person = None if number % 7 == 6 else number % 3
        images.append(PersonImage(f"g{number}", Path(f"g{number}.jpg"), person, f"c{number % 2}", junk=number % 5 == 4))
    vectors = random.normal(size=(len(images), 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    asks = tuple(image.image_id for image in images[:queries]) if keep_queries else ()
    return Split("test", tuple(images), query_ids=asks), Features(vectors)


def recording(seen):
    def blocks(queries, gallery, own):
        seen.append((queries, gallery, own))
        for first in range(0, len(queries), 4):
            yield queries[first : first + 4] @ gallery.T

    return Scoring("recorded (k 3)", blocks, transductive=True)


@pytest.mark.parametrize("keep_queries", [True, False])
def test_a_scoring_sees_no_junk_and_is_told_which_picture_is_the_query_itself(keep_queries):
    split, features = market(keep_queries=keep_queries)
    seen = []
    report = evaluate_features(features, split, IMAGE, scoring=recording(seen))
    queries, gallery, own = seen[0]
    searched = [image for image in split.images if not image.junk and image.image_id not in split.query_ids]
    assert len(gallery) == len(searched)
    assert len(queries) == len(own) == report.counts["queries"]
    if keep_queries:
        assert (own == -1).all()
    else:
        np.testing.assert_array_equal(gallery[own], queries)
    plain = evaluate_features(features, split, IMAGE)
    assert report.figures == pytest.approx(dict(plain.figures))
    assert (report.scoring, report.transductive) == ("recorded (k 3)", True)
    assert any("recorded (k 3)" in note and "transductive" in note for note in report.notes())
    assert (plain.scoring, plain.transductive) == ("dot product", False)


def test_what_a_scoring_says_decides_the_figures():
    split, features = market()
    against = Scoring("upside down", lambda queries, gallery, own: iter([-(queries @ gallery.T)]))
    task = set_up(split, CROSS)
    up, down = (rank_task(features, task, scoring)[0] for scoring in (dot_product(), against))
    assert (average_precision(up) != average_precision(down)).any()
    assert up.positives.tolist() == down.positives.tolist()


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        (lambda q, g, own: iter([np.full((len(q), len(g)), np.nan)]), "score rows"),
        (lambda q, g, own: iter([(q @ g.T)[:-1]]), "scores of 5 queries"),
        (lambda q, g, own: iter([(q @ g.T).astype(np.float16)]), "float16"),
    ],
)
def test_a_scoring_that_gives_nonsense_is_refused(scores, words):
    split, features = market()
    with pytest.raises(DataError, match=words):
        evaluate_features(features, split, CROSS, scoring=Scoring("broken", scores))


def test_dot_products_come_in_blocks_and_in_float32(monkeypatch):
    monkeypatch.setattr("passerby.metrics.positions._BLOCK_BYTES", 4 * 10 * 3)
    random = np.random.default_rng(1)
    queries, gallery = random.normal(size=(8, 5)).astype(np.float16), random.normal(size=(10, 5)).astype(np.float32)
    blocks = list(dot_product("cpu").blocks(queries, gallery, np.full(8, -1)))
    assert [block.shape for block in blocks] == [(3, 10), (3, 10), (2, 10)]
    assert {block.dtype for block in blocks} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(np.concatenate(blocks), queries.astype(np.float32) @ gallery.T)


def test_devices_that_are_not_there_are_said(monkeypatch):
    with pytest.raises(ConfigError, match="Did you mean 'cuda'"):
        dot_product("cudda")
    monkeypatch.setitem(sys.modules, "torch", None)  # makes an import fail
    with pytest.raises(MissingExtraError, match="scoring on a GPU"):
        dot_product("cuda")
    monkeypatch.delitem(sys.modules, "torch")
    assert dot_product("auto").name == "dot product"  # which loads no torch to find out
    assert "torch" not in sys.modules


def test_a_gpu_that_torch_does_not_see_is_said(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="sees no GPU"):
        dot_product("cuda")
    split, features = market()
    assert evaluate_features(features, split, CROSS, scoring=dot_product("auto")).counts["queries"] == 6


def test_a_gpu_finds_what_the_processor_finds():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    split, features = market(queries=40, gallery=300)
    here, there = (evaluate_features(features, split, CROSS, scoring=dot_product(at)) for at in ("cpu", "cuda"))
    assert here.figures == pytest.approx(dict(there.figures), abs=0.01)
