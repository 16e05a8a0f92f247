"""The result of an evaluation, with everything that one needs to know to believe it.

A `Report` holds percentages with their intervals and counts, the protocol, the checkpoint's fingerprint, the seed
and the versions. It prints itself as JSON, as a row of a table on the terminal, and as a row of Markdown.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from passerby.evaluation.protocol import Protocol

if TYPE_CHECKING:
    from rich.table import Table

#: Key in JSON -> heading in tables.
FIGURES: Mapping[str, str] = {"r1": "R@1", "r5": "R@5", "r10": "R@10", "map": "mAP", "minp": "mINP"}

#: Bounds of the tie rule are printed when they lie further apart than this, in percentage points.
_VISIBLE_TIES = 0.1


@dataclass(frozen=True, slots=True)
class Report:
    """Figures in percent, and where they come from.

    Attributes:
        name: what was evaluated, the label of its row.
        figures: `r1 r5 r10 map minp`, in percent.
        intervals: the same keys, 95 % bootstrap interval by identity; NaN where fewer than two identities ask.
        tie_bounds: the same keys, the figure if ties fell out as badly and as well as they can.
        counts: queries, queries_without_hit (not in the figures), gallery, hits_per_query, identities,
            without_identity (gallery pictures of nobody known, counted as misses), junk.
        protocol: the rules.
        dataset: name of the data set.
        fingerprint: of the checkpoint, or None for what has no checkpoint (chance, a baseline).
        seed: of the bootstrap.
        versions: of passerby, Python and numpy.
    """

    name: str
    figures: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    tie_bounds: Mapping[str, tuple[float, float]]
    counts: Mapping[str, int | float]
    protocol: Protocol
    dataset: str
    fingerprint: str | None
    seed: int
    versions: Mapping[str, str]

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
        return any(high - low > _VISIBLE_TIES for low, high in self.tie_bounds.values())

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON: the figures at the top level; what is not a number becomes None."""
        return {
            "name": self.name,
            **{key: _number(value) for key, value in self.figures.items()},
            "intervals": {key: [_number(bound) for bound in pair] for key, pair in self.intervals.items()},
            "tie_bounds": {key: [_number(bound) for bound in pair] for key, pair in self.tie_bounds.items()},
            "counts": {key: _number(value) for key, value in self.counts.items()},
            "protocol": {**self.protocol.as_dict(), "text": self.protocol.describe()},
            "dataset": self.dataset,
            "fingerprint": self.fingerprint,
            "seed": self.seed,
            "versions": dict(self.versions),
        }

    def to_json(self) -> str:
        """The report as indented JSON."""
        return json.dumps(self.as_dict(), indent=2, ensure_ascii=False, allow_nan=False)

    def notes(self) -> list[str]:
        """What a reader of the figures must know beside them: counts, the protocol, ties where they matter."""
        counts = self.counts
        lines = [
            f"{counts['queries']:,} queries of {counts['identities']:,} identities, {counts['gallery']:,} gallery "
            f"images, {counts['hits_per_query']:.1f} hits per query",
            self.protocol.describe(),
        ]
        if counts["queries_without_hit"]:
            lines.append(f"{counts['queries_without_hit']:,} queries have nothing to find and are not in the figures")
        if counts["without_identity"]:
            lines.append(f"{counts['without_identity']:,} gallery images of nobody known count as misses")
        if counts["junk"]:
            lines.append(f"{counts['junk']:,} gallery images are junk and count as nothing")
        if self.ties_matter:
            low, high = self.tie_bounds["r1"]
            lines.append(f"many scores are equal: by the order of ties alone R@1 could be {low:.1f} to {high:.1f}")
        return lines


def rich_table(reports: Sequence[Report], title: str | None = None) -> Table:
    """Reports as rows of a table for the terminal, with the interval under each figure."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=SIMPLE_HEAD)
    table.add_column("", overflow="fold")
    for heading in FIGURES.values():
        table.add_column(heading, justify="right", no_wrap=True)
    for report in reports:
        cells = [
            Text.assemble((_percent(report.figures[key]), "bold"), (f"\n{_interval(report.intervals[key])}", "dim"))
            for key in FIGURES
        ]
        table.add_row(Text(report.name), *cells)
    return table


def markdown_table(reports: Sequence[Report]) -> str:
    """Reports as a Markdown table, one row each, the interval behind each figure."""
    lines = [f"| | {' | '.join(FIGURES.values())} |", f"|---|{'---:|' * len(FIGURES)}"]
    for report in reports:
        intervals = {key: _interval(pair) for key, pair in report.intervals.items()}
        cells = (_percent(report.figures[key]) + (intervals[key] and f" ({intervals[key]})") for key in FIGURES)
        name = report.name.replace("|", "\\|").replace("\n", " ")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _number(value: float) -> float | int | None:
    return value if math.isfinite(value) else None


def _percent(value: float) -> str:
    return f"{value:.1f}" if math.isfinite(value) else "-"


def _interval(bounds: tuple[float, float]) -> str:
    """Empty where there is no interval, or none that the figure beside it does not already say."""
    low, high = (_percent(bound) for bound in bounds)
    return f"{low}–{high}" if low != high else ""
