"""Neighbour lists and their softmax against N x N masks made by loops."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from passerby.errors import ConfigError, DataError
from passerby.nn import reciprocal_neighbours
from passerby.nn.reciprocal_neighbours import (
    NeighbourGraph,
    build_neighbour_graph,
    clamped_k,
    reciprocal_mask,
    reciprocal_softmax,
)


def vectors(rows, seed=0, width=6):
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def naive_lists(features, k):
    """For each row the k - 1 most similar others, by loops."""
    unit = [row / row.norm() for row in features]
    lists = []
    for i, one in enumerate(unit):
        others = sorted(((-float(one @ other), j) for j, other in enumerate(unit) if j != i))
        lists.append([j for _, j in others[: k - 1]])
    return lists


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 25), k=st.integers(1, 30), seed=st.integers(0, 999))
def test_graph_equals_loops(rows, k, seed):
    features = vectors(rows, seed)
    graph, lists = build_neighbour_graph(features, k), naive_lists(features, k)
    assert isinstance(graph, NeighbourGraph)
    assert len(graph) == rows
    assert graph.neighbours.tolist() == lists
    assert graph.reciprocal.tolist() == [[i in lists[j] for j in mine] for i, mine in enumerate(lists)]


def test_reciprocity_is_mutual():
    graph = build_neighbour_graph(vectors(50), 7)
    edges = {
        (i, j)
        for i in range(50)
        for j, both in zip(graph.neighbours[i].tolist(), graph.reciprocal[i].tolist(), strict=True)
        if both
    }
    assert edges
    assert edges == {(j, i) for i, j in edges}
    assert len(edges) < graph.neighbours.numel()


def test_more_copies_than_places_still_know_themselves():
    """Nine copies, k of 4: nobody's list holds all of them, and the softmax still has the row itself."""
    graph = build_neighbour_graph(vectors(1).expand(9, -1), 4)
    assert graph.neighbours[8].tolist() == [0, 1, 2]
    assert not graph.reciprocal[8].any()
    weights = reciprocal_softmax(torch.zeros(9, 1), torch.zeros(9, 1, 3), graph.reciprocal[:, None])
    assert weights[8, 0].tolist() == [1, 0, 0, 0]


def test_scale_does_not_matter_and_halves_are_searched_as_floats():
    features = vectors(20)
    scaled = features * torch.rand(20, 1, dtype=torch.float64).add(0.1)
    assert torch.equal(build_neighbour_graph(features, 5).neighbours, build_neighbour_graph(scaled, 5).neighbours)
    assert build_neighbour_graph(features.half(), 5).scores.dtype == torch.float32


def test_blocks_of_the_mask_do_not_show(monkeypatch):
    graph = build_neighbour_graph(vectors(33), 6)
    monkeypatch.setattr(reciprocal_neighbours, "_ROWS", 4)
    assert torch.equal(reciprocal_mask(graph.neighbours), graph.reciprocal)


def test_mask_of_some_rows():
    graph = build_neighbour_graph(vectors(20), 6)
    rows = torch.tensor([7, 2])
    assert torch.equal(reciprocal_mask(graph.neighbours[rows], rows, graph.neighbours), graph.reciprocal[rows])


def test_softmax_equals_a_masked_one_over_all():
    own, others = vectors(5, 1, 2), torch.randn(5, 2, 4, dtype=torch.float64)
    mask = torch.rand(5, 1, 4) > 0.5
    weights = reciprocal_softmax(own, others, mask)
    for row in range(5):
        for index in range(2):
            terms = [float(own[row, index].exp())]
            terms += [float(others[row, index, a].exp()) if mask[row, 0, a] else 0.0 for a in range(4)]
            expected = torch.tensor(terms, dtype=torch.float64) / sum(terms)
            torch.testing.assert_close(weights[row, index], expected)


def test_wrong_input_is_refused():
    with pytest.raises(ConfigError, match="k is 0; expected at least 1"):
        build_neighbour_graph(vectors(4), 0)
    with pytest.raises(DataError, match="row 2 holds NaN"):
        build_neighbour_graph(torch.tensor([[1.0], [2.0], [torch.nan]]), 2)
    assert clamped_k(20, 7) == 7
