"""Single gallery shot: against all choices of one picture a person, and what a draw may never do."""

from itertools import pairwise, product

import numpy as np
import pytest

from passerby.errors import ConfigError, DataError
from passerby.metrics import hits_at, rank_scores, rank_single_shot, relevance_from_labels


def drawn(scores, relevance, people, draws=1, seed=0):
    return rank_single_shot(lambda: [scores.copy()], relevance, people, draws=draws, seed=seed)


def naive_rank_k(scores, query, camera, people, cameras, ignored, k):
    """Chance that the right person is among the first k, over every choice of one picture of each person."""
    kept = [
        g
        for g in range(len(people))
        if not ignored[g] and not (people[g] == query and cameras[g] == camera and people[g] >= 0)
    ]
    by_person = {}
    for g in kept:
        by_person.setdefault(people[g] if people[g] >= 0 else f"alone {g}", []).append(g)
    if query not in by_person:
        return np.nan
    hits = []
    for choice in product(*by_person.values()):
        right = next(g for g in choice if people[g] == query)
        hits.append(sum(scores[g] > scores[right] for g in choice) < k)
    return np.mean(hits)


def test_the_mean_of_many_draws_is_that_of_all_choices():
    random = np.random.default_rng(0)
    people = np.array([0, 0, 0, 1, 1, 2, 2, 2, -1, -1])
    cameras = np.array([0, 1, 1, 0, 1, 0, 1, 1, 0, 1])
    ignored = np.array([False] * 7 + [True, False, False])
    query, camera = np.array([0, 1, 2, 3]), np.array([0, 1, 1, 0])
    scores = random.normal(size=(4, 10))
    relevance = relevance_from_labels(query, people, ignored=ignored, query_cameras=camera, gallery_cameras=cameras)
    groups = drawn(scores, relevance, people, draws=3000)
    for k in (1, 2, 3, 9):
        found = np.mean([hits_at(draw, k) for draw in groups], axis=0)
        wanted = [naive_rank_k(scores[q], query[q], camera[q], people, cameras, ignored, k) for q in range(4)]
        np.testing.assert_allclose(found, wanted, atol=0.04)
    assert np.isnan(found[3])


def test_one_picture_a_person_leaves_nothing_to_draw():
    scores = np.random.default_rng(1).normal(size=(6, 6))
    relevance = relevance_from_labels(np.arange(6), np.arange(6)[::-1])
    whole = rank_scores(scores, relevance)
    for draw in drawn(scores, relevance, np.arange(6)[::-1], draws=3):
        np.testing.assert_array_equal(hits_at(draw, 1), hits_at(whole, 1))
        np.testing.assert_array_equal(draw.above, whole.above)


def test_junk_and_ignored_pictures_are_never_drawn():
    """The best scores belong to what must not be seen; whoever drew it would lose."""
    people = np.array([0, 0, 1, 1, 2])
    cameras = np.array([0, 1, 0, 1, 1])
    ignored = np.array([False, False, False, True, False])
    scores = np.array([[9.0, 2.0, 1.0, 9.0, 0.0]])
    relevance = relevance_from_labels([0], people, ignored=ignored, query_cameras=[0], gallery_cameras=cameras)
    for draw in drawn(scores, relevance, people, draws=50):
        assert draw.above.tolist() == [0]
        assert draw.hits.tolist() == [1]


def test_a_person_who_is_all_junk_for_a_query_is_not_in_its_gallery():
    """The query's own picture is the only one of its person: without it nobody of that name is left to outrank."""
    relevance = relevance_from_labels([0, 1], [0, 1, 1], itself=[0, 1])
    groups = drawn(np.ones((2, 3)), relevance, np.array([0, 1, 1]))[0]
    assert np.isnan(hits_at(groups, 1)[0])
    assert hits_at(groups, 1)[1] == pytest.approx(1 / 2)  # one tie: person 0; her own other picture is drawn


def test_a_seed_fixes_the_draws_and_another_seed_draws_others():
    random = np.random.default_rng(2)
    people = random.integers(5, size=60)
    scores, relevance = random.normal(size=(20, 60)), relevance_from_labels(np.arange(20) % 5, people)
    one, same, other = (drawn(scores, relevance, people, draws=4, seed=seed) for seed in (0, 0, 1))
    assert all((a.above == b.above).all() for a, b in zip(one, same, strict=True))
    assert any((a.above != b.above).any() for a, b in zip(one, other, strict=True))
    assert any((a.above != b.above).any() for a, b in pairwise(one))


def test_blocks_of_queries_are_drawn_as_one():
    random = np.random.default_rng(3)
    people = random.integers(4, size=30)
    scores, relevance = random.normal(size=(9, 30)), relevance_from_labels(np.arange(9) % 4, people)
    parts = rank_single_shot(lambda: [scores[:9].copy()], relevance, people, draws=2)
    assert [draw.queries for draw in parts] == [9, 9]
    cut = rank_single_shot(lambda: [scores[:4].copy(), scores[4:].copy()], relevance, people, draws=2)
    assert [draw.queries for draw in cut] == [9, 9]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: drawn(np.zeros((1, 2)), relevance_from_labels([1], [1, 0]), [1, 0], 0), ConfigError, "0 draws"),
        (lambda: drawn(np.zeros((1, 2)), relevance_from_labels([1], [1, 0]), [1]), DataError, r"\(1,\)"),
        (lambda: drawn(np.zeros((1, 2)), relevance_from_labels([1], [1, 0]), [1.0, 0.0]), DataError, "float64"),
        (lambda: drawn(np.full((1, 2), np.nan), relevance_from_labels([1], [1, 0]), [1, 0]), DataError, "nan"),
    ],
)
def test_wrong_input_is_refused_by_name(call, error, words):
    with pytest.raises(error, match=words):
        call()
