"""Who counts for whom, against plain loops over every pair."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passerby.errors import DataError
from passerby.metrics import relevance_from_labels


def rows(start, values):
    return [sorted(values[low:high].tolist()) for low, high in pairwise(start)]


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 2**32 - 1), st.booleans(), st.booleans())
def test_every_pair_is_hit_junk_or_miss_as_the_loops_say(seed, with_cameras, with_itself):
    random = np.random.default_rng(seed)
    queries, size = random.integers(1, 8), random.integers(1, 12)
    query, gallery = random.integers(-1, 4, queries), random.integers(-1, 4, size)
    query_camera, gallery_camera = random.integers(-1, 3, queries), random.integers(-1, 3, size)
    ignored, itself = random.random(size) < 0.3, random.integers(-1, size, queries)
    relevance = relevance_from_labels(
        query,
        gallery,
        ignored=ignored,
        itself=itself if with_itself else None,
        query_cameras=query_camera if with_cameras else None,
        gallery_cameras=gallery_camera if with_cameras else None,
    )
    hits, junk = [], []
    for q in range(queries):
        hits.append([]), junk.append([])
        for g in range(size):
            if ignored[g]:
                continue
            same = query[q] == gallery[g] and query[q] >= 0
            same_camera = with_cameras and query_camera[q] == gallery_camera[g] and query_camera[q] >= 0
            if (same and same_camera) or (with_itself and itself[q] == g):
                junk[q].append(g)
            elif same:
                hits[q].append(g)
    assert rows(relevance.positive_start, relevance.positives) == hits
    assert rows(relevance.junk_start, relevance.junk) == junk
    assert relevance.queries == queries
    counted = [size - ignored.sum() - len(left_out) for left_out in junk]
    np.testing.assert_array_equal(relevance.counted, counted)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"query_labels": [0.5], "gallery_labels": [1]}, "query_labels.*float64"),
        ({"query_labels": [1], "gallery_labels": [[1]]}, r"gallery_labels has shape \(1, 1\)"),
        ({"query_labels": [1], "gallery_labels": ["a"]}, "integers"),
        ({"query_labels": [1], "gallery_labels": [1], "ignored": [0]}, "ignored.*bool"),
        ({"query_labels": [1], "gallery_labels": [1], "ignored": [True, False]}, "ignored"),
        ({"query_labels": [1], "gallery_labels": [1], "itself": [1]}, "gallery item 1, but the gallery has 1"),
        ({"query_labels": [1], "gallery_labels": [1], "itself": [0, 0]}, "itself has 2 entries; expected 1"),
        ({"query_labels": [1], "gallery_labels": [1], "query_cameras": [1]}, "needs both"),
        ({"query_labels": [1], "gallery_labels": [1], "query_cameras": [1], "gallery_cameras": []}, "expected 1"),
    ],
)
def test_wrong_input_is_refused_by_name(arguments, words):
    with pytest.raises(DataError, match=words):
        relevance_from_labels(**arguments)


def test_an_empty_gallery_has_neither_hits_nor_junk():
    relevance = relevance_from_labels([1, 2], np.zeros(0, int), itself=[-1, -1])
    assert len(relevance.positives) == len(relevance.junk) == 0
    assert relevance.counted.tolist() == [0, 0]
