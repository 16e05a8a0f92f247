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
