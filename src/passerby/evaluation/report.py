"""The result of an evaluation, with everything that one needs to know to believe it.

A `Report` holds percentages with their intervals and counts, the protocol, the fingerprints of checkpoint and data,
the seed and the versions. `tables.py` prints it as rows; here it becomes JSON and sentences.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from passerby.evaluation.protocol import Protocol

#: Key in JSON -> heading in tables.
FIGURES: Mapping[str, str] = MappingProxyType({"r1": "R@1", "r5": "R@5", "r10": "R@10", "map": "mAP", "minp": "mINP"})
#: Figures that stand in JSON and in the notes below a table.
MORE_FIGURES: Mapping[str, str] = MappingProxyType({"r20": "R@20", "p10": "precision@10", "median_rank": "median rank"})

#: Bounds of the tie rule are printed when they lie further apart than this, in percentage points.
_VISIBLE_TIES = 0.1


@dataclass(frozen=True, slots=True)
class Report:
    """Figures in percent, and where they come from.

    Attributes:
        name: what was evaluated, the label of its row.
        figures: keys of `FIGURES` and `MORE_FIGURES`, in percent but for the median rank; NaN where the protocol
            gives them no meaning.
        intervals: the same keys but the median rank, 95 % bootstrap interval by identity; NaN where fewer than two
            identities ask.
        tie_bounds: the same keys as `figures`, the figure if ties fell out as badly and as well as they can.
        curve: R@1, R@2, ..., the cumulative match characteristic, in percent.
        counts: queries, queries_without_hit (not in the figures), gallery, hits_per_query, identities,
            without_identity (gallery items of nobody known, counted as misses), junk.
        protocol: the rules.
        dataset: name of the data set.
        fingerprint: of the checkpoint, or None for what has no checkpoint (chance, a baseline).
        data_fingerprint: of the split that was judged.
        provenance: where the split comes from when it is not the data set's own; empty otherwise.
        seed: of the bootstrap and of drawn galleries.
        versions: of passerby, Python, numpy, and the engines that were loaded.
        scoring: how queries scored the gallery.
        transductive: whether the answer to one query could depend on the other queries.
        flip: whether each picture and its mirror were encoded and added.
        trained_on: what the model says it learned from, or None.
        warnings: why these figures may be better than they look.
    """

    name: str
    figures: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    tie_bounds: Mapping[str, tuple[float, float]]
    curve: tuple[float, ...]
    counts: Mapping[str, int | float]
    protocol: Protocol
    dataset: str
    fingerprint: str | None
    data_fingerprint: str
    provenance: str
    seed: int
    versions: Mapping[str, str]
    scoring: str = "dot product"
    transductive: bool = False
    flip: bool = False
    trained_on: str | None = None
    warnings: tuple[str, ...] = ()

    @property
    def r1(self) -> float:
        """R@1 in percent: the share of queries whose best answer is right."""
        return self.figures["r1"]

    @property
    def r5(self) -> float:
        """R@5 in percent."""
        return self.figures["r5"]

    @property
    def r10(self) -> float:
        """R@10 in percent."""
        return self.figures["r10"]

    @property
    def map(self) -> float:
        """Mean average precision in percent."""
        return self.figures["map"]

    @property
    def minp(self) -> float:
        """Mean inverse negative penalty in percent."""
        return self.figures["minp"]

    @property
    def ties_matter(self) -> bool:
        """Whether the order of equal scores could change a figure by more than 0.1 points."""
        return any(abs(high - low) > _VISIBLE_TIES for low, high in self.tie_bounds.values())

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON: the figures at the top level; what is not a number becomes None."""
        return {
            "name": self.name,
            **{key: _number(value) for key, value in self.figures.items()},
            "intervals": {key: [_number(bound) for bound in pair] for key, pair in self.intervals.items()},
            "tie_bounds": {key: [_number(bound) for bound in pair] for key, pair in self.tie_bounds.items()},
            "cmc": [_number(value) for value in self.curve],
            "counts": {key: _number(value) for key, value in self.counts.items()},
            "protocol": {**self.protocol.as_dict(), "text": self.protocol.describe()},
            "dataset": self.dataset,
            "fingerprint": self.fingerprint,
            "data_fingerprint": self.data_fingerprint,
            "provenance": self.provenance,
            "scoring": self.scoring,
            "transductive": self.transductive,
            "flip": self.flip,
            "trained_on": self.trained_on,
            "warnings": list(self.warnings),
            "seed": self.seed,
            "versions": dict(self.versions),
        }

    def to_json(self) -> str:
        """The report as indented JSON."""
        return json.dumps(self.as_dict(), indent=2, ensure_ascii=False, allow_nan=False)

    def notes(self) -> list[str]:
        """What a reader of the figures must know beside them: counts, the protocol, ties where they matter."""
        return [*(f"warning: {warning}" for warning in self.warnings), *self._count_notes(), *self._rule_notes()]

    def _count_notes(self) -> list[str]:
        counts, items = self.counts, "images" if self.protocol.gallery == "image" else "captions"
        lines = [
            f"{counts['queries']:,.0f} queries of {counts['identities']:,.0f} identities, {counts['gallery']:,.0f} "
            f"gallery {items}, {counts['hits_per_query']:.1f} hits per query"
        ]
        if counts["queries_without_hit"]:
            lines.append(
                f"{counts['queries_without_hit']:,.0f} queries have nothing to find and are not in the figures"
            )
        if counts["without_identity"] and self.protocol.relevance == "identity":
            lines.append(f"{counts['without_identity']:,.0f} gallery {items} of nobody known count as misses")
        if counts["junk"]:
            lines.append(f"{counts['junk']:,.0f} gallery {items} are junk and count as nothing")
        return lines

    def _rule_notes(self) -> list[str]:
        more = {heading: self.figures.get(key, math.nan) for key, heading in MORE_FIGURES.items()}
        told = " · ".join(f"{heading} {value:.1f}" for heading, value in more.items() if math.isfinite(value))
        lines = [self.protocol.describe(), *([told] if told else [])]
        if self.provenance:
            lines.append(f"the split {self.protocol.report_split}: {self.provenance}")
        if self.scoring != "dot product":
            others = "looks at the other queries (transductive)" if self.transductive else "each query by itself"
            lines.append(f"scores: {self.scoring}, {others}")
        if self.flip:
            lines.append("test-time flip: vectors of picture and mirror added")
        if self.ties_matter:
            low, high = self.tie_bounds["r1"]
            lines.append(f"many scores are equal: by the order of ties alone R@1 could be {low:.1f} to {high:.1f}")
        return lines


def _number(value: float) -> float | int | None:
    return value if math.isfinite(value) else None
