"""Writes the attention study's page: one HTML file with every table and picture, self-contained like the demo's.

Honest figures and those of the paired-batch protocol stand in sections of their own; the latter carry their warning.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from passerby.evaluation.paired import PairedReport
from passerby.metrics.paired import duplicate_ceiling, duplicate_floor
from passerby.studies.attention_paired import PUBLISHED, ROWS_OF_PUBLISHED
from passerby.studies.attention_plan import MECHANISMS
from passerby.studies.attention_plots import length_lines, recall_bars
from passerby.studies.attention_plots import rerank_lines as rerank_plot
from passerby.studies.attention_table import cost_table, gain_lines, honest_table, paired_lines, rerank_lines
from passerby.studies.page import data_uri, render_page, write_page

_PUBLISHED_ROWS = 960
_FOUR_IN_A_ROW = 480  # pixels of a sheet that can be read at a quarter of the page


def write_attention_page(folder: Path, report: Mapping[str, Any], cells: Sequence[Mapping[str, Any]]) -> Path:
    """Write the plots as PNG and ``report.html`` into the study's folder.

    Args:
        folder: of the study; grids lie in ``cells/``.
        report: content of ``study.json``.
        cells: finished cells with ``backbone``, ``mechanism`` and ``seed``.

    Raises:
        MissingExtraError: Jinja2 or matplotlib is not installed.
    """
    ranked = [row for row in report["rows"] if "by_k" in row]
    plots = {
        "recall": recall_bars(report["rows"], f"{report['dataset']}, split test, honest protocol"),
        "lengths": length_lines(report["lengths"]),
        **({"rerank": rerank_plot(ranked)} if ranked else {}),
    }
    for name, picture in plots.items():
        (folder / f"{name}.png").write_bytes(picture)
    remarks = {
        one for cell in cells for pair in cell.get("paired", {}).values() for own in pair for one in own["diagnoses"]
    }
    html = render_page(
        "attention.html",
        report=report,
        honest=_table(honest_table(report["rows"])),
        costs=_table(cost_table(report["rows"])),
        reranked=_table(rerank_lines(report["rows"])) if ranked else None,
        gains=_table(gain_lines(report["rows"])) if ranked else None,
        paired=_table(paired_lines(cells)),
        warning=PairedReport.warning,
        published=[_published(title) for title in PUBLISHED],
        remarks=sorted(remarks),
        plots={name: data_uri(picture, name) for name, picture in plots.items()},
        grids=_grids(folder, cells),
        break_even=report["lengths"]["break_even"],
    )
    return write_page(folder, html)


def _table(table: tuple[list[str], list[list[str]]]) -> dict[str, Any]:
    """Cells as (figure, small print): an interval or a ceiling goes under its figure."""
    head, rows = table
    return {"head": head, "rows": [[_split(cell) for cell in row] for row in rows]}


def _split(cell: str) -> tuple[str, str]:
    figure, mark, rest = cell.partition(" (")
    return (figure, rest.removesuffix(")")) if mark and rest.endswith(")") else (cell, "")


def _published(title: str) -> dict[str, Any]:
    """A table of the reports with ceiling and floor beside its figures, where the batch lets them be known."""
    captions, batch = ROWS_OF_PUBLISHED[title]
    groups = [row // captions for row in range(_PUBLISHED_ROWS * captions)]
    ceilings = {k: duplicate_ceiling(groups, batch, k) for k in (1, 5, 10)}
    floor = duplicate_floor(groups, batch)
    head = ["image tower", "attention", "split", *(f"paired_recall@{k} (ceiling)" for k in ceilings), "loss (floor)"]
    rows = []
    for row in PUBLISHED[title]:
        recalls = [
            "–" if row[f"r{k}"] is None else f"{100 * row[f'r{k}']:.2f} ({100 * top:.2f})"
            for k, top in ceilings.items()
        ]
        rows.append([row["backbone"], row["mechanism"], row["split"], *recalls, f"{row['loss']:.2f} ({floor:.2f})"])
    return {"title": title, "batch": batch, **_table((head, rows))}


def _grids(folder: Path, cells: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each sentence what every mechanism of the first image tower found, of the first seed."""
    first = [cell for cell in cells if cell["seed"] == 0 and cell["backbone"] == cells[0]["backbone"]]
    first.sort(key=lambda cell: MECHANISMS.index(cell["mechanism"]))
    found = []
    for number, grid in enumerate(first[0]["grids"] if first else ()):
        with Image.open(_home(folder, first[0]) / grid["file"]) as sheet:
            wide = sheet.width > _FOUR_IN_A_ROW
        shown = [
            {
                "mechanism": "cross (re-ranked)" if cell["mechanism"] == "cross" else cell["mechanism"],
                "uri": data_uri(_jpeg(_home(folder, cell) / cell["grids"][number]["file"]), "a grid"),
            }
            for cell in first
        ]
        found.append({"query": grid["query"], "backbone": first[0]["backbone"], "shown": shown, "wide": wide})
    return found


def _home(folder: Path, cell: Mapping[str, Any]) -> Path:
    return folder / "cells" / f"{cell['backbone']}-{cell['mechanism']}-{cell['seed']}".lower()


def _jpeg(sheet: Path) -> bytes:
    stream = io.BytesIO()
    with Image.open(sheet) as picture:
        picture.convert("RGB").save(stream, "JPEG", quality=85)
    return stream.getvalue()
