"""Alpha query expansion against plain loops, in both modes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passerby.errors import ConfigError, DataError
from passerby.metrics.query_expansion import AlphaExpansion, expanded_features


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def naive(queries, gallery, k, alpha, transductive):
    """One row at a time; the row itself first, with weight 1."""

    def expanded(vector, others):
        scores = [float(vector @ other) for other in others]
        near = sorted(range(len(others)), key=lambda j: -scores[j])[: k - 1]
        return unit(vector + sum((max(0.0, scores[j]) ** alpha * others[j] for j in near), np.zeros(len(vector))))

    queries, gallery = unit(queries), unit(gallery)
    pool = np.concatenate([queries, gallery]) if transductive else gallery
    new_pool = [expanded(row, np.delete(pool, i, axis=0)) for i, row in enumerate(pool)]
    if transductive:
        return np.array(new_pool[: len(queries)]), np.array(new_pool[len(queries) :])
    return np.array([expanded(row, gallery) for row in queries]), np.array(new_pool)


def people(seed, queries=6, gallery=40, dim=8, owners=5):
    random = np.random.default_rng(seed)
    directions = random.normal(size=(owners, dim))
    return [directions[random.integers(owners, size=n)] + random.normal(size=(n, dim)) for n in (queries, gallery)]


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 1000), st.integers(1, 9), st.sampled_from([0.0, 0.5, 1.0, 3.0]), st.booleans(), st.integers(1, 30)
)
def test_it_is_the_weighted_mean_of_the_nearest(seed, k, alpha, transductive, size):
    queries, gallery = people(seed, gallery=size)
    found = expanded_features(queries, gallery, AlphaExpansion(k, alpha), transductive=transductive)
    for ours, expected in zip(found, naive(queries, gallery, k, alpha, transductive), strict=True):
        np.testing.assert_allclose(ours, expected, atol=2e-5)
        np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-6)


def test_one_neighbour_is_the_picture_itself():
    queries, gallery = people(0)
    found = expanded_features(queries, gallery, AlphaExpansion(k=1))
    np.testing.assert_allclose(found[0], unit(queries), atol=1e-6)
    np.testing.assert_allclose(found[1], unit(gallery), atol=1e-6)


def test_beside_the_gallery_an_answer_has_the_same_bits_whoever_else_asks(monkeypatch):
    monkeypatch.setattr("passerby.metrics.neighbours._MOST_ROWS", 16)
    queries, gallery = people(1, queries=40, gallery=150, dim=48)
    whole, of_gallery = expanded_features(queries, gallery, transductive=False)
    for alone in (0, 15, 16, 39):
        mine, same_gallery = expanded_features(queries[[alone]], gallery, transductive=False)
        np.testing.assert_array_equal(mine[0], whole[alone])
        np.testing.assert_array_equal(same_gallery, of_gallery)
    together = expanded_features(queries, gallery)[0]
    assert np.abs(expanded_features(queries[:1], gallery)[0] - together[:1]).max() > 1e-3


@pytest.mark.parametrize("transductive", [True, False])
def test_queries_that_are_gallery_pictures_get_their_vectors(transductive):
    outsiders, gallery = people(2, queries=2)
    queries, own = np.concatenate([gallery[[7, 3]], outsiders]), np.array([7, 3, -1, -1])
    found, of_gallery = expanded_features(queries, gallery, transductive=transductive, own=own)
    np.testing.assert_array_equal(found[:2], of_gallery[[7, 3]])
    expected = naive(outsiders, gallery, 5, 3.0, transductive)
    np.testing.assert_allclose(found[2:], expected[0], atol=2e-5)
    np.testing.assert_allclose(of_gallery, expected[1], atol=2e-5)


def test_order_of_the_gallery_means_nothing():
    queries, gallery = people(3)
    order = np.random.default_rng(3).permutation(len(gallery))
    for mode in (True, False):
        plain = expanded_features(queries, gallery, transductive=mode)
        shuffled = expanded_features(queries, gallery[order], transductive=mode)
        np.testing.assert_allclose(shuffled[0], plain[0], atol=1e-6)
        np.testing.assert_allclose(shuffled[1], plain[1][order], atol=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: AlphaExpansion(k=0), ConfigError, "k = 0; expected at least 1"),
        (lambda: AlphaExpansion(alpha=-1), ConfigError, "alpha = -1"),
        (lambda: AlphaExpansion(alpha=float("nan")), ConfigError, "alpha = nan"),
        (lambda: expanded_features(np.ones((2, 3)), np.ones((2, 4))), DataError, r"\(2, 3\) and \(2, 4\)"),
        (lambda: expanded_features(np.ones((2, 3)), np.zeros((2, 3))), DataError, "2 of 2 gallery rows are all zeros"),
        (lambda: expanded_features(np.full((2, 3), np.inf), np.ones((2, 3))), DataError, "query rows hold .*inf"),
        (lambda: expanded_features(np.ones((2, 3)), np.ones((2, 3)), own=[0, 5]), DataError, "gallery row 5"),
    ],
)
def test_wrong_input_is_refused_by_name(call, error, words):
    with pytest.raises(error, match=words):
        call()
