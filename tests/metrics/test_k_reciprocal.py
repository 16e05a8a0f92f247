"""Re-ranking against naive loops over a dense matrix, with ties, twins and tiny galleries, in both modes."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passerby.errors import ConfigError, DataError
from passerby.metrics.k_reciprocal import KReciprocal, k_reciprocal_blocks

#: The corners of the 24-cell: unit vectors whose dot products are exact, hence full of ties.
CORNERS = np.array([*np.eye(4), *-np.eye(4), *(np.array(np.meshgrid(*[[-0.5, 0.5]] * 4)).reshape(4, -1).T)], np.float32)


def distances(*arguments, **options):
    return np.concatenate([np.zeros((0, len(arguments[1])), np.float32), *k_reciprocal_blocks(*arguments, **options)])


# -- the oracle -----------------------------------------------------------------------------------------------------


def cosines(left, right):
    left, right = (np.asarray(side, np.float64) for side in (left, right))
    left, right = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (left, right))
    return left @ right.T


def by_nearness(row, own=None):
    """Columns from near to far, ties by number, itself first."""
    return sorted(range(len(row)), key=lambda j: (j != own, -round(row[j], 9), j))


def share_of_farthest(row, s):
    farthest = max(2 - 2 * min(row), 0)
    return max(2 - 2 * s, 0) / farthest if farthest else 0.0


def weight_of(row, s, rules):
    return np.exp(-(max(2 - 2 * s, 0) if rules.variant == "fastreid" else share_of_farthest(row, s)))


class DenseGraph:
    """Lists, sets and rows of a pool, each written down as the paper says it."""

    def __init__(self, pool, rules):
        self.s, self.rules = cosines(pool, pool), rules
        self.lists = [by_nearness(row, own) for own, row in enumerate(self.s)]
        self.whole = rules.k1 if rules.variant == "fastreid" else rules.k1 + 1
        self.half = int(np.around(rules.k1 / 2)) + 1
        self.v = np.array([self.row(i) for i in range(len(pool))])
        self.averaged = np.array([self.v[list_[: rules.k2]].mean(axis=0) for list_ in self.lists])

    def reciprocal(self, i, k):
        return {j for j in self.lists[i][:k] if i in self.lists[j][:k]}

    def widened(self, members):
        wide = set(members)
        for member in members:
            half = self.reciprocal(member, self.half)
            if len(half & members) > 2 / 3 * len(half):
                wide |= half
        return wide

    def row(self, i):
        v = np.zeros(len(self.s))
        for j in self.widened(self.reciprocal(i, self.whole)):
            v[j] = weight_of(self.s[i], self.s[i, j], self.rules)
        return v / v.sum()

    def beside(self, s):
        """The averaged row of a query with similarities `s` that nobody in the pool knows of."""
        near = by_nearness(s)
        members = set()
        for j in near[: self.whole - 1]:
            full = len(s) >= self.whole
            if not full or s[j] > self.s[j, self.lists[j][self.whole - 1]] + 1e-9:
                members.add(j)
        v, total = np.zeros(len(s)), 1.0
        for j in self.widened(members):
            v[j] = weight_of(s, s[j], self.rules)
            total += v[j]
        rows = [v / total, *(self.v[j] for j in near[: self.rules.k2 - 1])]
        return np.mean(rows, axis=0)


def naive(queries, gallery, rules, *, transductive=True, own=None):
    own = [-1] * len(queries) if own is None else own
    outside = [q for q, row in enumerate(own) if row < 0]
    pool = np.concatenate([queries[outside], gallery]) if transductive else gallery
    before = len(pool) - len(gallery)
    graph, between = DenseGraph(pool, rules), cosines(queries, pool)
    result = np.empty((len(queries), len(gallery)))
    for q in range(len(queries)):
        if own[q] >= 0 or transductive:
            row = graph.averaged[own[q] + before if own[q] >= 0 else outside.index(q)]
        else:
            row = graph.beside(between[q])
        for g in range(len(gallery)):
            shared = sum(min(a, b) for a, b in zip(row, graph.averaged[before + g], strict=True))
            s = between[q, before + g]
            original = 1 - s if rules.variant == "fastreid" else share_of_farthest(between[q], s)
            result[q, g] = rules.original * original + (1 - rules.original) * (1 - shared / (2 - shared))
    return result


@st.composite
def small_searches(draw):
    corner = st.integers(0, len(CORNERS) - 1)
    queries = draw(st.lists(corner, min_size=1, max_size=4))
    gallery = draw(st.lists(corner, min_size=1, max_size=12))
    rules = KReciprocal(
        draw(st.integers(1, 9)),
        draw(st.integers(1, 5)),
        draw(st.sampled_from([0.0, 0.3, 1.0])),
        draw(st.sampled_from(["canonical", "fastreid"])),
    )
    return CORNERS[queries], CORNERS[gallery], rules


@settings(deadline=None, max_examples=250)
@given(small_searches(), st.booleans())
def test_it_is_the_algorithm_of_the_paper_on_small_searches_full_of_ties_and_twins(search, transductive):
    queries, gallery, rules = search
    found = distances(queries, gallery, rules, transductive=transductive)
    np.testing.assert_allclose(found, naive(queries, gallery, rules, transductive=transductive), atol=1e-5)


def people(seed, queries=12, gallery=70, dim=16, owners=9):
    random = np.random.default_rng(seed)
    directions = random.normal(size=(owners, dim))

    def features(count):
        return (directions[random.integers(owners, size=count)] + 0.7 * random.normal(size=(count, dim))).astype("f4")

    return features(queries), features(gallery)


@pytest.mark.parametrize("transductive", [True, False])
@pytest.mark.parametrize(
    "rules",
    [KReciprocal(), KReciprocal(50, 15), KReciprocal(variant="fastreid"), KReciprocal(7, 1, 0.0), KReciprocal(5, 90)],
)
def test_it_is_the_algorithm_of_the_paper_on_people(rules, transductive):
    queries, gallery = people(0)
    found = distances(queries, gallery, rules, transductive=transductive)
    expected = naive(queries, gallery, rules, transductive=transductive)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert found.dtype == np.float32
    assert np.ptp(expected) > 0.1


@pytest.mark.parametrize("transductive", [True, False])
def test_queries_that_are_gallery_pictures_are_not_put_beside_themselves(transductive):
    outsiders, gallery = people(1, queries=5)
    queries = np.concatenate([gallery[[4, 60, 11]], outsiders, gallery[[2]]])
    own = np.array([4, 60, 11, *[-1] * 5, 2])
    found = distances(queries, gallery, transductive=transductive, own=own)
    np.testing.assert_allclose(
        found, naive(queries, gallery, KReciprocal(), transductive=transductive, own=own), atol=1e-5
    )
    twice = distances(queries, gallery, transductive=transductive)
    assert np.abs(found - twice).max() > 1e-3


def test_an_own_picture_whose_vector_differs_counts_as_another():
    queries, gallery = people(2)
    np.testing.assert_array_equal(
        distances(queries, gallery, own=np.zeros(len(queries), int)), distances(queries, gallery)
    )


# -- laws -----------------------------------------------------------------------------------------------------------


def test_beside_the_gallery_an_answer_has_the_same_bits_whoever_else_asks(monkeypatch):
    monkeypatch.setattr("passerby.metrics.neighbours._MOST_ROWS", 32)  # several blocks, the last one not full
    queries, gallery = people(3, queries=75, gallery=401, dim=96, owners=40)
    whole = distances(queries, gallery, transductive=False)
    order = np.random.default_rng(0).permutation(len(queries))
    np.testing.assert_array_equal(distances(queries[order], gallery, transductive=False), whole[order])
    for alone in (0, 31, 32, 74):
        np.testing.assert_array_equal(distances(queries[[alone]], gallery, transductive=False)[0], whole[alone])


def test_transductive_answers_depend_on_who_else_asks():
    queries, gallery = people(3)
    assert np.abs(distances(queries[:1], gallery) - distances(queries, gallery)[:1]).max() > 1e-3


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.booleans())
def test_order_of_the_gallery_means_nothing(seed, transductive):
    queries, gallery = people(seed)
    order = np.random.default_rng(seed).permutation(len(gallery))
    shuffled = distances(queries, gallery[order], transductive=transductive)
    np.testing.assert_allclose(shuffled, distances(queries, gallery, transductive=transductive)[:, order], atol=1e-5)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.booleans())
def test_length_of_the_features_means_nothing_and_distances_stay_in_their_range(seed, transductive):
    queries, gallery = people(seed)
    found = distances(queries, gallery, transductive=transductive)
    assert (found >= 0).all()
    assert (found <= 1).all()
    scaled = distances(queries * 8, gallery * 0.25, transductive=transductive)
    np.testing.assert_allclose(found, scaled, atol=1e-6)


def test_blocks_of_any_size_give_the_same(monkeypatch):
    queries, gallery = people(4, queries=40, gallery=200)
    whole = {mode: distances(queries, gallery, transductive=mode) for mode in (True, False)}
    monkeypatch.setattr("passerby.metrics.neighbours._BLOCK_BYTES", 1)
    monkeypatch.setattr("passerby.metrics.reciprocal_sets._BLOCK", 1000)
    monkeypatch.setattr("passerby.metrics.sparse_rows._ENTRIES", 100)
    for mode, expected in whole.items():
        np.testing.assert_allclose(distances(queries, gallery, transductive=mode), expected, atol=1e-6)


def test_people_are_found_better_than_by_their_vectors_alone():
    random = np.random.default_rng(5)
    directions = random.normal(size=(20, 24))
    owner, asked = np.repeat(np.arange(20), 15), np.repeat(np.arange(20), 2)
    gallery = directions[owner] + 1.6 * random.normal(size=(300, 24))
    queries = directions[asked] + 1.6 * random.normal(size=(40, 24))

    def among_first_fifteen(distance):
        return (owner[np.argsort(distance, axis=1)[:, :15]] == asked[:, None]).mean()

    plain = among_first_fifteen(-cosines(queries, gallery))
    for mode in (True, False):
        assert among_first_fifteen(distances(queries, gallery, transductive=mode)) > plain + 0.05


def test_no_matrix_of_all_by_all_is_in_memory(monkeypatch):
    monkeypatch.setattr("passerby.metrics.neighbours._BLOCK_BYTES", 2**22)
    monkeypatch.setattr("passerby.metrics.reciprocal_sets._BLOCK", 2**22)
    monkeypatch.setattr("passerby.metrics.sparse_rows._ENTRIES", 2**16)
    queries, gallery = people(6, queries=500, gallery=7500, owners=400)
    tracemalloc.start()
    for _ in k_reciprocal_blocks(queries, gallery):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 * 2**20 < 4 * 8000**2


# -- odd and wrong input --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transductive", [True, False])
@pytest.mark.parametrize("variant", ["canonical", "fastreid"])
def test_a_model_that_gives_all_the_same_vector_gets_finite_distances(transductive, variant):
    same = np.full((60, 7), 0.3, np.float32)
    found = distances(same[:9], same, KReciprocal(variant=variant), transductive=transductive)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("transductive", [True, False])
def test_nobody_asks_or_nobody_is_there(transductive):
    queries, gallery = people(7)
    assert distances(queries[:0], gallery, transductive=transductive).shape == (0, len(gallery))
    assert distances(queries, gallery[:0], transductive=transductive).shape == (len(queries), 0)


FEATURES = np.ones((3, 4), np.float32)
ZERO = np.array([[1.0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: KReciprocal(k1=0), ConfigError, "k1 = 0; expected at least 1"),
        (lambda: KReciprocal(k2=-1), ConfigError, "k2 = -1"),
        (lambda: KReciprocal(original=1.5), ConfigError, "lambda = 1.5; expected between 0 and 1"),
        (lambda: KReciprocal(original=float("nan")), ConfigError, "lambda = nan"),
        (lambda: KReciprocal(variant="fast-reid"), ConfigError, "Did you mean 'fastreid'"),
        (lambda: distances(FEATURES, FEATURES[:, :3]), DataError, r"\(3, 4\) and \(3, 3\)"),
        (lambda: distances(FEATURES[0], FEATURES), DataError, r"query features have shape \(4,\)"),
        (lambda: distances(FEATURES, FEATURES.astype(str)), DataError, "gallery features .*<U"),
        (lambda: distances(FEATURES, ZERO), DataError, "2 of 3 gallery rows are all zeros, the first is row 1"),
        (lambda: distances(FEATURES * np.nan, FEATURES), DataError, "3 of 3 query rows hold a NaN"),
        (lambda: distances(FEATURES, FEATURES, own=[0, 1]), DataError, r"own has shape \(2,\)"),
        (lambda: distances(FEATURES, FEATURES, own=[0, 1, 3]), DataError, "gallery row 3, .* has 3 rows"),
        (lambda: distances(FEATURES, FEATURES, own=[0.0, 1, 2]), DataError, "float64.*integers"),
    ],
)
def test_wrong_input_is_refused_by_name(call, error, words):
    with pytest.raises(error, match=words):
        call()
