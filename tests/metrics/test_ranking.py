"""Metrics against an oracle that tries every order of the ties, against scikit-learn, and against their own laws."""

import tracemalloc
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from passerby.errors import ConfigError, DataError
from passerby.metrics import (
    average_precision,
    cmc_curve,
    first_rank,
    hits_at,
    inverse_negative_penalty,
    mean_over_queries,
    median_over_queries,
    rank_at_random,
    rank_blocks,
    rank_features,
    rank_scores,
    relevance_from_labels,
)


def every_order(scores, counted):
    """Every ranking that the scores allow: tied items in all orders."""
    levels = sorted({scores[i] for i in counted}, reverse=True)
    tied = [list(permutations([i for i in counted if scores[i] == level])) for level in levels]
    for choice in product(*tied):
        yield [item for group in choice for item in group]


def naive(scores, hits, junk, k):
    """Metrics of one query, one dictionary per order of the ties, by plain loops."""
    counted = [i for i in range(len(scores)) if i not in junk]
    results = []
    for order in every_order(scores, counted):
        ranks = [place + 1 for place, item in enumerate(order) if item in hits]
        precisions = [(nth + 1) / rank for nth, rank in enumerate(ranks)]
        results.append(
            {
                "hit": float(ranks[0] <= k),
                "ap": sum(precisions) / len(ranks),
                "inp": len(ranks) / ranks[-1],
                "rank": float(ranks[0]),
            }
        )
    return results


@st.composite
def small_cases(draw):
    """A gallery of up to six items with few distinct scores (hence ties), of any sign, with hits and junk."""
    size = draw(st.integers(1, 6))
    scores = draw(st.lists(st.sampled_from([-2.0, -0.5, 0.0, 0.25]), min_size=size, max_size=size))
    roles = draw(st.lists(st.sampled_from(["hit", "miss", "junk"]), min_size=size, max_size=size))
    roles[draw(st.integers(0, size - 1))] = "hit"
    return np.array(scores), roles


def relevance_of(roles):
    labels = np.array([7 if role == "hit" else 1 for role in roles])
    return relevance_from_labels([7], labels, ignored=np.array([role == "junk" for role in roles]))


@settings(deadline=None, max_examples=300)
@given(small_cases(), st.integers(1, 8))
def test_expected_values_and_bounds_are_those_of_all_orders_of_the_ties(case, k):
    scores, roles = case
    groups = rank_scores(scores[None], relevance_of(roles))
    hits = {i for i, role in enumerate(roles) if role == "hit"}
    junk = {i for i, role in enumerate(roles) if role == "junk"}
    orders = naive(list(scores), hits, junk, k)
    found = {
        "hit": lambda ties: hits_at(groups, k, ties),
        "ap": lambda ties: average_precision(groups, ties),
        "inp": lambda ties: inverse_negative_penalty(groups, ties),
        "rank": lambda ties: first_rank(groups, ties),
    }
    for name, metric in found.items():
        values = [order[name] for order in orders]
        best, worst = (min, max) if name == "rank" else (max, min)
        assert metric("expected")[0] == pytest.approx(np.mean(values), abs=1e-12), name
        assert metric("optimistic")[0] == pytest.approx(best(values), abs=1e-12), name
        assert metric("pessimistic")[0] == pytest.approx(worst(values), abs=1e-12), name


def random_case(seed, queries=40, size=90, people=9, levels=None):
    random = np.random.default_rng(seed)
    scores = random.normal(size=(queries, size))
    if levels:
        scores = np.round(scores * levels) / levels
    return scores, random.integers(people, size=queries), random.integers(people, size=size)


def test_average_precision_agrees_with_scikit_learn():
    scores, query, gallery = random_case(0, queries=200)
    found = average_precision(rank_scores(scores, relevance_from_labels(query, gallery)))
    expected = [average_precision_score(gallery == who, row) for who, row in zip(query, scores, strict=True)]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_large_tie_groups_keep_their_precision():
    """A group of thousands against a plain sum over its places."""
    size, hits, above = 20_000, 37, 11
    scores = np.zeros((1, size + above))
    scores[0, :above] = 1.0
    gallery = np.zeros(size + above, int)
    gallery[above : above + hits] = 1
    groups = rank_scores(scores, relevance_from_labels([1], gallery))
    places = np.arange(1, size + 1)
    terms = hits / size * (1 + (places - 1) * (hits - 1) / (size - 1)) / (above + places)
    assert average_precision(groups)[0] == pytest.approx(terms.sum() / hits, rel=1e-9)
    drawn = np.prod([(size - hits - i) / (size - i) for i in range(500 - above)])
    assert hits_at(groups, 500)[0] == pytest.approx(1 - drawn, rel=1e-9)
    assert first_rank(groups)[0] == pytest.approx(above + (size + 1) / (hits + 1))


