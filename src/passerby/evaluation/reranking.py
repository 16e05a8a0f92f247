"""Re-rankings by name: from `k-reciprocal:k1=20,mode=gallery` to a scoring that an evaluation takes.

A re-ranking looks at more than the pair of query and picture. Whether it also looks at the other queries is its mode,
and the report says which it was: "transductive" (as in the papers, all queries are known at once) or "gallery" (each
query meets the gallery alone, as in a search).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

import numpy as np

from passerby.errors import ConfigError, nearest
from passerby.evaluation.scoring import Integers, Scoring, Vectors
from passerby.metrics.k_reciprocal import KReciprocal, k_reciprocal_blocks
from passerby.metrics.neighbours import similarity_blocks
from passerby.metrics.query_expansion import AlphaExpansion, expanded_features

Mode: TypeAlias = Literal["transductive", "gallery"]

#: What is published under the name "re-ranking": the paper, what CLIP-ReID runs, and what fast-reid computes.
K_RECIPROCAL_PRESETS: Mapping[str, KReciprocal] = MappingProxyType(
    {
        "canonical": KReciprocal(20, 6, 0.3),
        "clipreid": KReciprocal(50, 15, 0.3),
        "fastreid": KReciprocal(20, 6, 0.3, variant="fastreid"),
    }
)

#: method -> option -> field of its settings, and what the option's value is read as.
_OPTIONS: Mapping[str, Mapping[str, tuple[str, Callable[[str], float]]]] = MappingProxyType(
    {
        "k-reciprocal": {"k1": ("k1", int), "k2": ("k2", int), "lambda": ("original", float)},
        "aqe": {"k": ("k", int), "alpha": ("alpha", float)},
    }
)


@dataclass(frozen=True, slots=True)
class ReRanking:
    """A re-ranking with all its numbers.

    Attributes:
        settings: of k-reciprocal re-ranking, or of alpha query expansion.
        mode: whether the answer to a query depends on the other queries.

    Raises:
        ConfigError: the mode is unknown.
    """

    settings: KReciprocal | AlphaExpansion
    mode: Mode = "transductive"

    def __post_init__(self) -> None:
        _known("mode", self.mode, get_args(Mode))

    @property
    def method(self) -> str:
        """Its name on the command line."""
        return "k-reciprocal" if isinstance(self.settings, KReciprocal) else "aqe"

    @property
    def mode_in_words(self) -> str:
        """What a row of a table says: "transductive" or "gallery-only"."""
        return "transductive" if self.mode == "transductive" else "gallery-only"

    def describe(self) -> str:
        """With every number, for reports."""
        if isinstance(self.settings, KReciprocal):
            own = self.settings
            variant = "" if own.variant == "canonical" else f"{own.variant} variant, "
            numbers = f"{variant}k1 {own.k1}, k2 {own.k2}, lambda {own.original:g}"
        else:
            numbers = f"k {self.settings.k}, alpha {self.settings.alpha:g}"
        return f"{self.method} ({numbers}, {self.mode_in_words})"

    def scoring(self) -> Scoring:
        """The scoring that evaluations take; its name holds every number and the mode."""
        return Scoring(self.describe(), self._blocks, transductive=self.mode == "transductive")

    def _blocks(self, queries: Vectors, gallery: Vectors, own: Integers) -> Iterator[Vectors]:
        transductive = self.mode == "transductive"
        if isinstance(self.settings, AlphaExpansion):
            vectors = expanded_features(queries, gallery, self.settings, transductive=transductive, own=own)
            yield from (block.copy() for _, block in similarity_blocks(*vectors))
            return
        for block in k_reciprocal_blocks(queries, gallery, self.settings, transductive=transductive, own=own):
            yield np.negative(block, out=block)


def find_reranking(text: str) -> ReRanking:
    """Read a re-ranking as it is written on the command line.

    `METHOD` or `METHOD:option=value,...`. Methods and options: `k-reciprocal` with `preset` (canonical, clipreid,
    fastreid), `k1`, `k2`, `lambda`; `aqe` with `k`, `alpha`; both with `mode` (transductive, gallery). Numbers given
    beside a preset replace the preset's.

    Args:
        text: for example "k-reciprocal", "k-reciprocal:k1=20,k2=6,lambda=0.3,mode=gallery" or "aqe:k=5,alpha=3".

    Raises:
        ConfigError: a name is unknown (the nearest one is given), an option is given twice or without a value, or a
            value is not a number or out of range.
    """
    method, _, rest = text.partition(":")
    _known("re-ranking", method, _OPTIONS)
    given = _given(text, rest)
    known = (*_OPTIONS[method], "mode", *(("preset",) if method == "k-reciprocal" else ()))
    for option in given:
        _known(f"option of {method}", option, known)
    preset, mode = given.pop("preset", "canonical"), given.pop("mode", "transductive")
    _known("preset of k-reciprocal", preset, K_RECIPROCAL_PRESETS)
    numbers = {}
    for option, value in given.items():
        field, read = _OPTIONS[method][option]
        try:
            numbers[field] = read(value)
        except ValueError as error:
            kind = "a whole number" if read is int else "a number"
            raise ConfigError(f"re-ranking {text!r}: {option} is {value!r}; expected {kind}") from error
    base = K_RECIPROCAL_PRESETS[preset] if method == "k-reciprocal" else AlphaExpansion()
    _known("mode", mode, get_args(Mode))
    return ReRanking(replace(base, **numbers), "gallery" if mode == "gallery" else "transductive")


def _given(text: str, rest: str) -> dict[str, str]:
    given: dict[str, str] = {}
    for piece in filter(None, (piece.strip() for piece in rest.split(","))):
        option, equals, value = (part.strip() for part in piece.partition("="))
        if not equals or not value:
            raise ConfigError(f"re-ranking {text!r}: {piece!r} is no option; expected option=value, as in k1=20")
        if option in given:
            raise ConfigError(f"re-ranking {text!r} gives {option} twice")
        given[option] = value
    return given


def _known(what: str, given: str, known: Mapping[str, object] | tuple[str, ...]) -> None:
    if given not in known:
        raise ConfigError(f"no {what} {given!r}; expected one of {', '.join(known)}.{nearest(given, known)}")
