"""The page of the study of selection: methods, the supplement's tables and figures, and where the models look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from passerby.evaluation.grounding import MEASURES
from passerby.studies.bars import Bar, Strip, bar_chart
from passerby.studies.page import data_uri, render_page, write_page
from passerby.studies.selection_plan import COLUMNS


def write_selection_page(
    folder: Path, report: Mapping[str, Any], pictures: Mapping[str, bytes], attention: Sequence[tuple[str, bytes]]
) -> Path:
    """Write ``report.html`` into a folder, whole or not at all.

    Args:
        folder: where to.
        report: the content of ``report.json``.
        pictures: PNG bytes under the keys "lists", "others" and "curves".
        attention: sentences and the PNG bytes of their maps.

    Raises:
        MissingExtraError: Jinja2 is not installed.
        DataError: a picture is neither PNG nor JPEG.
    """
    count = report["seeds"]
    html = render_page(
        "selection.html",
        title=report["title"],
        data=report["data"],
        queries=f"{report['queries']:,}",
        gallery=f"{report['gallery']:,}",
        seeds=count,
        planned=report["plan"]["seeds"],
        interval="95 % interval over the seeds" if count > 1 else "95 % bootstrap interval by identity, one seed",
        chart=_chart(report["tables"][0]),
        claims=[_claim(row) for row in report["claims"]],
        columns=list(COLUMNS.values()),
        tables=[{**table, "rows": [_row(row) for row in table["rows"]]} for table in report["tables"]],
        branches=[_branches(row) for row in report["branches"]],
        measures=list(MEASURES.values()),
        grounding=_once([_grounding(row) for row in report["grounding"]]),
        classes=_classes(report["by_word_class"]),
        smaller=[_smaller(row) for row in report["smaller"]],
        lists=data_uri(pictures["lists"], "lists"),
        others=data_uri(pictures["others"], "others"),
        curves=data_uri(pictures["curves"], "curves"),
        attention=[{"sentence": sentence, "uri": data_uri(content, "attention")} for sentence, content in attention],
        settings=_settings(report["plan"]),
        machine=[(name, str(value)) for name, value in report["machine"].items()],
    )
    return write_page(folder, html)


def _chart(table: Mapping[str, Any]) -> str:
    bars = []
    for row in table["rows"]:
        found = row["figures"]["r1"]
        low, high = found["interval"]
        inside = None if low is None or high is None else (max(0.0, low), min(100.0, high))
        tone = "accent" if row["variant"] == "itself" else "plain"
        bars.append(Bar(row["label"], (Strip(found["mean"], f"{found['mean']:.1f} %", tone, inside),), row["what"]))
    return bar_chart(bars, maximum=100.0)


def _claim(row: Mapping[str, Any]) -> dict[str, Any]:
    cells = [(_signed(f"{row[key]['mean']:+.1f}"), _bounds(row[key]["interval"], "+.1f")) for key in ("r1", "map")]
    return {"above": row["above"], "below": row["below"], "cells": cells, "verdict": row["verdict"]}


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    cells = [(f"{row['figures'][key]['mean']:.1f}", _bounds(row["figures"][key]["interval"])) for key in COLUMNS]
    printed = " / ".join(f"{value:.2f}" for value in row["printed"].values())
    return {"label": row["label"], "what": row["what"], "cells": cells, "printed": printed or "–"}


def _branches(row: Mapping[str, Any]) -> dict[str, Any]:
    cells = [
        f"{row['figures'][part][key]:.1f}" if part in row["figures"] else "–"
        for part in ("mixed", "global", "local")
        for key in ("r1", "map")
    ]
    return {"name": row["variant"], "mix": f"{row['mix']:.2f}", "cells": cells}


def _grounding(row: Mapping[str, Any]) -> dict[str, Any]:
    measures = [
        (f"{one['mean']:.1f}", _bounds((one["low"], one["high"]))) for one in (row["measures"][key] for key in MEASURES)
    ]
    r1 = "–" if row["r1"] is None else f"{row['r1']:.1f}"
    return {"name": row["variant"], "mechanism": row["mechanism"], "r1": r1, "cells": measures}


def _classes(found: Mapping[str, Any]) -> dict[str, Any]:
    """Parts across, methods and mechanisms down, because there are fewer parts."""
    parts = [(row["part"], f"{row['phrases']:,} phrases") for row in found["rows"]]
    rows = [
        {
            "name": column["variant"],
            "mechanism": column["mechanism"],
            "cells": [f"{row['precision'][index]:.1f}" for row in found["rows"]],
        }
        for index, column in enumerate(found["columns"])
    ]
    return {"parts": parts, "rows": _once(rows)}


def _once(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with each model's name, and its R@1, in the first of its rows only."""
    found, last = [], None
    for row in rows:
        again = row["name"] == last
        last = row["name"]
        found.append({**row, **({"name": "", "r1": ""} if again else {})})
    return found


def _smaller(row: Mapping[str, Any]) -> dict[str, Any]:
    cells = [
        f"{row['floats']:,}",
        f"{row['bytes']:,}",
        f"{row['r1']:.1f}",
        f"{row['mean']:.4f}",
        f"{row['largest']:.4f}",
    ]
    return {"form": row["form"], "cells": cells}


def _settings(plan: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (name, " ".join([one["recipe"], *plan["changes"], *one["changes"], *_from(one)]))
        for name, one in plan["variants"].items()
    ]


def _from(variant: Mapping[str, Any]) -> list[str]:
    return [f"from {variant['start']}"] if variant["start"] else []


def _bounds(bounds: Sequence[float | None], form: str = ".1f") -> str:
    low, high = bounds
    if low is None or high is None:
        return ""
    return _signed(f"{low:{form}}\N{NO-BREAK SPACE}to {high:{form}}")  # on a narrow page two lines, not three


def _signed(number: str) -> str:
    """With the sign that is as wide as a plus."""
    return number.replace("-", "\N{MINUS SIGN}")