def test_features_and_scores_give_the_same_groups_over_many_blocks(monkeypatch):
    monkeypatch.setattr("passerby.metrics.positions._BLOCK_BYTES", 2000)
    random = np.random.default_rng(1)
    # Small whole numbers: their dot products are exact, so ties are ties however the product is blocked.
    queries, gallery = random.integers(-2, 3, (30, 4)).astype(np.float32), random.integers(-2, 3, (70, 4))
    relevance = relevance_from_labels(random.integers(5, size=30), random.integers(5, size=70))
    ours = rank_features(queries, gallery.astype(np.float32), relevance)
    matrix = rank_scores(queries @ gallery.T, relevance)
    for field in ("query", "above", "size", "hits", "hits_above"):
        np.testing.assert_array_equal(getattr(ours, field), getattr(matrix, field))
    assert (ours.size > 1).any()


def test_the_matrix_of_queries_by_gallery_is_never_whole_in_memory():
    random = np.random.default_rng(5)
    queries, gallery = (random.normal(size=(size, 8)).astype(np.float32) for size in (2000, 20_000))
    relevance = relevance_from_labels(random.integers(500, size=2000), random.integers(500, size=20_000))
    tracemalloc.start()
    rank_features(queries, gallery, relevance)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80 * 2**20 < queries.itemsize * 2000 * 20_000


def test_scores_given_are_not_changed():
    scores, query, gallery = random_case(2)
    before = scores.copy()
    rank_scores(scores, relevance_from_labels(query, gallery, ignored=gallery == 3, itself=query))
    np.testing.assert_array_equal(scores, before)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000))
def test_order_of_the_gallery_means_nothing(seed):
    scores, query, gallery = random_case(seed, levels=3)
    order = np.random.default_rng(seed).permutation(len(gallery))
    one = rank_scores(scores, relevance_from_labels(query, gallery))
    other = rank_scores(scores[:, order], relevance_from_labels(query, gallery[order]))
    for metric in (average_precision, inverse_negative_penalty, first_rank):
        np.testing.assert_array_equal(metric(one), metric(other))


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.floats(0.01, 100), st.floats(-50, 50))
def test_monotone_transforms_of_the_scores_change_nothing(seed, scale, shift):
    scores, query, gallery = random_case(seed, levels=3)
    relevance = relevance_from_labels(query, gallery)
    whole = scores.round()
    for base, other in ((scores, scores * 4 - 1000), (scores, np.exp(scores)), (whole, scale * whole + shift)):
        np.testing.assert_array_equal(
            average_precision(rank_scores(base, relevance)), average_precision(rank_scores(other, relevance))
        )


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.integers(1, 30))
def test_distractors_never_help_and_more_places_never_hurt(seed, extra):
    scores, query, gallery = random_case(seed, levels=3)
    more = np.random.default_rng(seed + 1).normal(size=(len(query), extra)).round(1)
    small = rank_scores(scores, relevance_from_labels(query, gallery))
    large = rank_scores(np.hstack([scores, more]), relevance_from_labels(query, np.append(gallery, np.full(extra, -1))))
    previous = np.zeros(len(query))
    for k in (1, 2, 3, 5, 10, 50, 200):
        here = hits_at(small, k)
        # Negated, because a query without a hit has no value and is neither larger nor smaller.
        assert not (hits_at(large, k) > here + 1e-12).any()
        assert not (here < previous - 1e-12).any()
        previous = here
    assert not (average_precision(large) > average_precision(small) + 1e-12).any()


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000))
def test_metrics_stay_in_their_range_and_between_their_bounds(seed):
    scores, query, gallery = random_case(seed, levels=2)
    groups = rank_scores(scores, relevance_from_labels(query, gallery))
    for metric in (average_precision, inverse_negative_penalty, lambda g, t="expected": hits_at(g, 5, t)):
        low, middle, high = (metric(groups, ties) for ties in ("pessimistic", "expected", "optimistic"))
        assert (low >= 0).all()
        assert (low <= middle + 1e-12).all()
        assert (middle <= high + 1e-12).all()
        assert (high <= 1 + 1e-12).all()


