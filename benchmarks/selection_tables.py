"""Tables of what the study of selection found on the street, and its report made small enough to be kept.

Used by tables.py, which knows where in the pages each belongs. To record a finished study:
python benchmarks/selection_tables.py STUDY_FOLDER, which writes docs/results/study-selection-street.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from study_tables import found_by

_RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"
_NAME = "selection-street"
#: Mechanisms of grounding that the page shows for each method; all stand in the report.
_SHOWN = ("gradient", "patch", "mars, no sentence", "last, no sentence")
#: Of a cell: what the tables are made of is in the report already, in means.
_KEPT = ("variant", "seed", "figures", "branches", "mix", "curve", "seconds")


def smaller(report: dict[str, Any]) -> dict[str, Any]:
    """The report without what no table needs: of each cell the figures and the curve."""
    cells = [{key: cell[key] for key in _KEPT} for cell in report["cells"]]
    return {**report, "cells": cells}


def selection_study() -> str:
    """Methods and the supplement's three tables, with intervals over the seeds, and what became of the claims."""
    found = found_by(_NAME)
    if found is None:
        return "*Not recorded yet.*"
    lines = []
    for table in found["tables"]:
        lines += [f"| {table['title']} | R@1 | R@5 | R@10 | mAP |", "|---|---:|---:|---:|---:|"]
        for row in table["rows"]:
            figures = row["figures"]
            ends = [_interval(figures[key]["mean"], figures[key]["interval"]) for key in ("r1", "map")]
            middle = [f"{figures[key]['mean']:.1f}" for key in ("r5", "r10")]
            lines.append(f"| {row['label']}: {row['what']} | {ends[0]} | {' | '.join(middle)} | {ends[1]} |")
        lines.append("")
    lines += ["| said to be above | R@1, points | mAP, points | R@1 |", "|---|---:|---:|---|"]
    for row in found["claims"]:
        points = " | ".join(_interval(row[key]["mean"], row[key]["interval"], "+") for key in ("r1", "map"))
        lines.append(f"| `{row['above']}` above `{row['below']}` | {points} | {row['verdict']} |")
    machine = found["machine"]
    about = (
        f"Per cent; mean of {found['seeds']} seeds, Student's 95 % intervals over them, those of differences seed by "
        f"seed. {found['queries']:,} sentences ask {found['gallery']:,} pictures. "
        f"{machine['processor seconds of all cells'] / 60:.0f} minutes of processor time; {machine['processor']}, "
        f"{machine['cores']} cores."
    )
    return "\n".join([*lines, "", about])


def selection_curves() -> str:
    """R@1 on the validation split after each epoch, mean over the seeds."""
    found = found_by(_NAME)
    if found is None:
        return "*Not recorded yet.*"
    curves: dict[str, list[list[float]]] = {}
    for cell in found["cells"]:
        curves.setdefault(cell["variant"], []).append([point["r1"] for point in cell["curve"]])
    epochs = max(len(curve) for curve in next(iter(curves.values())))
    lines = [
        f"| R@1 on validation after epoch | {' | '.join(str(epoch + 1) for epoch in range(epochs))} |",
        f"|---|{'---:|' * epochs}",
    ]
    for name, seeds in curves.items():
        means = [sum(values) / len(values) for values in zip(*seeds, strict=True)]
        cells = [f"{value:.1f}" for value in means] + [""] * (epochs - len(means))
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def selection_grounding() -> str:
    """Where each method looks, beside R@1, and by what the words are about."""
    found = found_by(_NAME)
    if found is None:
        return "*Not recorded yet.*"
    lines = [
        "| method | mechanism | R@1 | pointing | mass inside | precision of the best two in five |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for row in found["grounding"]:
        if row["variant"] and row["mechanism"] not in _SHOWN:
            continue
        r1 = "–" if row["r1"] is None else f"{row['r1']:.1f}"
        cells = [
            _interval(one["mean"], (one["low"], one["high"]))
            for one in (row["measures"][key] for key in ("pointing", "mass", "precision"))
        ]
        lines.append(f"| {row['variant']} | {row['mechanism']} | {r1} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *_by_class(found["by_word_class"])])


def itself_step() -> str:
    """A training step beside the official one's, stage by stage."""
    path = _RESULTS.parents[1] / "benchmarks" / "results" / "itself.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    if "official" not in found:
        return "*Not recorded yet.*"
    names = {"official": "official code", "passerby": "passerby"}
    stages = list(found["passerby"]["stages_cpu_s"])
    lines = [
        f"| processor s | {' | '.join(stages)} | step | wall s | memory, MB |",
        f"|---|{'---:|' * (len(stages) + 3)}",
    ]
    for key, name in names.items():
        row = found[key]
        cells = [f"{row['stages_cpu_s'][stage]:.3f}" for stage in stages]
        lines.append(
            f"| {name} | {' | '.join(cells)} | {row['cpu_s']:.2f} | {row['wall_s']:.2f} | {row['memory_mb']:,.0f} |"
        )
    times, machine = found["times_as_fast"], found["machine"]
    height, width = found["size"]
    about = (
        f"{found['pairs']} pairs at {height}x{width}, both towers {found['layers']} layers of {found['width']} "
        f"channels, local vectors of {found['local']:,}; {found['precision']} on both sides, {found['threads']} "
        f"threads, steps in turn. {times['cpu']:.2f} times as fast in processor time, {times['wall']:.2f} times in "
        f"wall time. Machine: {machine['cpu']}, {machine['cores']} cores; load {machine['load_at_start']} when it was "
        "measured."
    )
    return "\n".join([*lines, "", about])


def _by_class(found: dict[str, Any]) -> Iterator[str]:
    parts = [f"{row['part']} ({row['phrases']})" for row in found["rows"]]
    yield f"| precision of the best two in five, by part (phrases) | {' | '.join(parts)} |"
    yield f"|---|{'---:|' * len(parts)}"
    for index, column in enumerate(found["columns"]):
        if column["variant"] not in ("", "itself"):
            continue
        name = f"{column['variant']}, {column['mechanism']}" if column["variant"] else column["mechanism"]
        cells = [f"{row['precision'][index]:.1f}" for row in found["rows"]]
        yield f"| {name} | {' | '.join(cells)} |"


def _interval(mean: float, bounds: Sequence[float | None], sign: str = "-") -> str:
    low, high = bounds
    inside = "" if low is None or high is None else f" ({low:{sign}.1f} to {high:{sign}.1f})"
    return f"{mean:{sign}.1f}{inside}"


def main() -> None:
    """Keep a study's report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of a finished study")
    report = json.loads((parser.parse_args().folder / "report.json").read_text(encoding="utf-8"))
    path = _RESULTS / f"study-{_NAME}.json"
    path.write_text(json.dumps(smaller(report), indent=2) + "\n", encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
