"""Paired-batch figures against loops, and the ceilings and floors of the reports against their closed forms."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passerby.errors import DataError
from passerby.metrics import average_precision, rank_scores, relevance_from_labels
from passerby.metrics.paired import duplicate_ceiling, duplicate_floor, paired_chance, paired_recall
from passerby.metrics.second_stage import second_stage_scores


def pairs(images, captions):
    return np.repeat(np.arange(images), captions)


def naive_recall(texts, images, batch, k):
    hits = 0.0
    for first in range(0, len(texts), batch):
        part = range(first, min(first + batch, len(texts)))
        for row in part:
            own = float(texts[row] @ images[row])
            better = sum(float(texts[row] @ images[other]) > own for other in part)
            equal = sum(float(texts[row] @ images[other]) == own for other in part)
            hits += min(1.0, max(0.0, (k - better) / equal))  # a tied row takes each place equally often
    return hits / len(texts)


@settings(max_examples=40, deadline=None)
@given(images=st.integers(1, 6), captions=st.integers(1, 5), batch=st.integers(1, 12), seed=st.integers(0, 999))
def test_recall_equals_a_loop_ties_included(images, captions, batch, seed):
    rng = np.random.default_rng(seed)
    picture = pairs(images, captions)
    vectors = rng.integers(-2, 3, (images, 3)).astype(np.float64)[picture]
    texts = rng.integers(-2, 3, (len(picture), 3)).astype(np.float64)
    found = paired_recall(texts, vectors, batch, (1, 2, 5))
    for k in (1, 2, 5):
        assert found[f"paired_recall@{k}"] == pytest.approx(naive_recall(texts, vectors, batch, k), abs=1e-12)


#: Batch -> ceiling of R@1 and floor of the loss for five captions a picture, as the forensic reading has them.
CEILINGS = {8: (0.3000, 1.316), 16: (0.2500, 1.463), 32: (0.2250, 1.536), 48: (0.2167, 1.561), 64: (0.2125, 1.573),
            96: (0.2083, 1.585), 128: (0.2063, 1.591)}  # fmt: skip


@pytest.mark.parametrize("batch", CEILINGS)
def test_ceiling_and_floor_of_flickr30k(batch):
    ceiling, floor = CEILINGS[batch]
    rows = pairs(batch * 5 * 4, 5)  # whole periods, so that no shorter last batch blurs the fourth digit
    assert duplicate_ceiling(rows, batch) == pytest.approx(ceiling, abs=6e-5)
    assert duplicate_ceiling(rows, batch) == pytest.approx((batch + 4) / (5 * batch))
    assert duplicate_floor(rows, batch) == pytest.approx(floor, abs=5e-4)
    assert duplicate_ceiling(rows, batch, 5) == 1.0


def test_ceiling_and_floor_of_the_real_split_and_of_rstpreid():
    flickr, rstp = pairs(6356, 5), pairs(1000, 2)
    assert duplicate_ceiling(flickr, 96) == pytest.approx(0.2083, abs=1e-4)
    assert duplicate_floor(flickr, len(flickr)) == pytest.approx(math.log(5))
    for batch in (16, 48, 64):
        assert duplicate_ceiling(rstp, batch) == 0.5
        assert duplicate_floor(rstp, batch) == pytest.approx(math.log(2))
    assert [round(paired_chance(960, 96, k), 3) for k in (1, 5, 10)] == [0.010, 0.052, 0.104]


def test_a_perfect_matcher_reaches_the_ceiling_and_no_more():
    picture = pairs(40, 5)
    vectors = np.random.default_rng(0).normal(size=(40, 32))[picture]
    found = paired_recall(vectors, vectors, 96, (1, 5, 10))
    assert found["paired_recall@1"] == pytest.approx(duplicate_ceiling(picture, 96))
    assert found["paired_recall@5"] == found["paired_recall@10"] == 1.0


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: paired_recall(np.zeros((3, 2)), np.zeros((4, 2)), 2), r"\(3, 2\).*\(4, 2\)"),
        (lambda: paired_recall(np.zeros((0, 2)), np.zeros((0, 2)), 2), "0 rows"),
        (lambda: paired_recall(np.full((2, 2), np.nan), np.zeros((2, 2)), 2), "NaN"),
        (lambda: duplicate_ceiling([0, 1], 0), "batches of 0"),
        (lambda: duplicate_floor([[0, 1]], 1), "one row of labels"),
    ],
)
def test_wrong_input(call, words):
    with pytest.raises(DataError, match=words):
        call()


# -- two stages -----------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(queries=st.integers(1, 4), gallery=st.integers(1, 12), share=st.floats(0.01, 1), seed=st.integers(0, 999))
def test_candidates_come_first_in_their_new_order_and_the_rest_as_it_was(queries, gallery, share, seed):
    rng = np.random.default_rng(seed)
    first = rng.normal(size=(queries, gallery)).astype(np.float32)
    count = max(1, int(share * gallery))
    candidates = np.argsort(-first, axis=1)[:, :count]
    second = rng.normal(size=candidates.shape)
    order = np.argsort(-second_stage_scores(first, candidates, second), axis=1)
    for row in range(queries):
        expected = list(candidates[row][np.argsort(-second[row])])
        expected += [place for place in np.argsort(-first[row]) if place not in candidates[row]]
        assert list(order[row]) == expected


def test_a_second_stage_that_knows_the_answer_raises_the_figures():
    first = np.array([[0.9, 0.8, 0.7, 0.1]])
    relevance = relevance_from_labels([1], [0, 0, 1, 1])
    before = average_precision(rank_scores(first, relevance))[0]
    scores = second_stage_scores(first, np.array([[0, 1, 2]]), np.array([[-5.0, -7.0, 3.0]]))
    assert before == pytest.approx((1 / 3 + 2 / 4) / 2)
    assert average_precision(rank_scores(scores, relevance))[0] == pytest.approx((1 + 2 / 4) / 2)


@pytest.mark.parametrize(
    ("first", "candidates", "second", "words"),
    [
        (np.zeros((2, 3)), np.zeros((1, 1), int), np.zeros((1, 1)), r"\(2, 3\)"),
        (np.zeros((1, 3)), np.array([[3]]), np.zeros((1, 1)), "the gallery has 3"),
        (np.zeros((1, 3)), np.array([[1, 1]]), np.zeros((1, 2)), "same candidate twice"),
        (np.zeros((1, 3)), np.array([[1, 2]]), np.array([[1, np.nan]]), "NaN"),
    ],
)
def test_wrong_second_stage(first, candidates, second, words):
    with pytest.raises(DataError, match=words):
        second_stage_scores(first, candidates, second)
