"""Both average precisions and precision at K against every order of the ties, scikit-learn and the MATLAB recipe."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from passerby.errors import ConfigError
from passerby.metrics import average_precision, precision_at, rank_scores, relevance_from_labels

RULES = ("step", "trapezoid")
TIES = ("expected", "optimistic", "pessimistic")


def every_order(scores):
    levels = sorted(set(scores), reverse=True)
    tied = [list(permutations([i for i, score in enumerate(scores) if score == level])) for level in levels]
    for choice in product(*tied):
        yield [item for group in choice for item in group]


def matlab_average_precision(right):
    """The loop that came with Market-1501: trapezoids between the points of the precision-recall curve."""
    area, old_recall, old_precision, found = 0.0, 0.0, 1.0, 0
    for place, hit in enumerate(right):
        found += hit
        recall, precision = found / sum(right), found / (place + 1)
        area += (recall - old_recall) * (old_precision + precision) / 2
        old_recall, old_precision = recall, precision
    return area


def step_average_precision(right):
    return np.mean([sum(right[: place + 1]) / (place + 1) for place, hit in enumerate(right) if hit])


NAIVE = {"step": step_average_precision, "trapezoid": matlab_average_precision}


@st.composite
def small_cases(draw):
    size = draw(st.integers(1, 6))
    scores = draw(st.lists(st.sampled_from([-1.0, 0.0, 0.5]), min_size=size, max_size=size))
    hits = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    hits[draw(st.integers(0, size - 1))] = True
    return scores, hits


@settings(deadline=None, max_examples=200)
@given(small_cases(), st.integers(1, 8))
def test_expected_values_and_bounds_are_those_of_all_orders_of_the_ties(case, k):
    scores, hits = case
    groups = rank_scores(np.array([scores]), relevance_from_labels([1], np.array(hits, int)))
    orders = [[int(hits[item]) for item in order] for order in every_order(scores)]
    wanted = {rule: [NAIVE[rule](right) for right in orders] for rule in RULES}
    found = {rule: {ties: average_precision(groups, ties, rule)[0] for ties in TIES} for rule in RULES}
    wanted["at k"] = [sum(right[:k]) / k for right in orders]
    found["at k"] = {ties: precision_at(groups, k, ties)[0] for ties in TIES}
    for name, values in wanted.items():
        assert found[name]["expected"] == pytest.approx(np.mean(values), abs=1e-12), name
        assert found[name]["optimistic"] == pytest.approx(max(values), abs=1e-12), name
        assert found[name]["pessimistic"] == pytest.approx(min(values), abs=1e-12), name


def random_case(seed, queries=60, size=80, people=7):
    random = np.random.default_rng(seed)
    return (
        random.normal(size=(queries, size)),
        random.integers(people, size=queries),
        random.integers(people, size=size),
    )


def test_the_step_rule_is_scikit_learns():
    scores, query, gallery = random_case(0)
    found = average_precision(rank_scores(scores, relevance_from_labels(query, gallery)))
    expected = [average_precision_score(gallery == who, row) for who, row in zip(query, scores, strict=True)]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_the_trapezoid_rule_is_the_matlab_loop_and_never_above_the_step_rule():
    scores, query, gallery = random_case(1)
    groups = rank_scores(scores, relevance_from_labels(query, gallery))
    found = average_precision(groups, rule="trapezoid")
    for value, who, row in zip(found, query, scores, strict=True):
        right = (gallery == who)[np.argsort(-row)].astype(int)
        assert value == pytest.approx(matlab_average_precision(right.tolist()), abs=1e-12)
    assert (found <= average_precision(groups) + 1e-12).all()


def test_large_tie_groups_keep_their_precision_by_the_trapezoid_rule():
    size, hits, above = 5_000, 23, 7
    scores = np.zeros((1, size + above))
    scores[0, :above] = 1.0
    gallery = np.zeros(size + above, int)
    gallery[:3] = 1
    gallery[above : above + hits] = 1
    places = np.arange(1, size + 1)
    count = 3 + 1 + (places - 1) * (hits - 1) / (size - 1)
    terms = hits / size * (count / (above + places) + (count - 1) / (above + places - 1)) / 2
    opening = rank_scores(scores[:, :above], relevance_from_labels([1], gallery[:above]))
    head = 3 * average_precision(opening, rule="trapezoid")[0]
    found = average_precision(rank_scores(scores, relevance_from_labels([1], gallery)), rule="trapezoid")[0]
    assert found == pytest.approx((head + terms.sum()) / (3 + hits), rel=1e-9)


def test_precision_beyond_the_gallery_still_divides_by_k_and_nobody_to_find_has_none():
    groups = rank_scores(np.array([[0.9, 0.1], [0.9, 0.1]]), relevance_from_labels([1, 5], [1, 1]))
    np.testing.assert_array_equal(precision_at(groups, 10), [0.2, np.nan])
    np.testing.assert_array_equal(precision_at(groups, 1), [1.0, np.nan])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda groups: precision_at(groups, 0), "first 0"),
        (lambda groups: precision_at(groups, 1, "lucky"), "'lucky'"),
        (lambda groups: average_precision(groups, rule="trapez"), "Did you mean 'trapezoid'"),
        (lambda groups: average_precision(groups, "best"), "'best'"),
    ],
)
def test_wrong_input_is_refused_by_name(call, words):
    with pytest.raises(ConfigError, match=words):
        call(rank_scores(np.zeros((1, 2)), relevance_from_labels([1], [1, 0])))