def test_all_scores_equal_is_chance_and_neither_perfect_nor_nothing():
    relevance = relevance_from_labels([1, 2], [1, 1, 2, 3, 3])
    tied = rank_scores(np.zeros((2, 5)), relevance)
    np.testing.assert_allclose(hits_at(tied, 1), [2 / 5, 1 / 5])
    np.testing.assert_array_equal(hits_at(tied, 1, "optimistic"), [1, 1])
    np.testing.assert_array_equal(hits_at(tied, 1, "pessimistic"), [0, 0])
    chance = rank_at_random(relevance)
    np.testing.assert_array_equal(average_precision(chance), average_precision(tied))


def test_chance_is_the_mean_of_many_random_orders():
    random = np.random.default_rng(3)
    relevance = relevance_from_labels([0], np.repeat([0, 1], [4, 36]), itself=[0])
    drawn = [
        [metric(rank_scores(random.permuted(np.arange(40.0))[None], relevance))[0] for metric in metrics]
        for _ in range(3000)
        for metrics in [(average_precision, inverse_negative_penalty, first_rank)]
    ]
    expected = [
        metric(rank_at_random(relevance))[0] for metric in (average_precision, inverse_negative_penalty, first_rank)
    ]
    np.testing.assert_allclose(np.mean(drawn, axis=0), expected, rtol=0.05)


def test_negative_scores_are_ranked_like_any_other():
    groups = rank_scores(np.array([[-0.9, -0.1, -0.5]]), relevance_from_labels([1], [0, 1, 0]))
    assert hits_at(groups, 1)[0] == 1
    assert first_rank(groups)[0] == 1


def test_a_query_without_a_hit_has_no_value_and_does_not_disturb_the_others():
    groups = rank_scores(np.array([[0.1, 0.9], [0.1, 0.9]]), relevance_from_labels([5, 1], [0, 1]))
    np.testing.assert_array_equal(hits_at(groups, 1), [np.nan, 1])
    np.testing.assert_array_equal(groups.positives, [0, 1])
    assert mean_over_queries(average_precision(groups)) == 1
    nobody = rank_scores(np.zeros((1, 2)), relevance_from_labels([5], [0, 1]))
    assert np.isnan(mean_over_queries(average_precision(nobody)))


def test_a_gallery_of_one_and_a_k_beyond_the_gallery():
    groups = rank_scores(np.array([[0.3]]), relevance_from_labels([1], [1]))
    for value in (hits_at(groups, 1), hits_at(groups, 10_000), average_precision(groups), first_rank(groups)):
        assert value[0] == 1


def test_the_curve_is_the_share_of_first_ranks_and_the_median_is_theirs():
    scores, query, gallery = random_case(6)
    groups = rank_scores(scores, relevance_from_labels(query, gallery))
    first = first_rank(groups)
    np.testing.assert_allclose(cmc_curve(groups, 9), [(first <= k).mean() for k in range(1, 10)])
    assert median_over_queries(first) == np.median(first)
    nobody = rank_scores(np.zeros((1, 2)), relevance_from_labels([5], [0, 1]))
    assert np.isnan(median_over_queries(first_rank(nobody)))
    assert np.isnan(cmc_curve(nobody, 2)).all()


def test_weak_and_strong_features_take_both_ways_to_count():
    """Where most of a row outranks the worst hit the row is sorted whole, else what outranks it is picked out."""
    random = np.random.default_rng(7)
    for hits in ("first", "last", "all"):
        scores = np.sort(np.round(random.normal(size=(20, 200)), 1))[:, ::-1].astype(np.float32)
        gallery = np.zeros(200, int)
        gallery[{"first": slice(0, 3), "last": slice(197, 200), "all": slice(0, 200, 50)}[hits]] = 1
        groups = rank_scores(scores, relevance_from_labels(np.ones(20, int), gallery))
        for query, row in enumerate(scores):
            mine = groups.query == query
            levels = sorted(set(row[gallery == 1]), reverse=True)
            assert groups.above[mine].tolist() == [int((row > level).sum()) for level in levels]
            assert groups.size[mine].tolist() == [int((row == level).sum()) for level in levels]


