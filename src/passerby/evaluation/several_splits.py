"""One report out of several: the mean over the draws of a test split, such as the twenty of classic CUHK03.

Figures are means of the splits' figures, every split counting the same. The splits share pictures, so no interval is
given; what is told instead is how far apart they lie.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from passerby.errors import ConfigError
from passerby.evaluation.report import Report


def mean_report(reports: Sequence[Report]) -> Report:
    """The mean of reports that differ in nothing but their split.

    Args:
        reports: at least one, of one model under one protocol; a single one is returned as it is.

    Raises:
        ConfigError: there is none, or they differ in more than the split.
    """
    if not reports:
        raise ConfigError("no reports to take the mean of; expected at least one")
    first = reports[0]
    if len(reports) == 1:
        return first
    rules = {(report.name, report.fingerprint, replace(report.protocol, report_split="")) for report in reports}
    if len(rules) > 1:
        raise ConfigError(f"reports of {len(rules)} models or protocols; the mean is taken over splits alone")
    names = [report.protocol.report_split for report in reports]
    r1 = [report.r1 for report in reports]
    length = min(len(report.curve) for report in reports)
    digest = hashlib.sha256("".join(report.data_fingerprint for report in reports).encode())
    return replace(
        first,
        figures={key: float(np.mean([report.figures[key] for report in reports])) for key in first.figures},
        intervals=dict.fromkeys(first.intervals, (float("nan"), float("nan"))),
        tie_bounds={key: _mean_pair([report.tie_bounds[key] for report in reports]) for key in first.tie_bounds},
        curve=tuple(np.mean([report.curve[:length] for report in reports], axis=0).tolist()),
        counts={key: float(np.mean([report.counts[key] for report in reports])) for key in first.counts},
        protocol=replace(first.protocol, report_split=f"{names[0]} to {names[-1]}"),
        data_fingerprint=digest.hexdigest(),
        provenance=f"mean of {len(reports)} splits, R@1 of each from {min(r1):.1f} to {max(r1):.1f}; counts are means",
    )


def _mean_pair(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    low, high = np.mean(pairs, axis=0)
    return float(low), float(high)
