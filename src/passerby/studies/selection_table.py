"""From finished cells to the tables of the study of selection: means over seeds with intervals, and differences.

Differences are taken seed by seed, because two models of one seed share their order of batches; their interval says
whether the difference is told from nothing. Pure functions of plain values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from passerby.evaluation.grounding import CHANCE, MEASURES
from passerby.studies.seeds import over_seeds
from passerby.studies.selection_plan import COLUMNS, METHODS, SelectionPlan

#: Claims of the paper: what is said to be above what.
CLAIMS = (
    ("itself", "tal-cid"),
    ("tal-cid", "clip-ft"),
    ("itself", "itself-none"),
    ("itself", "itself-epoch"),
    *(("itself-none", f"itself-{letter}") for letter in "ABCD"),
    ("itself-second", "tal-cid-second"),
)

BRANCHES = ("global", "local")

#: Variant -> one cell for each seed.
Cells = Mapping[str, Sequence[Mapping[str, Any]]]


def tables(plan: SelectionPlan, cells: Cells) -> list[dict[str, Any]]:
    """The plan's tables with the figures that were found: mean, interval and every seed's value."""
    return [
        {
            "title": table.title,
            "what": table.what,
            "rows": [
                {
                    "label": row.label,
                    "what": row.what,
                    "variant": row.variant,
                    "figures": figures(cells[row.variant]),
                    "printed": dict(zip(COLUMNS, row.printed, strict=False)),
                }
                for row in table.rows
            ],
        }
        for table in plan.tables
    ]


def figures(cells: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Figure -> mean over seeds, interval (over the seeds, or by identity where there is one seed), and all values."""
    found = {}
    for key in COLUMNS:
        values = [cell["figures"][key] for cell in cells]
        summary = over_seeds(values)
        bounds = [summary.low, summary.high] if summary.seeds > 1 else cells[0]["intervals"][key]
        found[key] = {"mean": summary.mean, "interval": bounds, "seeds": values}
    return found


def branches(cells: Cells) -> list[dict[str, Any]]:
    """R@1 and mAP of each branch beside the mixture, for the methods that have two.

    A seed whose validation split left a branch out of the mixture has no figures of that branch.
    """
    rows = []
    for name, found in cells.items():
        if found[0]["mix"] is None:
            continue
        parts = {"mixed": [cell["figures"] for cell in found]}
        for branch in BRANCHES:
            known = [cell["branches"][branch] for cell in found if branch in cell["branches"]]
            parts |= {branch: known} if known else {}
        rows.append(
            {
                "variant": name,
                "mix": over_seeds([cell["mix"] for cell in found]).mean,
                "figures": {
                    part: {key: over_seeds([one[key] for one in values]).mean for key in ("r1", "map")}
                    for part, values in parts.items()
                },
            }
        )
    return rows


def claims(cells: Cells) -> list[dict[str, Any]]:
    """What became of each of `CLAIMS`: the difference in R@1 and mAP, seed by seed, and whether it is told from 0."""
    rows = []
    for above, below in CLAIMS:
        if above not in cells or below not in cells:
            continue
        row: dict[str, Any] = {"above": above, "below": below}
        for key in ("r1", "map"):
            pairs = zip(cells[above], cells[below], strict=True)
            summary = over_seeds([one["figures"][key] - other["figures"][key] for one, other in pairs])
            row[key] = {"mean": summary.mean, "interval": [summary.low, summary.high]}
        row["verdict"] = _verdict(row["r1"])
        rows.append(row)
    return rows


def grounding(cells: Cells) -> list[dict[str, Any]]:
    """For each method and mechanism the measures of grounding beside R@1, mean over the seeds; chance comes last."""
    rows = []
    for name in (method for method in METHODS if method in cells):
        reports = [cell["grounding"] for cell in cells[name]]
        if any(report is None for report in reports):
            return []
        r1 = over_seeds([cell["figures"]["r1"] for cell in cells[name]]).mean
        for mechanism in reports[0]["figures"]:
            if mechanism == CHANCE and name != METHODS[-1]:
                continue
            rows.append(
                {
                    "variant": "" if mechanism == CHANCE else name,
                    "mechanism": mechanism,
                    "r1": None if mechanism == CHANCE else r1,
                    "measures": {
                        key: over_seeds([report["figures"][mechanism][key] for report in reports])._asdict()
                        for key in MEASURES
                    },
                }
            )
    return rows


def by_word_class(cells: Cells) -> dict[str, Any]:
    """Selection precision by what the words are about: part -> (method, mechanism) -> per cent, mean over the seeds."""
    columns, parts = [], {}
    for row in grounding(cells):
        name, mechanism = row["variant"] or METHODS[-1], row["mechanism"]
        found = [cell["grounding"]["by_class"][mechanism] for cell in cells[name]]
        columns.append({"variant": row["variant"], "mechanism": mechanism})
        for part in found[0]:
            mean = over_seeds([one[part]["precision"] for one in found]).mean
            parts.setdefault(part, []).append(mean)
    phrases = cells[METHODS[-1]][0]["grounding"]["phrases"] if columns else {}
    rows = [{"part": part, "phrases": phrases[part], "precision": values} for part, values in parts.items()]
    return {"columns": columns, "rows": rows}


def _verdict(difference: Mapping[str, Any]) -> str:
    low, high = difference["interval"]
    if low is None:
        return "one seed, not told"
    return "holds" if low > 0 else "the other way round" if high < 0 else "not told from nothing"
