"""Second stages by name, from `k-reciprocal:k1=10` to something that orders the best hits anew.

`k-reciprocal` needs nothing but the vectors of the hits, `cross` the weights of the gallery's own model, `context` a
context encoder that was trained on the vectors of that model. All of them look at the best `depth` hits and at
nothing else, so what they cost does not grow with the gallery.

Axes: N candidates, D dimensions.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import numpy as np

from passerby.errors import ConfigError, nearest
from passerby.gallery.records import Candidates, Encoder, Reranker
from passerby.metrics.k_reciprocal import KReciprocal, k_reciprocal_blocks

#: Most hits that a second stage may look at.
_DEEPEST = 1_000
#: Second stages that are kept ready; one may hold a model.
_MOST_KEPT = 4
#: Method -> option -> what its value is read as.
_OPTIONS: Mapping[str, Mapping[str, Callable[[str], Any]]] = MappingProxyType(
    {
        "k-reciprocal": {"depth": int, "k1": int, "k2": int, "lambda": float},
        "cross": {"depth": int, "weight": float},
        "context": {"depth": int},
    }
)
#: Names of all second stages.
METHODS = tuple(_OPTIONS)


@runtime_checkable
class Remembering(Protocol):
    """A second stage that keeps something of pictures from query to query."""

    def forget(self, ids: Iterable[str]) -> None:
        """Let go what is kept of these pictures."""
        ...


class NeighbourhoodReranker:
    """k-reciprocal re-ranking inside the neighbourhood of a query: its best hits are all the pictures there are."""

    name = "k-reciprocal"

    def __init__(self, depth: int = 100, settings: KReciprocal | None = None) -> None:
        """Take the numbers.

        Args:
            depth: hits that are the neighbourhood.
            settings: None means the paper's k1 20, k2 6, lambda 0.3.
        """
        self.depth, self._settings = depth, settings or KReciprocal()

    def rerank(self, candidates: Candidates) -> np.ndarray:
        """(N,) one minus the re-ranked distance, in [0, 1]."""
        query = candidates.query[None]  # (1, D)
        distances = next(k_reciprocal_blocks(query, candidates.vectors, self._settings, transductive=False))
        return 1 - distances[0]


class Stages:
    """The second stages that were asked for last, ready for the next search; several threads may ask."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        self._kept: OrderedDict[str, Reranker] = OrderedDict()
        self._turn = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, text: str, model: Callable[[], Encoder], thumbnail: Callable[[str], bytes]) -> Reranker:
        """The second stage of this name; arguments and errors are those of `find_reranker`."""
        with self._turn:
            if text not in self._kept:
                self._kept[text] = find_reranker(text, model, thumbnail)
            self._kept.move_to_end(text)
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
            return self._kept[text]

    def forget(self, ids: Iterable[str]) -> None:
        """Let go what stages remember of pictures that have been deleted."""
        with self._turn:
            for stage in self._kept.values():
                if isinstance(stage, Remembering):
                    stage.forget(ids)


def offered_stages(texts: Iterable[str]) -> dict[str, str]:
    """What a service offers: the name of each second stage and how it was written; `k-reciprocal` costs nothing.

    Args:
        texts: as for `find_reranker`, one of each method at most.

    Raises:
        ConfigError: a method is unknown, or there twice, so that a client could not say which of the two is meant.
    """
    offered: dict[str, str] = {}
    for text in texts:
        method = text.partition(":")[0]
        _check_method(method)
        if method in offered:
            raise ConfigError(
                f"{method} is offered twice, as {offered[method]!r} and {text!r}, and clients ask by the name alone; "
                "offer one of them"
            )
        offered[method] = text
    return {METHODS[0]: METHODS[0]} | offered


def find_reranker(text: str, model: Callable[[], Encoder], thumbnail: Callable[[str], bytes]) -> Reranker:
    """Read a second stage as it is written on the command line.

    `METHOD` or `METHOD:option=value,...`: `k-reciprocal` with `depth`, `k1`, `k2`, `lambda`; `cross` with `depth` and
    `weight`; `context:CHECKPOINT` with `depth`.

    Args:
        text: for example "k-reciprocal", "cross:depth=20" or "context:runs/context/checkpoint,depth=300".
        model: returns the gallery's model; called only where the second stage is part of it.
        thumbnail: returns the thumbnail of a picture whose file has gone.

    Raises:
        ConfigError: a name is unknown, a value is no number or out of range, or the model has no such stage.
        CheckpointError: a checkpoint cannot be read.
        MissingExtraError: the stage needs torch, which is not installed.
    """
    method, _, rest = text.partition(":")
    _check_method(method)
    place, given = _given(text, method, rest)
    if not 1 <= given.get("depth", 1) <= _DEEPEST:
        raise ConfigError(f"{text!r}: depth is {given['depth']}; expected 1 to {_DEEPEST}")
    depth = {"depth": given.pop("depth")} if "depth" in given else {}
    if method == "k-reciprocal":
        original = {"original": given.pop("lambda")} if "lambda" in given else {}
        return NeighbourhoodReranker(**depth, settings=KReciprocal(**given, **original))
    from passerby.gallery.reranking_models import ContextReranker, CrossReranker

    if method == "cross":
        return CrossReranker(model(), thumbnail, **depth, **given)
    return ContextReranker(place, **depth)


def _check_method(method: str) -> None:
    if method not in _OPTIONS:
        raise ConfigError(
            f"there is no second stage {method!r}; expected one of {', '.join(_OPTIONS)}.{nearest(method, _OPTIONS)}"
        )


def _given(text: str, method: str, rest: str) -> tuple[str, dict[str, Any]]:
    """The checkpoint that a method names, and its options."""
    options, place, given = _OPTIONS[method], "", {}
    for piece in filter(None, (piece.strip() for piece in rest.split(","))):
        option, equals, value = (part.strip() for part in piece.partition("="))
        if method == "context" and not place and option not in options:
            place = piece
            continue
        if not equals or option not in options:
            known = ", ".join(f"{name}=..." for name in options)
            raise ConfigError(
                f"{text!r}: {piece!r} is no option of {method}; there are {known}.{nearest(option, options)}"
            )
        try:
            given[option] = options[option](value)
        except ValueError as error:
            kind = "a whole number" if options[option] is int else "a number"
            raise ConfigError(f"{text!r}: {option} is {value!r}; expected {kind}") from error
    return place, given