def test_no_queries_at_all():
    groups = rank_scores(np.zeros((0, 3)), relevance_from_labels(np.zeros(0, int), [1, 2, 3]))
    assert average_precision(groups).shape == hits_at(groups, 1).shape == first_rank(groups).shape == (0,)


def test_half_precision_and_whole_numbers_are_ranked():
    scores, query, gallery = random_case(4, levels=4)
    relevance = relevance_from_labels(query, gallery)
    exact = average_precision(rank_scores(scores, relevance))
    np.testing.assert_array_equal(average_precision(rank_scores((scores * 4).astype(int), relevance)), exact)
    np.testing.assert_array_equal(average_precision(rank_scores(scores.astype(np.float16), relevance)), exact)


GOOD = np.zeros((2, 3))
TWO_BY_THREE = relevance_from_labels([1, 2], [1, 2, 3])


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: rank_scores(np.zeros((2, 4)), TWO_BY_THREE), DataError, r"\(2, 4\).*\(2, 3\)"),
        (lambda: rank_scores(np.zeros((2, 3), bool), TWO_BY_THREE), DataError, "bool"),
        (lambda: rank_scores(np.array([[0, 1, 2], [0, np.nan, 1]]), TWO_BY_THREE), DataError, "row 1, column 1: nan"),
        (lambda: rank_scores(np.array([[0, 1, np.inf], [0, 0, 1]]), TWO_BY_THREE), DataError, "row 0, column 2: inf"),
        (lambda: rank_features(np.zeros((2, 4)), np.zeros((3, 5)), TWO_BY_THREE), DataError, r"\(2, 4\) and \(3, 5\)"),
        (lambda: rank_features(np.zeros((3, 4)), np.zeros((3, 4)), TWO_BY_THREE), DataError, "3 queries and 3 gallery"),
        (lambda: rank_features(GOOD, np.full((3, 3), np.nan), TWO_BY_THREE), DataError, "3 of 3 gallery rows"),
        (lambda: rank_features(GOOD - np.inf, np.zeros((3, 3)), TWO_BY_THREE), DataError, "query rows .*-inf"),
        (lambda: rank_blocks([GOOD[:1].copy()], TWO_BY_THREE), DataError, "scores of 1 queries"),
        (lambda: rank_blocks([GOOD.copy(), GOOD.copy()], TWO_BY_THREE), DataError, "more than 2 queries"),
        (lambda: rank_blocks([GOOD[:, :2].copy()], TWO_BY_THREE), DataError, r"\(2, 2\).*\(B, 3\)"),
        (lambda: rank_blocks([GOOD.astype(np.float16)], TWO_BY_THREE), DataError, "float16"),
        (lambda: hits_at(rank_scores(GOOD, TWO_BY_THREE), 0), ConfigError, "first 0"),
        (lambda: cmc_curve(rank_scores(GOOD, TWO_BY_THREE), 0), ConfigError, "0 points"),
        (lambda: first_rank(rank_scores(GOOD, TWO_BY_THREE), "hopeful"), ConfigError, "'hopeful'.*expected"),
        (lambda: hits_at(rank_scores(GOOD, TWO_BY_THREE), 1, "expect"), ConfigError, "Did you mean 'expected'"),
    ],
)
def test_wrong_input_is_refused_by_name(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_a_nan_in_a_later_block_is_named_by_its_own_row(monkeypatch):
    monkeypatch.setattr("passerby.metrics.positions._COPY_BYTES", 64)
    scores = np.zeros((50, 3))
    scores[41, 2] = np.nan
    with pytest.raises(DataError, match="row 41, column 2"):
        rank_scores(scores, relevance_from_labels(np.zeros(50, int), [0, 1, 2]))


def test_finite_scores_whose_sum_overflows_are_not_refused():
    scores = np.full((1, 3), 3e38, np.float32)
    assert hits_at(rank_scores(scores, relevance_from_labels([1], [1, 2, 3])), 1)[0] == pytest.approx(1 / 3)
