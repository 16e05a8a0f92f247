"""Reports as rows: on the terminal, in Markdown and in LaTeX, with the interval beside each figure.

A row alone means nothing, so each table can be followed by `Report.notes`, and the LaTeX rows carry the protocol as a
comment.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from passerby.evaluation.report import FIGURES, Report

if TYPE_CHECKING:
    from rich.table import Table

_LATEX = str.maketrans(
    {
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "\\": r"\textbackslash{}",
    }
)


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


def latex_rows(reports: Sequence[Report]) -> str:
    """Reports as rows of a LaTeX `tabular` with one column for the name and one for each of `FIGURES`.

    The headings come first, and each row is followed by a comment with its protocol and fingerprints.
    """
    lines = [" & ".join(["", *FIGURES.values()]) + r" \\", r"\midrule"]
    for report in reports:
        cells = [report.name.replace("\n", " ").translate(_LATEX), *(_percent(report.figures[key]) for key in FIGURES)]
        lines.append(" & ".join(cells) + r" \\")
        marks = f"model {(report.fingerprint or 'none')[:12]}, data {report.data_fingerprint[:12]}"
        lines.append(
            f"% {report.dataset}: {report.protocol.describe()} · {report.scoring} · {marks}".replace("\n", " ")
        )
    return "\n".join(lines)


def _percent(value: float) -> str:
    return f"{value:.1f}" if math.isfinite(value) else "-"


def _interval(bounds: tuple[float, float]) -> str:
    """Empty where there is no interval, or none that the figure beside it does not already say."""
    low, high = (_percent(bound) for bound in bounds)
    return f"{low}–{high}" if low != high else ""
