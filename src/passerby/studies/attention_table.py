"""The attention study's cells as rows: means over seeds with their intervals, and Markdown of them.

With one seed the interval of a figure is the bootstrap's over people or queries; with several it is Student's over the
seeds, which says more about training and less about the people that were asked for.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from passerby.studies.attention_plan import MECHANISMS
from passerby.studies.seeds import over_seeds

#: Key of a row -> heading.
RETRIEVAL: Mapping[str, str] = {"r1": "R@1", "r5": "R@5", "r10": "R@10", "map": "mAP"}


def rows_of(cells: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row for each backbone and mechanism that has a finished cell, in the order of the reports.

    Args:
        cells: each ``backbone``, ``mechanism``, ``seed`` and what `attention_cell.run_cell` returned.
    """
    backbones = list(dict.fromkeys(cell["backbone"] for cell in cells))
    rows = []
    for backbone in backbones:
        for mechanism in MECHANISMS:
            same = [cell for cell in cells if (cell["backbone"], cell["mechanism"]) == (backbone, mechanism)]
            if same:
                rows.append(_row(backbone, mechanism, same))
    return rows


def _row(backbone: str, mechanism: str, cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    shown, learned = ("reranked", "matching") if mechanism == "cross" else ("first", "contrastive")
    row: dict[str, Any] = {
        "backbone": backbone,
        "mechanism": mechanism,
        "seeds": len(cells),
        "figures": _figures(cells, shown),
        "train_loss": _mean(cells, lambda cell: cell["training"]["train_loss"][learned]),
        "loss": {split: _mean(cells, lambda cell, at=split: cell["loss"][at]) for split in cells[0]["loss"]},
        "latency": _latency(cells, "reranked_latency" if mechanism == "cross" else "latency"),
        "peak_bytes": max(cell["training"]["peak_bytes"] for cell in cells),
        "model_bytes": cells[0]["model_bytes"],
        "parameters": cells[0]["parameters"],
        "epoch_s": _mean(cells, lambda cell: cell["training"]["epoch_s"]),
        "epoch_cpu_s": _mean(cells, lambda cell: cell["training"]["epoch_cpu_s"]),
        "seconds": _mean(cells, lambda cell: cell["training"]["seconds"]),
        "cpu_s": _mean(cells, lambda cell: cell["training"]["epoch_cpu_s"] * cell["training"]["epochs"]),
    }
    if mechanism == "cross":
        row["first_stage"] = _figures(cells, "first")
        row["alone"] = _figures(cells, "alone")
        row["first_stage_latency"] = _latency(cells, "latency")
        row["weights"] = [cell["weight"] for cell in cells]
        row["gain"] = {
            key: _interval([cell["reranked"][key] - cell["first"][key] for cell in cells]) for key in RETRIEVAL
        }
        row["by_k"] = [_by_k([cell["by_k"][at] for cell in cells]) for at in range(len(cells[0]["by_k"]))]
    return row


def _figures(cells: Sequence[Mapping[str, Any]], which: str) -> dict[str, tuple[float, float, float]]:
    if len(cells) == 1:
        figures = cells[0][which]
        return {key: (figures[key], *figures["intervals"][key]) for key in RETRIEVAL}
    return {key: _interval([cell[which][key] for cell in cells]) for key in RETRIEVAL}


def _interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean and the ends of its interval; a single value is its own interval."""
    found = over_seeds(values)
    if found.low is None or found.high is None:
        return found.mean, found.mean, found.mean
    return found.mean, found.low, found.high


def _by_k(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    means = {key: statistics.fmean(row[key] for row in rows) for key in (*RETRIEVAL, "ceiling")}
    costs = {key: statistics.median(row[key] for row in rows) for key in ("p50_ms", "p95_ms", "cpu_ms")}
    larger = statistics.median(row["four_galleries"]["p50_ms"] for row in rows)
    return {"k": rows[0]["k"], "used": rows[0]["used"], **means, **costs, "p50_ms_of_four_galleries": larger}


def _latency(cells: Sequence[Mapping[str, Any]], which: str) -> dict[str, float]:
    return {key: statistics.median(cell[which][key] for cell in cells) for key in ("p50_ms", "p95_ms", "cpu_ms")}


def _mean(cells: Sequence[Mapping[str, Any]], take: Any) -> float:
    return statistics.fmean(take(cell) for cell in cells)


def honest_table(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table of figures and losses, as text.

    Args:
        rows: from `rows_of`.
    """
    splits = list(rows[0]["loss"]) if rows else []
    head = ["image tower", "attention", *RETRIEVAL.values(), "train loss", *(f"{split} loss" for split in splits)]
    return head, [[*_named(row), *_figures_of(row, splits)] for row in rows]


def cost_table(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table of what queries and training cost, as text.

    Args:
        rows: from `rows_of`.
    """
    head = ["image tower", "attention", "query p50, ms", "query p95, ms", "model, MB", "peak memory, MB"]
    head += ["epoch, s (processor)", "training, s (processor)"]
    return head, [[*_named(row), *_costs_of(row)] for row in rows]


def _named(row: Mapping[str, Any]) -> list[str]:
    return [row["backbone"], "cross, re-ranked" if row["mechanism"] == "cross" else row["mechanism"]]


def _figures_of(row: Mapping[str, Any], splits: Sequence[str]) -> list[str]:
    second = row["mechanism"] == "cross"  # its towers are those of "none", and so are their losses
    return [
        *(with_interval(row["figures"][key]) for key in RETRIEVAL),
        f"{row['train_loss']:.2f}" + (" (matching)" if second else ""),
        *("–" if second else f"{row['loss'][split]:.2f}" for split in splits),
    ]


def _costs_of(row: Mapping[str, Any]) -> list[str]:
    sign = "+" if row["mechanism"] == "cross" else ""  # on top of what "none" cost
    return [
        *(f"{row['latency'][key]:.1f}" for key in ("p50_ms", "p95_ms")),
        f"{row['model_bytes'] / 1e6:,.1f}",
        f"{row['peak_bytes'] / 1e6:,.0f}",
        f"{row['epoch_s']:,.1f} ({row['epoch_cpu_s']:,.1f})",
        f"{sign}{row['seconds']:,.0f} ({sign}{row['cpu_s']:,.0f})",
    ]


def with_interval(figure: tuple[float, float, float], signed: bool = False) -> str:
    """A figure with its interval: ``57.2 (54.0 to 60.1)``, a difference with its signs: ``+2.1 (-0.3 to +4.5)``."""
    shown = (round(part, 1) + 0.0 for part in figure)  # no minus before a zero
    value, low, high = (f"{part:+.1f}" if signed else f"{part:.1f}" for part in shown)
    return value if figure[1] == figure[2] else f"{value} ({low} to {high})"


def gain_lines(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of what the second stage adds to the first one's figures, as text.

    The interval of a gain is that of the differences within each seed, so it is no difference of intervals.

    Args:
        rows: from `rows_of`.
    """
    head = ["image tower", "figure", "first stage", "re-ranked", "gain", "weight of the second stage"]
    lines = []
    for row in rows:
        for key, gain in row.get("gain", {}).items():
            figures = [with_interval(row[which][key]) for which in ("first_stage", "figures")]
            weights = ", ".join(f"{weight:g}" for weight in row["weights"])
            lines.append([row["backbone"], RETRIEVAL[key], *figures, with_interval(gain, signed=True), weights])
    return head, lines


def rerank_lines(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of what re-ranking brings and costs for each K, as text.

    Args:
        rows: from `rows_of`.
    """
    head = ["image tower", "K", "R@1", "R@10", "mAP", "ceiling of R@1", "p50, ms", "p95, ms", "p50, ms, gallery x 4"]
    lines = []
    for row in rows:
        for one in row.get("by_k", ()):
            asked = f"{one['k']}" if one["used"] == one["k"] else f"{one['k']} (the gallery holds {one['used']})"
            figures = [f"{one[key]:.1f}" for key in ("r1", "r10", "map", "ceiling", "p50_ms", "p95_ms")]
            lines.append([row["backbone"], asked, *figures, f"{one['p50_ms_of_four_galleries']:.1f}"])
    return head, lines


def paired_lines(cells: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of our paired-batch figures, each with ceiling and floor, as text; the first seed's.

    Args:
        cells: as for `rows_of`.
    """
    ks = (1, 5, 10)
    head = ["image tower", "attention", "split", "rows", *(f"paired_recall@{k} (ceiling, chance)" for k in ks)]
    head += ["loss (floor)"]
    lines = []
    for cell in cells:
        if cell["seed"]:
            continue
        for split, (own, copy) in cell.get("paired", {}).items():
            shown = [(cell["mechanism"], own)]
            if cell["mechanism"] == "none":
                shown.append((copy["name"], copy))
            lines += [[cell["backbone"], name, split, *_paired(one, ks)] for name, one in shown]
    return head, lines


def _paired(one: Mapping[str, Any], ks: Sequence[int]) -> list[str]:
    keys = [f"paired_recall@{k}" for k in ks]
    loss = "–" if one["loss"] is None else f"{one['loss']:.2f}"
    recalls = [f"{one[key]:.2f} ({one['ceilings'][key]:.2f}, {one['chance'][key]:.2f})" for key in keys]
    return [f"{one['batch']}", *recalls, f"{loss} ({one['loss_floor']:.2f})"]


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]], words: int) -> str:
    """A Markdown table whose first `words` columns stand left and all others right."""
    marks = "|".join("---" if number < words else "---:" for number in range(len(head)))
    return "\n".join([f"| {' | '.join(head)} |", f"|{marks}|", *(f"| {' | '.join(row)} |" for row in rows)])
