"""A gallery in context: appended equals fitted anew, queries are alone, and the three protocols against each other."""

import numpy as np
import pytest
import torch

from passerby.errors import ConfigError, DataError
from passerby.models.context import ContextEncoder
from passerby.models.context_config import context_config
from passerby.models.context_growth import insert, undo
from passerby.models.context_protocols import (
    CONTEXT_PROTOCOLS,
    context_scores,
    gallery_in_context,
    per_query,
    transductive,
)
from passerby.models.context_state import fitted
from passerby.models.gallery_context import QUERY_BLOCK, GalleryContext
from passerby.nn.reciprocal_neighbours import NeighbourGraph


def people(rows, width=16, seed=0, each=6, dtype=np.float64):
    """Rows around one direction per person, in mixed order."""
    random = np.random.default_rng(seed)
    directions = np.random.default_rng(99).normal(size=(400, width))
    owner = random.integers(max(1, rows // each), size=rows)
    return (directions[owner] + 0.6 * random.normal(size=(rows, width))).astype(dtype)


def model_of(seed=0, width=16, double=True, **settings):
    torch.manual_seed(seed)
    model = ContextEncoder(context_config("magformer", width, 7, **{"layers": 3, "k": 5, **settings}))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
        model.neck.running_mean.normal_()
        model.neck.running_var.uniform_(0.5, 2)
    return (model.double() if double else model).eval()


GALLERIES = {
    "ordinary": people(80),
    "copies": np.concatenate([np.repeat(people(1), 8, axis=0), people(20, seed=1)]),
    "fewer than k": people(3),
    "one picture": people(1),
}


@pytest.mark.parametrize("which", GALLERIES)
@pytest.mark.parametrize("sizes", [(1,), (7,), (1, 1, 30), (3, 2)])
def test_appended_equals_fitted_anew(which, sizes):
    gallery, parts = GALLERIES[which], [people(size, seed=10 + at) for at, size in enumerate(sizes)]
    context = GalleryContext(model_of(), gallery)
    for part in parts:
        context.append(part)
    anew = GalleryContext(model_of(), np.concatenate([gallery, *parts]), context.frames)
    assert len(context) == len(anew) == len(gallery) + sum(sizes)
    np.testing.assert_allclose(context.vectors, anew.vectors, rtol=0, atol=1e-12)
    queries = people(9, seed=5)
    np.testing.assert_allclose(context.transform(queries), anew.transform(queries), rtol=0, atol=1e-12)


@pytest.mark.parametrize("k", [1, 2, 40])
def test_appended_equals_fitted_anew_for_any_k(k):
    gallery, more = people(30), people(20, seed=1)
    context = GalleryContext(model_of(k=k), gallery)
    context.append(more)
    anew = GalleryContext(model_of(k=k), np.concatenate([gallery, more]), context.frames)
    np.testing.assert_allclose(context.vectors, anew.vectors, rtol=0, atol=1e-12)


def test_rows_that_are_not_named_stay_as_they_were():
    gallery = people(600, seed=3)
    context = GalleryContext(model_of(layers=2), gallery)
    before = context.vectors.copy()
    rows = context.append(people(1, seed=4))
    assert rows[-1] == 600
    assert 1 < len(rows) < 300
    untouched = np.setdiff1d(np.arange(600), rows)
    assert np.array_equal(context.vectors[untouched], before[untouched])
    assert not np.allclose(context.vectors[rows[:-1]], before[rows[:-1]])


def test_a_query_is_the_same_in_any_company():
    """Bit for bit, whatever the batch size and wherever in the batch (float32, as it is used)."""
    context = GalleryContext(model_of(width=64, double=False, k=10), people(500, 64, dtype=np.float32))
    queries = people(150, 64, seed=1, dtype=np.float32)
    whole = context.transform(queries)
    for size in (1, 7, 63, 64, 65):
        parts = [context.transform(queries[first : first + size]) for first in range(0, 150, size)]
        assert np.array_equal(np.concatenate(parts), whole), size
    order = np.random.default_rng(0).permutation(150)
    assert np.array_equal(context.transform(queries[order]), whole[order])
    assert QUERY_BLOCK not in (1, 7)


def test_queries_change_nothing():
    context = GalleryContext(model_of(), people(60))
    before, query = context.vectors.copy(), people(5, seed=2)
    first = context.transform(query)
    context.scores_with(query[0])
    assert np.array_equal(context.vectors, before)
    assert np.array_equal(context.transform(query), first)


@pytest.mark.parametrize("which", GALLERIES)
def test_per_query_equals_a_full_forward_for_each_query(which):
    gallery, queries = GALLERIES[which], np.concatenate([people(6, seed=20), GALLERIES[which][:2]])
    model = model_of()
    frames = GalleryContext(model, gallery).frames
    for query, scores in zip(queries, per_query(model, queries, gallery), strict=True):
        naive = GalleryContext(model, np.concatenate([gallery, query[None]]), frames).vectors
        np.testing.assert_allclose(scores, naive[:-1] @ naive[-1], rtol=0, atol=1e-12)


def test_gallery_protocol_is_one_graph_without_edges_between_queries():
    """Protocol A on a graph in which nothing looks at a query and queries look as B lets them."""
    model, gallery, queries = model_of(), people(60), people(8, seed=7)
    context = GalleryContext(model, gallery)
    state = fitted(model, torch.from_numpy(gallery))
    unit = torch.nn.functional.normalize(torch.from_numpy(queries), dim=1)
    scores, neighbours = state.search().nearest(unit, 4)
    graph = NeighbourGraph(
        torch.cat([state.neighbours, neighbours]),
        torch.cat([state.reciprocal, scores > state.thresholds[neighbours]]),
        torch.cat([state.scores, scores]),
    )
    everything = torch.from_numpy(np.concatenate([gallery, queries]))
    with torch.no_grad():
        rows = model(everything, graph, model.choose_landmarks(torch.from_numpy(gallery)))
        vectors = torch.nn.functional.normalize(model.embed(rows), dim=1).numpy()
    np.testing.assert_allclose(context.transform(queries), vectors[60:], rtol=0, atol=1e-12)
    np.testing.assert_allclose(context.vectors, vectors[:60], rtol=0, atol=1e-12)


def test_per_query_and_gallery_agree_where_a_query_changes_nobody():
    """A query that is nobody's neighbour sees itself alone in both protocols."""
    model, gallery = model_of(), people(60)
    stranger = -gallery.mean(axis=0)
    context = GalleryContext(model, gallery)
    scores = context.scores_with(stranger)
    np.testing.assert_allclose(scores, context.vectors @ context.transform(stranger[None])[0], rtol=0, atol=1e-12)


def test_published_protocol_depends_on_the_other_queries_and_the_default_does_not():
    model, gallery, queries = model_of(), people(60), people(30, seed=7)
    for protocol, depends in ((transductive, True), (gallery_in_context, False)):
        together, alone = protocol(model, queries, gallery)[0], protocol(model, queries[:1], gallery)[0]
        assert np.array_equal(together[:1], alone) is not depends


@pytest.mark.parametrize("protocol", CONTEXT_PROTOCOLS)
def test_scores_are_cosines_whatever_the_protocol(protocol):
    gallery = people(40)
    scores = context_scores(model_of(), gallery[:3], gallery, protocol)
    assert scores.shape == (3, 40)
    assert np.abs(scores).max() <= 1 + 1e-9
    if protocol != "gallery":  # in one graph with its copy; under B the query is beside it
        assert (scores[np.arange(3), np.arange(3)] > 0.9).all()


def test_text_looks_one_way():
    """Vectors apart from all pictures have no reciprocal neighbour; one-way they still see their nearest."""
    gallery = people(60) + 5
    text = people(6, seed=3) - 5
    context = GalleryContext(model_of(), gallery)
    alone = GalleryContext(model_of(k=1), gallery, context.frames).transform(text)
    np.testing.assert_allclose(context.transform(text), alone, rtol=0, atol=1e-12)
    seeing = context.transform(text, one_way=True)
    assert not np.allclose(seeing, alone)
    assert np.array_equal(context.transform(text[2:3], one_way=True)[0], seeing[2])


def test_a_change_that_is_undone_leaves_no_trace():
    model, gallery = model_of(), torch.from_numpy(people(50))
    state, again = fitted(model, gallery), fitted(model, gallery)
    newcomer = torch.from_numpy(people(3, seed=8))
    state.reserve(3)
    state.undone = []
    insert(state, newcomer, model.prepared(newcomer), state.search())
    undo(state, 50)
    for name in ("unit", "neighbours", "scores", "reciprocal"):
        assert torch.equal(getattr(state, name)[:50], getattr(again, name))
    for name in ("levels", "keys"):
        for mine, other in zip(getattr(state, name), getattr(again, name), strict=True):
            assert torch.equal(mine[:50], other)
    for mine, other in zip(state.values, again.values, strict=True):
        assert torch.equal(mine[:, :50], other)


def test_wrong_input_is_refused():
    context, queries = GalleryContext(model_of(), people(20)), people(3)
    queries[1, 0] = np.inf
    for wrong in (context.transform, context.append, lambda given: GalleryContext(model_of(), given)):
        with pytest.raises(DataError, match="row 1 holds NaN or infinity"):
            wrong(queries)
        with pytest.raises(ConfigError, match="features of width 8"):
            wrong(people(3, 8))
        with pytest.raises(DataError, match="expected \\(rows, width\\)"):
            wrong(people(3)[0])
        with pytest.raises(DataError, match="there are no features"):
            wrong(people(3)[:0])
    assert len(context) == 20
    with pytest.raises(DataError, match="row 0 holds NaN"):
        context.scores_with(queries[1])
    with pytest.raises(ConfigError, match="knows no neighbours outside"):
        GalleryContext(model_of(graph="affinity"), people(20))
    with pytest.raises(ConfigError, match="Did you mean 'gallery'"):
        context_scores(model_of(), people(3), people(20), "galery")
