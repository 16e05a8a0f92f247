"""Tables of what the studies found on the street, out of the reports that they wrote into docs/results/.

Used by tables.py, which knows where in the pages each belongs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"
_MODELS = {
    "alone": "stage 1",
    "k-reciprocal": "k-reciprocal re-ranking",
    "nformer": "NFormer",
    "magformer-mid": "MagFormer, no difference",
    "magformer": "MagFormer",
}


def found_by(study: str) -> dict[str, Any] | None:
    """The report of a study; None before it was run."""
    path = _RESULTS / f"study-{study}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def context_study() -> str:
    """Stage 1 and what was made of it, under protocols A and B."""
    found = found_by("context-street")
    if found is None:
        return "*Not recorded yet.*"
    added = {(row["model"], row["protocol"]): row for row in found["lifts"]}
    lines = ["| model | protocol | R@1 | mAP | mINP | mAP added, 95 % interval |", "|---|---|---:|---:|---:|---:|"]
    for row in found["table"]:
        key = row["model"], row["protocol"]
        low_high = "–" if key not in added else "{:+.1f} ({:+.1f} to {:+.1f})".format(*added[key]["map"][:3])
        cells = " | ".join(f"{row[figure]['mean']:.1f}" for figure in ("r1", "map", "minp"))
        lines.append(f"| {_MODELS[row['model']]} | {row['protocol']} | {cells} | {low_high} |")
    counts, seeds = found["counts"], found["plan"]["seeds"]
    about = (
        f"Per cent; mean of {seeds} seeds, intervals over the seeds. {counts['queries']} pictures ask in a gallery of "
        f"{counts['gallery pictures']}, of {counts['test people']} people on {counts['cameras']} cameras who are not "
        f"among the {counts['training people']} of the training set."
    )
    parts = ["| one setting changed, first seed | R@1 (B) | mAP (B) |", "|---|---:|---:|"]
    for row in found["ablations"]:
        under_b = next(one for one in row["rows"] if one["protocol"] == "B")
        usual = ", the usual" if row["usual"] else ""
        parts.append(f"| `{row['field']}` {row['value']}{usual} | {under_b['r1']:.1f} | {under_b['map']:.1f} |")
    return "\n".join([*lines, "", about, "", *parts])


def attention_study() -> str:
    """Two image towers with each kind of attention; what re-ranking adds, and what it costs."""
    found = found_by("attention-street")
    if found is None:
        return "*Not recorded yet.*"
    rows = found["rows"]
    lines = [
        "| image tower | attention | R@1 | mAP | query, ms | training, processor s |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        second = row["mechanism"] == "cross"
        figures = " | ".join(_interval(row["figures"][key]) for key in ("r1", "map"))
        name = f"cross, K {found['kept']}" if second else row["mechanism"]
        trained = f"{'+' if second else ''}{row['cpu_s']:.0f}"
        lines.append(f"| {row['backbone']} | {name} | {figures} | {row['latency']['p50_ms']:.1f} | {trained} |")
    ranked = [row for row in rows if "by_k" in row]
    lines += ["", "| re-ranking adds | R@1 | R@10 | mAP | weight |", "|---|---:|---:|---:|---|"]
    for row in ranked:
        gains = " | ".join(_interval(row["gain"][key], "+") for key in ("r1", "r10", "map"))
        lines.append(f"| {row['backbone']} | {gains} | {', '.join(f'{weight:g}' for weight in row['weights'])} |")
    return "\n".join([*lines, "", *_by_k(ranked), "", _about(found)])


def _by_k(ranked: list[dict[str, Any]]) -> list[str]:
    ks = [one["k"] for one in ranked[0]["by_k"]] if ranked else []
    lines = [f"| query, ms | gallery | {' | '.join(f'K {k}' for k in ks)} |", f"|---|---|{'---:|' * len(ks)}"]
    for row in ranked:
        for name, key in (("once", "p50_ms"), ("four times", "p50_ms_of_four_galleries")):
            lines.append(f"| {row['backbone']} | {name} | {' | '.join(f'{one[key]:.1f}' for one in row['by_k'])} |")
    return lines


def _about(found: dict[str, Any]) -> str:
    counts, machine, seeds = found["counts"], found["machine"], found["seeds"]
    by = f"mean of {seeds} seeds, Student's intervals over the seeds" if seeds > 1 else "bootstrap intervals"
    return (
        f"Per cent; {by}, those of a gain over the differences within each seed. {counts['queries']} sentences ask in "
        f"a gallery of {counts['gallery']:,} pictures. Times of a query are medians with token maps cached; what "
        f"cross costs in training comes on top of none. "
        f"Machine: {machine['cores']} cores, {machine['threads']} threads, load {machine['load']}."
    )


def _interval(figure: list[float], sign: str = "-") -> str:
    value, low, high = (format(round(part, 1) + 0.0, f"{sign}.1f") for part in figure)  # no minus before a zero
    return value if low == high else f"{value} ({low} to {high})"
