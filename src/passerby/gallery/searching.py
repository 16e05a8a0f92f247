"""From a query to ranked hits: encode, search, filter, group, re-rank, and say how good the matches are."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from passerby.errors import ConfigError, nearest
from passerby.gallery.bands import Bands, Limits
from passerby.gallery.filters import FIELDS, Filter, known_field, named_fields
from passerby.gallery.grouping import best_of_groups
from passerby.gallery.query import Encoded, Query, encode_query
from passerby.gallery.records import Candidates, Encoder, Hit, Hits, Reranker
from passerby.gallery.store import Store

#: Most hits of one search.
MAX_K = 1_000
#: Most candidates that are looked through for enough groups.
_DEEPEST = 16_000
_MORE = 4
#: How the sentence ends that says why an answer is empty; where there is another way than these, it can be cut off.
POOR_HINT = "; to see poor matches too, give --keep-poor (in Python keep_poor=True)"


class Searching:
    """Answers queries over one store, with bands where the gallery has been measured."""

    def __init__(self, store: Store, encoder: Callable[[], Encoder], bands: Bands | None) -> None:
        """Take what answering needs; `encoder` is called only where there is something to encode."""
        self._store = store
        self._encoder = encoder
        self._bands = bands

    def answer(
        self,
        query: Query,
        k: int,
        where: Filter | None,
        min_score: float | None,
        group: str | None,
        reranker: Reranker | None,
        keep_poor: bool,
    ) -> Hits:
        """Answer one query; the arguments are those of `Gallery.search`."""
        if min_score is not None and not -1 <= min_score <= 1:
            raise ConfigError(f"min_score is {min_score}; expected a cosine, -1 to 1")
        started = time.perf_counter()
        encoded = encode_query(query, self._encoder, self._store.vectors)
        seconds = {"encode": time.perf_counter() - started}
        warnings = list(encoded.warnings)
        started = time.perf_counter()
        limits = self._bands.limits(encoded.words, query.text_share) if self._bands else None
        hits = self._found(encoded, query, limits, k, where, group, reranker)
        seconds["search"] = time.perf_counter() - started
        if not hits and where is not None:
            warnings.append(_none_pass(where))
        if hits and not keep_poor and limits and hits[0].band == "none":
            warnings.append(_nobody(hits[0].score, limits))
            hits = []
        if hits and min_score is not None:
            best, hits = hits[0].score, [hit for hit in hits if hit.score >= min_score]
            if not hits:
                warnings.append(f"no picture scores {min_score:g} or more; the best score is {best:.4f}")
        if hits and group is not None and all(hit.picture.get(known_field(group)) is None for hit in hits):
            warnings.append(f"no hit has the field {group!r}, so each stands alone.{nearest(group, FIELDS)}")
        if reranker is not None and hits:
            started = time.perf_counter()
            hits = self._reranked(hits, encoded, query, reranker)
            seconds["rerank"] = time.perf_counter() - started
        if group is not None:
            hits = best_of_groups(hits, group)
        return Hits(hits[:k], warnings, seconds)

    def nearest(self, vector: np.ndarray, k: int, where: Filter | None, limits: Limits | None) -> list[Hit]:
        """The `k` hits nearest to a (D,) unit vector; without limits, all of them are called weak."""
        found = self._store.search(vector, k, where)
        pictures = self._store.get([name for name, _ in found])
        # The engine may know rows that were never acknowledged; the catalogue decides.
        known = [(pictures[name], score) for name, score in found if name in pictures][:k]
        return [Hit(picture, score, limits.band(score) if limits else "weak") for picture, score in known]

    def _found(
        self,
        encoded: Encoded,
        query: Query,
        limits: Limits | None,
        k: int,
        where: Filter | None,
        group: str | None,
        reranker: Reranker | None,
    ) -> list[Hit]:
        """Enough hits for what comes after: without the examples, and of enough groups."""
        examples = {*query.like, *query.unlike}
        wanted = max(k, reranker.depth if reranker else 0)
        depth = (_MORE * wanted if group else wanted) + len(examples)
        while True:
            hits = self.nearest(encoded.vector, depth, where, limits)
            exhausted = len(hits) < depth
            hits = [hit for hit in hits if hit.id not in examples]
            if group is None:
                return hits[:wanted]
            if exhausted or depth >= _DEEPEST or len(best_of_groups(hits, group)) >= wanted:
                return hits
            depth *= _MORE

    def _reranked(self, hits: list[Hit], encoded: Encoded, query: Query, reranker: Reranker) -> list[Hit]:
        top, rest = hits[: reranker.depth], hits[reranker.depth :]
        candidates = Candidates(
            encoded.vector,
            query.texts,
            encoded.images,
            tuple(hit.picture for hit in top),
            self._store.vectors([hit.id for hit in top]),
            np.array([hit.score for hit in top], np.float32),
        )
        scores = np.asarray(reranker.rerank(candidates), np.float64)  # (N,)
        if scores.shape != (len(top),) or not np.isfinite(scores).all():
            raise ConfigError(
                f"the re-ranker {reranker.name} returned scores of shape {scores.shape}; expected ({len(top)},), finite"
            )
        order = np.argsort(-scores, kind="stable")
        return [replace(top[at], score=float(scores[at])) for at in order] + rest


def _nobody(score: float, limits: Limits) -> str:
    why = limits.reason or f"the best score is {score:.4f}, and matches of such a query begin at {limits.weak:.4f} here"
    return f"nobody in this gallery matches: {why}{POOR_HINT}"


def _none_pass(where: Filter) -> str:
    """Why a filter leaves nobody: often a field is misspelt, and then it is taken for a column of somebody's table."""
    said = "no picture passes the filter"
    for name in sorted(named_fields(where) - FIELDS.keys()):
        said += f"; {name!r} is no field of every picture, so it has to be metadata.{nearest(name, FIELDS)}"
    return said


def check_k(k: int) -> None:
    """Refuse a number of hits out of range.

    Raises:
        ConfigError: `k` is not 1 to 1000.
    """
    if not 1 <= k <= MAX_K:
        raise ConfigError(f"k is {k}; expected 1 to {MAX_K}")


def is_id(name: str) -> bool:
    """Whether a text could be a picture's id."""
    return len(name) == 32 and not set(name) - set("0123456789abcdef")


def check_id(name: str) -> None:
    """Refuse what cannot be a picture's id.

    Raises:
        ConfigError: it is not 32 hexadecimal digits.
    """
    if not is_id(name):
        raise ConfigError(f"{name!r} is no picture id; expected 32 hexadecimal digits, as searches print them")


def check_vector(query: np.ndarray, dim: int) -> np.ndarray:
    """A query vector scaled to length one.

    Raises:
        ConfigError: it has the wrong shape, is zero or not finite.
    """
    query = np.asarray(query, np.float32)
    length = float(np.linalg.norm(query)) if query.shape == (dim,) else 0.0
    if not np.isfinite(length) or length == 0:
        raise ConfigError(
            f"the query vector has shape {query.shape} and length {length}; expected ({dim},), finite and not zero"
        )
    return query / length
