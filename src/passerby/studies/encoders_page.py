"""The page of the study of encoders: Tables II, III and IV, Figures 2, 4, 5 and 6, and which encoder to take."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from passerby.studies.encoders_cells import POSITIONS
from passerby.studies.encoders_figures import costs
from passerby.studies.encoders_plan import PUBLISHED
from passerby.studies.page import data_uri, render_page, write_page

#: Cost of `encoders_figures.costs` -> its words, its unit, and the budgets that the page recommends for.
BUDGETS: Mapping[str, tuple[str, str, tuple[float, ...]]] = {
    "multiply_adds": ("multiply-adds of a picture", "million", (10, 30, 100, 300, 1000, 5000)),
    "latency": ("latency of a picture, batch 1", "ms", (5, 10, 20, 50, 100)),
    "parameters": ("parameters of the picture tower", "million", (2, 5, 10, 25)),
}
_PLATES = {
    "parameters": ("Accuracy and parameters", "Figure 4 of the report; parameters of the picture tower with its head."),
    "latency": ("Accuracy and latency", "Figure 5: milliseconds of one picture on one thread of PyTorch."),
    "multiply_adds": (
        "Accuracy and multiply-adds",
        "Figure 6, per gallery picture; the report adds a text tower to it.",
    ),
}


def write_encoders_page(folder: Path, report: Mapping[str, Any], pictures: Mapping[str, bytes]) -> Path:
    """Write ``report.html`` into a folder, whole or not at all.

    Args:
        folder: where to.
        report: the content of ``report.json``.
        pictures: PNG bytes under the keys of `costs`, and "answers".

    Raises:
        MissingExtraError: Jinja2 is not installed.
        DataError: a picture is neither PNG nor JPEG.
    """
    cells = report["cells"]
    best = max(cells, key=lambda cell: cell["figures"]["r1"])
    html = render_page(
        "encoders.html",
        title=report["title"],
        data=report["data"],
        recipe=" ".join([report["plan"]["recipe"], *report["plan"]["changes"]]),
        queries=f"{cells[0]['queries']:,}",
        gallery=f"{cells[0]['gallery']:,}",
        chance=f"{math.log(report['batch_size']):.2f}",
        batch=report["batch_size"],
        table2=[_second(cell) for cell in cells],
        printed=[_printed(name) for name in report["plan"]["encoders"] if name in PUBLISHED],
        table3=[_third(cell) for cell in cells],
        table4=[_fourth(cell) for cell in cells],
        positions=POSITIONS,
        budgets=report["recommendations"],
        plates=[
            {"title": title, "what": what, "uri": data_uri(pictures[key], key)}
            for key, (title, what) in _PLATES.items()
        ],
        answers={"encoder": best["encoder"], "uri": data_uri(pictures["answers"], "answers")},
        machine=[(name, str(value)) for name, value in report["machine"].items()],
        counter=cells[0]["profile"]["counter"],
    )
    return write_page(folder, html)


def recommendations(cells: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """For each budget the encoder to take: the cheapest that is not told from the best within it.

    Args:
        cells: from `encoder_cell`.
    """
    rows = []
    for cost, (words, unit, limits) in BUDGETS.items():
        before = None
        for limit in limits:
            inside = [cell for cell in cells if costs(cell)[cost] <= limit]
            if not inside or len(inside) == before:
                continue
            before = len(inside)
            best = max(inside, key=lambda cell: cell["figures"]["r1"])
            low = best["intervals"]["r1"][0]
            floor = best["figures"]["r1"] if low is None else low
            take = min((cell for cell in inside if cell["figures"]["r1"] >= floor), key=lambda cell: costs(cell)[cost])
            why = "the best" if take is best else f"cheaper, inside the interval of {best['encoder']}"
            rows.append(
                {
                    "budget": f"{words}: {limit:,} {unit}",
                    "take": take["encoder"],
                    "r1": f"{take['figures']['r1']:.1f}",
                    "cost": f"{costs(take)[cost]:,.1f} {unit}",
                    "why": why if len(inside) > 1 else "the only one",
                }
            )
    return rows


def _second(cell: Mapping[str, Any]) -> dict[str, Any]:
    profile = cell["profile"]
    height, width = profile["image_size"]
    figures = [
        (f"{cell['figures']['map']:.1f}", _bounds(cell, "map")),
        (f"{profile['image_parameters'] / 1e6:.2f}", ""),
        (f"{profile['text_parameters'] / 1e6:.2f}", ""),
        (f"{profile['image_multiply_adds'] / 1e6:,.1f}", ""),
        (f"{profile['text_multiply_adds'] / 1e6:,.1f}", f"{profile['tokens']} tokens"),
        *[
            (f"{profile[key]['p50_ms']:.1f}", f"p95 {profile[key]['p95_ms']:.1f}")
            for key in ("image_batch1", "image_batch32", "text_batch1")
        ],
        *[(f"{1e3 * cell['search_s'][count]:.1f}", "") for count in ("1", "5")],
    ]
    return {"name": cell["encoder"], "what": f"{cell['timm']} {height}x{width}", "cells": figures}


def _printed(name: str) -> dict[str, Any]:
    row = PUBLISHED[name]
    sums = [f"{value:.3f}" for value in (row.parameters_m, row.flops_g)]
    return {"name": name, "cells": sums + [f"{value:.4f}" for value in (row.one_query_s, row.five_queries_s, row.map)]}


def _third(cell: Mapping[str, Any]) -> dict[str, str]:
    printed = PUBLISHED.get(cell["encoder"])
    loss = "–" if cell["loss"] is None else f"{cell['loss']:.2f}"
    return {"name": cell["encoder"], "loss": loss, "printed": f"{printed.loss:.2f}" if printed else "–"}


def _fourth(cell: Mapping[str, Any]) -> dict[str, Any]:
    printed = PUBLISHED.get(cell["encoder"])
    return {
        "name": cell["encoder"],
        "ranks": [(f"{cell['figures'][key]:.1f}", _bounds(cell, key)) for key in ("r1", "r5", "r10", "map")],
        "exactly": [f"{cell['exactly'][str(at)]:.2f}" if str(at) in cell["exactly"] else "–" for at in POSITIONS],
        "printed": f"{printed.rank1:.2f} / {printed.rank5:.2f} / {printed.rank10:.2f}" if printed else "–",
    }


def _bounds(cell: Mapping[str, Any], key: str) -> str:
    low, high = cell["intervals"][key]
    return "" if low is None or high is None else f"{low:.1f} to {high:.1f}"
