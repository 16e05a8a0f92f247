"""Nearest neighbours, reciprocal sets and sparse rows against plain loops and dense matrices."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passerby.metrics.neighbours import best_of_rows, nearest_neighbours, similarity_blocks, unit_rows
from passerby.metrics.reciprocal_sets import reciprocal_lists, widened_sets
from passerby.metrics.sparse_rows import SparseRows, mean_of_rows, offsets, shared_mass, stacked, transposed


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 10_000), st.integers(1, 300), st.integers(0, 12), st.sampled_from([2, 50, 10**6]))
def test_the_best_of_rows_are_those_of_a_stable_sort(seed, columns, k, levels):
    scores = np.random.default_rng(seed).integers(-levels, levels, (5, columns)).astype(np.float32)
    k = min(k, columns)
    index, value = best_of_rows(scores, k)
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(index, expected)
    np.testing.assert_array_equal(value, np.take_along_axis(scores, expected, axis=1))


def test_best_columns_that_lie_side_by_side_are_all_found():
    """A gallery sorted by person puts all neighbours into few places."""
    scores = np.linspace(0, 0.1, 2000, dtype=np.float32)[None].copy()
    scores[0, 700:740] = np.arange(40) + 1
    np.testing.assert_array_equal(best_of_rows(scores, 21)[0][0], np.arange(739, 718, -1))


def test_a_row_is_its_own_nearest_even_among_twins():
    features = unit_rows("gallery", np.array([[1, 0], [3, 0], [0, 1], [2, 0], [-1, 0]]))
    found = nearest_neighbours(features, 3)
    np.testing.assert_array_equal(found.index, [[0, 1, 3], [1, 0, 3], [2, 0, 1], [3, 0, 1], [4, 2, 0]])
    np.testing.assert_array_equal(found.similarity[:, 0], 1)
    np.testing.assert_array_equal(found.lowest, [-1, -1, 0, -1, -1])
    assert nearest_neighbours(features, 99).index.shape == (5, 5)


def test_blocks_of_similarities_cover_all_rows_once(monkeypatch):
    monkeypatch.setattr("passerby.metrics.neighbours._BLOCK_BYTES", 1)
    random = np.random.default_rng(0)
    rows, pool = (unit_rows("x", random.normal(size=(size, 6))) for size in (37, 50))
    blocks = [(first, block.copy()) for first, block in similarity_blocks(rows, pool)]
    assert [first for first, _ in blocks] == [0, 16, 32]
    np.testing.assert_allclose(np.concatenate([block for _, block in blocks]), rows @ pool.T, atol=1e-6)


def test_reciprocal_lists_tell_who_is_seen_back():
    lists = np.array([[0, 1, 2], [1, 0, 3], [2, 3, 0], [3, 2, 1]], np.int32)
    two = reciprocal_lists(lists, 2)
    np.testing.assert_array_equal(two.index, lists[:, :2])
    assert two.mutual.all()
    three = reciprocal_lists(lists, 3).mutual
    np.testing.assert_array_equal(three, [[True, True, True]] * 4)
    chain = reciprocal_lists(np.array([[0, 1], [1, 2], [2, 1]], np.int32), 2).mutual
    np.testing.assert_array_equal(chain, [[True, False], [True, True], [True, True]])


def test_a_set_is_widened_only_by_more_than_two_thirds():
    """Member 1 brings {1, 4, 5}: one of three is in the set, then two of three, then three of four with 6."""
    half = np.array([[0, 0, 0, 0], [1, 4, 5, 6], *[[i] * 4 for i in range(2, 7)]], np.int32)
    first_only = np.zeros((7, 4), bool)
    first_only[:, 0] = True
    for size, members, joins in (
        (3, [0, 1], False),
        (3, [0, 1, 4], False),
        (4, [0, 1, 4], False),
        (4, [1, 4, 5], True),
    ):
        mutual = first_only.copy()
        mutual[1, :size] = True
        lists = reciprocal_lists(half, 4)
        row, picture = widened_sets(
            np.array([members], np.int32), np.ones((1, len(members)), bool), type(lists)(half, mutual)
        )
        assert picture.tolist() == (sorted({*members, 6}) if joins else members)
        assert row.tolist() == [0] * len(picture)


# -- sparse rows ----------------------------------------------------------------------------------------------------


def sparse(dense):
    row, column = np.nonzero(dense)
    counts = np.bincount(row, minlength=len(dense))
    return SparseRows(offsets(counts), column.astype(np.int32), dense[row, column], dense.shape[1])


def dense(rows):
    table = np.zeros((len(rows), rows.width), np.float32)
    owner = np.repeat(np.arange(len(rows)), np.diff(rows.start))
    np.add.at(table, (owner, rows.columns), rows.values)
    return table


@st.composite
def tables(draw):
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    shape = draw(st.integers(1, 8)), draw(st.integers(1, 9))
    values = random.random(shape, np.float32) * (random.random(shape) < draw(st.sampled_from([0.0, 0.3, 1.0])))
    return random, values.astype(np.float32)


@settings(deadline=None, max_examples=100)
@given(tables(), st.integers(1, 4), st.integers(1, 40))
def test_sparse_rows_do_what_dense_ones_do(table, k, entries):
    random, values = table
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("passerby.metrics.sparse_rows._ENTRIES", entries)
        rows = sparse(values)
        np.testing.assert_array_equal(dense(rows), values)
        np.testing.assert_array_equal(dense(transposed(rows)), values.T)
        chosen = random.integers(len(values), size=7)
        np.testing.assert_array_equal(dense(rows.take(chosen)), values[chosen])
        np.testing.assert_array_equal(
            dense(stacked([rows, rows.part(0, 1)], rows.width)), np.vstack([values, values[:1]])
        )
        groups = random.integers(len(values), size=(5, k)).astype(np.int32)
        np.testing.assert_allclose(dense(mean_of_rows(rows, groups)), values[groups].mean(axis=1), atol=1e-6)
        own = random.random((5, values.shape[1]), np.float32)
        both = np.concatenate([own[:, None], values[groups]], axis=1).mean(axis=1)
        np.testing.assert_allclose(dense(mean_of_rows(rows, groups, own=sparse(own))), both, atol=1e-6)
        shared = np.minimum(own[:, None], values[None]).sum(axis=2)
        np.testing.assert_allclose(shared_mass(sparse(own), transposed(rows)), shared, atol=1e-6)


def test_no_rows_at_all():
    nothing = stacked([], 4)
    assert len(nothing) == 0
    assert shared_mass(nothing, transposed(sparse(np.ones((3, 4), np.float32)))).shape == (0, 3)
    assert len(mean_of_rows(sparse(np.ones((3, 4), np.float32)), np.zeros((0, 2), np.int32))) == 0
