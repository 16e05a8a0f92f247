"""The three ways to test a context encoder; every figure names the one it was made with.

They differ in who may look at whom. Published figures of NFormer and MagFormer are of kind A: all queries and the
gallery in one graph, so that an answer depends on the other questions. B and C are not transductive.

Axes: Q queries, N pictures of the gallery, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

import numpy as np
import torch

from passerby.errors import ConfigError, nearest
from passerby.models.context import ContextEncoder
from passerby.models.gallery_context import GalleryContext
from passerby.nn.neighbour_search import unit_rows

#: Name -> what it is, as printed beside a figure.
CONTEXT_PROTOCOLS: Mapping[str, str] = MappingProxyType(
    {
        "transductive": "A: queries and gallery in one graph, as published; answers depend on the other queries",
        "gallery": "B: the gallery in context, queries look at it one-way; answers depend on no other query",
        "per-query": "C: each query alone in one graph with the gallery, computed exactly",
    }
)


@torch.no_grad()
def transductive(model: ContextEncoder, queries: np.ndarray, gallery: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Protocol A: one graph of all. Landmarks come from the gallery, as in the other protocols.

    Args:
        model: a trained context encoder; is put into evaluation mode.
        queries: vectors.
        gallery: vectors.

    Shape:
        queries (Q, D), gallery (N, D) -> unit vectors (Q, D), (N, D).

    Raises:
        ConfigError: the width is another one.
        DataError: a vector is not finite, or there is none.
    """
    model.eval()
    parameter = model.classifier.weight
    asked, searched = (torch.as_tensor(one).to(parameter.device, parameter.dtype) for one in (queries, gallery))
    rows = model(torch.cat([searched, asked]), landmarks=model.choose_landmarks(searched))
    rows = unit_rows(model.embed(rows)).cpu().numpy()
    return rows[len(gallery) :], rows[: len(gallery)]


def gallery_in_context(
    model: ContextEncoder, queries: np.ndarray, gallery: np.ndarray, one_way: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Protocol B, see `GalleryContext`.

    Args:
        model: a trained context encoder; is put into evaluation mode.
        queries: vectors.
        gallery: vectors.
        one_way: for queries that are no pictures, see `GalleryContext.transform`.

    Shape:
        queries (Q, D), gallery (N, D) -> unit vectors (Q, D), (N, D).
    """
    context = GalleryContext(model, gallery)
    return context.transform(queries, one_way), context.vectors


def per_query(model: ContextEncoder, queries: np.ndarray, gallery: np.ndarray) -> Iterator[np.ndarray]:
    """Protocol C: for each query the cosines with the gallery that the query is part of, one row (N,) at a time.

    The gallery's vectors differ from query to query, so there are scores and no vectors.

    Args:
        model: a trained context encoder; is put into evaluation mode.
        queries: vectors.
        gallery: vectors.

    Shape:
        queries (Q, D), gallery (N, D) -> Q rows (N,).
    """
    context = GalleryContext(model, gallery)
    for query in queries:
        yield context.scores_with(query)


def context_scores(model: ContextEncoder, queries: np.ndarray, gallery: np.ndarray, protocol: str) -> np.ndarray:
    """Cosines under a protocol by its name, as evaluation takes them.

    Args:
        model: a trained context encoder; is put into evaluation mode.
        queries: vectors.
        gallery: vectors.
        protocol: a key of `CONTEXT_PROTOCOLS`.

    Shape:
        queries (Q, D), gallery (N, D) -> (Q, N), in memory.

    Raises:
        ConfigError: the protocol is unknown.
    """
    if protocol not in CONTEXT_PROTOCOLS:
        known = ", ".join(CONTEXT_PROTOCOLS)
        raise ConfigError(
            f"no context protocol is called {protocol!r}; known: {known}.{nearest(protocol, CONTEXT_PROTOCOLS)}"
        )
    if protocol == "per-query":
        return np.stack(list(per_query(model, queries, gallery)))
    in_vectors: Callable[..., tuple[np.ndarray, np.ndarray]] = (
        transductive if protocol == "transductive" else gallery_in_context
    )
    asked, searched = in_vectors(model, queries, gallery)
    return asked @ searched.T
