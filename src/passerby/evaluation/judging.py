"""From tie groups to a report: every figure with its interval, its bounds and its counts.

Several groups are several draws of the gallery; each query's values are then means over the draws.

Axes: Q queries.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

import passerby
from passerby.evaluation.data_fingerprint import data_fingerprint
from passerby.evaluation.domains import domain_warnings
from passerby.evaluation.report import FIGURES, MORE_FIGURES, Report
from passerby.evaluation.task import Task
from passerby.metrics import (
    TieGroups,
    Ties,
    average_precision,
    cmc_curve,
    first_rank,
    hits_at,
    identity_bootstrap,
    inverse_negative_penalty,
    mean_over_queries,
    median_over_queries,
    precision_at,
)

Values: TypeAlias = "NDArray[np.float64]"

#: Points of the CMC curve.
_CURVE = 50
#: Engines whose version may decide a figure, told when they are loaded.
_ENGINES = ("torch", "timm", "transformers", "onnxruntime", "openvino")


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a report says about its origin; the attributes are those of `Report`."""

    name: str
    dataset: str = ""
    fingerprint: str | None = None
    seed: int = 0
    trained_on: str | None = None
    scoring: str = "dot product"
    transductive: bool = False
    flip: bool = False


def judge(groups: Sequence[TieGroups], task: Task, stamp: Stamp) -> Report:
    """Compute every figure of a ranking.

    Args:
        groups: at least one; several are draws of the gallery.
        task: what was ranked.
        stamp: what the report says about its origin.
    """
    ties = task.protocol.ties
    values = _values(groups, task, ties)
    worst, best = _values(groups, task, "pessimistic"), _values(groups, task, "optimistic")
    hits = groups[0].positives
    median = {
        rule: median_over_queries(np.mean([first_rank(draw, rule) for draw in groups], axis=0))
        for rule in dict.fromkeys((ties, "pessimistic", "optimistic"))
    }
    means = [{key: mean_over_queries(value) for key, value in side.items()} for side in (values, worst, best)]
    keys = [*FIGURES, *MORE_FIGURES]
    found, low, high = (
        {**side, "median_rank": median[rule]}
        for side, rule in zip(means, (ties, "pessimistic", "optimistic"), strict=True)
    )
    curves = [cmc_curve(draw, min(_CURVE, len(task.columns)), ties) for draw in groups]
    return Report(
        name=stamp.name,
        figures={key: found[key] for key in keys},
        intervals=_intervals(values, task, stamp.seed),
        tie_bounds={key: (low[key], high[key]) for key in keys},
        curve=tuple((100 * np.mean(curves, axis=0)).tolist()),
        counts=_counts(hits, task),
        protocol=task.protocol,
        dataset=stamp.dataset,
        fingerprint=stamp.fingerprint,
        data_fingerprint=data_fingerprint(task.split),
        provenance=task.split.provenance,
        seed=stamp.seed,
        versions=_versions(),
        scoring=stamp.scoring,
        transductive=stamp.transductive,
        flip=stamp.flip,
        trained_on=stamp.trained_on,
        warnings=tuple(domain_warnings(stamp.trained_on, stamp.dataset)),
    )


def _values(groups: Sequence[TieGroups], task: Task, ties: Ties) -> dict[str, Values]:
    """(Q,) per figure, in percent; NaN where one picture a person leaves a figure without meaning."""

    def of(draw: TieGroups) -> dict[str, Values]:
        nothing = np.full(draw.queries, np.nan)
        single = task.protocol.shots == "single"
        return {
            **{f"r{k}": hits_at(draw, k, ties) for k in (1, 5, 10, 20)},
            "map": nothing if single else average_precision(draw, ties, task.protocol.precision),
            "minp": nothing if single else inverse_negative_penalty(draw, ties),
            "p10": nothing if single else precision_at(draw, 10, ties),
        }

    drawn = [of(draw) for draw in groups]
    return {key: 100 * np.mean([values[key] for values in drawn], axis=0) for key in drawn[0]}


def _intervals(values: dict[str, Values], task: Task, seed: int) -> dict[str, tuple[float, float]]:
    told = {key: value for key, value in values.items() if not np.isnan(value).all()}
    bounds = identity_bootstrap(np.stack(list(told.values()), axis=1), task.people, seed=seed)
    found = {key: (float(low), float(high)) for key, (low, high) in zip(told, bounds, strict=True)}
    return {key: found.get(key, (float("nan"), float("nan"))) for key in (*FIGURES, *MORE_FIGURES) if key in values}


def _counts(hits: NDArray[np.int64], task: Task) -> dict[str, int | float]:
    ignored = task.relevance.ignored
    return {
        "queries": len(task.rows),
        "queries_without_hit": int((hits == 0).sum()),
        "identities": len(np.unique(task.people)),
        "gallery": len(task.columns),
        "hits_per_query": float(hits[hits > 0].mean()),
        "without_identity": int(((task.gallery_people < 0) & ~ignored).sum()),
        "junk": int(ignored.sum()),
    }


def _versions() -> dict[str, str]:
    ours = {"passerby": passerby.__version__, "python": platform.python_version(), "numpy": np.__version__}
    return ours | {name: metadata.version(name) for name in _ENGINES if name in sys.modules}
