"""The neighbour search against a full sort in double precision, with narrow products, copies, zeros and thresholds."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from passerby.errors import ConfigError, DataError
from passerby.nn import neighbour_search
from passerby.nn.neighbour_search import RowSearch, check_finite, fast_dtype, nearest_rows, pair_scores, unit_rows


def clustered(rows, width=24, seed=0, each=6, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(rows // each + 1, width, generator=generator)
    owner = torch.randint(len(directions), (rows,), generator=generator)
    return unit_rows((directions[owner] + torch.randn(rows, width, generator=generator)).to(dtype))


def sorted_neighbours(queries, rows, count, own=None):
    """A whole sort of each row: best first, equal scores by their number."""
    result = []
    for at, query in enumerate(queries.double()):
        scores = [(-float(query @ row), number) for number, row in enumerate(rows.double())]
        if own is not None:
            del scores[int(own[at])]
        result.append([number for _, number in sorted(scores)[:count]])
    return torch.tensor(result).view(len(queries), count)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 90), queries=st.integers(1, 9), seed=st.integers(0, 999), narrow=st.booleans(), data=st.data()
)
def test_equals_a_whole_sort(rows, queries, seed, narrow, data):
    searched, asked = clustered(rows, seed=seed), clustered(queries, seed=seed + 1)
    count = data.draw(st.integers(0, rows))
    scores, columns = nearest_rows(asked, searched, count, fast=torch.bfloat16 if narrow else None)
    assert torch.equal(columns, sorted_neighbours(asked, searched, count))
    torch.testing.assert_close(scores, (asked @ searched.T).gather(1, columns))


@pytest.mark.parametrize("fast", [torch.bfloat16, torch.float32])
def test_many_rows_by_groups_equal_a_whole_product(fast):
    """Enough rows that only the groups with the best maxima are looked into."""
    searched = clustered(6000, seed=3)
    own = torch.arange(0, 6000, 40)
    columns = nearest_rows(searched[own], searched, 9, own, fast)[1]
    product = searched[own].double() @ searched.double().T
    product[torch.arange(len(own)), own] = -torch.inf
    assert torch.equal(columns, product.topk(9, dim=1).indices)


def test_a_narrow_product_alone_would_be_wrong():
    """The second pass is needed: bfloat16 by itself puts neighbours in another order."""
    searched = clustered(3000, seed=4)
    narrow = (searched[:50].bfloat16() @ searched.bfloat16().T).float().topk(9, dim=1).indices
    assert not torch.equal(narrow, nearest_rows(searched[:50], searched, 9, fast=torch.bfloat16)[1])


@pytest.mark.parametrize("fast", [torch.bfloat16, torch.float32])
def test_equal_scores_are_ordered_by_number(fast):
    searched = torch.cat([clustered(1).expand(100, -1), clustered(40, seed=1)])
    own = torch.arange(140)
    columns = nearest_rows(searched, searched, 5, own, fast)[1]
    assert columns[0].tolist() == [1, 2, 3, 4, 5]
    assert columns[70].tolist() == [0, 1, 2, 3, 4]


def test_rows_of_zeros_have_neighbours_too():
    searched = torch.cat([torch.zeros(3, 8), clustered(9, 8)])
    scores, columns = nearest_rows(unit_rows(searched), unit_rows(searched), 4, torch.arange(12))
    assert torch.equal(scores[0], torch.zeros(4))
    assert columns[0].tolist() == [1, 2, 3, 4]


def test_blocks_do_not_show(monkeypatch):
    searched = clustered(300, seed=5)
    whole = nearest_rows(searched, searched, 7, torch.arange(300))
    monkeypatch.setattr(neighbour_search, "_FEWEST_ROWS", 3)
    monkeypatch.setattr(neighbour_search, "_BLOCK", 300)
    blocks = nearest_rows(searched, searched, 7, torch.arange(300))
    assert torch.equal(whole[0], blocks[0])
    assert torch.equal(whole[1], blocks[1])


def test_scores_of_pairs_are_symmetric_to_the_bit():
    rows = clustered(200, 37, seed=6)
    every = torch.arange(200).expand(200, -1)
    scores = pair_scores(rows, rows, every)
    assert torch.equal(scores, scores.T)
    alone = pair_scores(rows[[3]], rows, torch.tensor([[8]]))
    assert float(alone) == float(scores[3, 8])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), narrow=st.booleans())
def test_above_finds_every_pair_and_no_other(seed, narrow):
    rows, queries = clustered(50, seed=seed), clustered(7, seed=seed + 1)
    thresholds = torch.from_numpy(np.random.default_rng(seed).uniform(-0.2, 0.8, 50).astype(np.float32))
    thresholds[3], thresholds[4] = torch.inf, -torch.inf
    query, row, score = RowSearch(rows, torch.bfloat16 if narrow else None).above(queries, thresholds)
    scores = pair_scores(queries, rows, torch.arange(50).expand(7, -1))
    expected = (scores > thresholds).nonzero()
    assert torch.equal(torch.stack([query, row], dim=1), expected)
    assert torch.equal(score, scores[query, row])


def test_nothing_asked_finds_nothing():
    rows = clustered(5)
    query, row, score = RowSearch(rows).above(rows[:0], torch.zeros(5))
    assert len(query) == len(row) == len(score) == 0
    assert nearest_rows(rows[:0], rows, 2)[1].shape == (0, 2)


def test_double_precision_is_searched_in_double_precision():
    assert fast_dtype(clustered(3, dtype=torch.float64)) == torch.float64


@pytest.mark.parametrize(("count", "own"), [(-1, None), (6, None), (5, torch.arange(5))])
def test_counts_out_of_range_are_refused(count, own):
    rows = clustered(5)
    with pytest.raises(ConfigError, match=f"{count} neighbours of"):
        nearest_rows(rows, rows, count, own)


@pytest.mark.parametrize(
    ("features", "words"),
    [
        (torch.tensor([[0.0], [torch.nan]]), "row 1 holds NaN"),
        (torch.tensor([[torch.inf], [0.0]]), "row 0 holds NaN or infinity"),
        (torch.zeros(3), r"shape \(3,\)"),
        (torch.zeros(0, 3), "there are no vectors"),
    ],
)
def test_vectors_that_cannot_be_searched_are_refused(features, words):
    with pytest.raises(DataError, match=words):
        check_finite(features, "vectors")
