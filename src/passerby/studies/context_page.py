"""The page of the study of pictures in context: its table, ablations and figures, each number with its protocol."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from passerby.evaluation import FIGURES
from passerby.studies.bars import Bar, Strip, bar_chart
from passerby.studies.context_plan import MODELS
from passerby.studies.page import data_uri, render_page, write_page

#: Row of the table -> its name and what it is.
_ROWS = {
    "alone": ("Stage 1", "the image encoder alone"),
    "k-reciprocal": ("Stage 1 + k-reciprocal", "re-ranking without learning, the honest rival"),
    "nformer": ("+ NFormer", "landmark attention over reciprocal neighbours"),
    "magformer-mid": ("+ MagFormer, no difference", "with learned magnitudes"),
    "magformer": ("+ MagFormer", "with magnitudes and differential attention"),
}
_FIELDS = {"k": "neighbours k", "landmark_count": "landmarks", "layers": "layers"}
#: Figure -> its title and what it shows.
_PLATES = {
    "losses": ("Learning", "Figure 2 of the report: the training loss, mean over the seeds; bands hold all of them."),
    "people": (
        "Some people",
        "Figure 4: t-SNE of the same people under three models, protocol B. Dots are gallery pictures, stars are "
        "queries, colours are people. First seed.",
    ),
    "scores": (
        "Attention without the difference",
        "Figure 5: scores of a row and its reciprocal neighbours in each layer of MagFormer without differential "
        "attention, over the gallery. Pictures outside a row's list have none. First seed.",
    ),
    "differences": (
        "Attention before and after the difference",
        "Figure 6: the same for MagFormer. The difference of two maps may be negative, a softmax may not. First seed.",
    ),
}


def write_context_page(folder: Path, report: Mapping[str, Any], pictures: Mapping[str, bytes]) -> Path:
    """Write ``report.html`` into a folder, whole or not at all.

    Args:
        folder: where to.
        report: the content of ``report.json``.
        pictures: PNG bytes under the keys "losses", "people", "scores" and "differences".

    Returns:
        The path of the page.

    Raises:
        MissingExtraError: Jinja2 is not installed.
        DataError: a picture is neither PNG nor JPEG.
    """
    return write_page(folder, render_context_page(report, pictures))


def render_context_page(report: Mapping[str, Any], pictures: Mapping[str, bytes]) -> str:
    """Return the page of `write_context_page` as text.

    Raises: as `write_context_page`.
    """
    seeds = report["plan"]["seeds"]
    return render_page(
        "context.html",
        title=report["title"],
        data=report["data"],
        seeds=seeds,
        interval="95 % interval over the seeds" if seeds > 1 else "95 % bootstrap interval by identity, one seed",
        rules=report["rules"],
        protocols=report["protocols"],
        counts=[(name, f"{value:,}") for name, value in report["counts"].items()],
        chart=_chart(report),
        verdict=_verdict(report),
        columns=list(FIGURES.values()),
        table=[_row(row) for row in report["table"]],
        lifts=[_lift(row) for row in report["lifts"]],
        ablations=_ablations(report),
        plates=[
            {"title": title, "what": what, "uri": data_uri(pictures[key], key)}
            for key, (title, what) in _PLATES.items()
            if key in pictures
        ],
        settings=_settings(report),
        machine=_machine(report),
    )


def _chart(report: Mapping[str, Any]) -> str:
    bars = []
    for row in report["table"]:
        mean, (low, high) = row["map"]["mean"], row["map"]["interval"]
        inside = None if low is None else (max(0.0, low), min(100.0, high))
        tone = "accent" if row["protocol"] == "B" else "plain" if row["protocol"] == "-" else "faint"
        name, _ = _ROWS[row["model"]]
        words = "alone" if row["protocol"] == "-" else f"protocol {row['protocol']}"
        bars.append(Bar(name, (Strip(mean, f"{mean:.1f} %", tone, inside),), words))
    return bar_chart(bars, maximum=100.0)


def _verdict(report: Mapping[str, Any]) -> str:
    """What became of the claim that context helps, in one sentence, whichever way it went."""
    lift = next(row for row in report["lifts"] if row["model"] == "magformer" and row["protocol"] == "B")["map"]
    mean, low, high, count = lift
    way = "raises" if mean > 0 else "lowers"
    sure = ""
    if low is not None:
        sure = f" (95 % interval over {count} seeds: {low:+.1f} to {high:+.1f})"
        sure += "" if low > 0 or high < 0 else ", which is not told from nothing"
    best = max((row for row in report["table"] if row["protocol"] == "B"), key=lambda row: row["map"]["mean"])
    return (
        f"Under protocol B MagFormer {way} mAP by {abs(mean):.1f} points over stage 1{sure}. The best of protocol B is "
        f"{_ROWS[best['model']][0]} with {best['map']['mean']:.1f}."
    )


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    name, what = _ROWS[row["model"]]
    cells = [{"mean": f"{row[key]['mean']:.1f}", "interval": _interval(row[key]["interval"])} for key in FIGURES]
    return {"name": name, "what": what, "protocol": row["protocol"], "cells": cells, "first": row["protocol"] == "B"}


def _lift(row: Mapping[str, Any]) -> dict[str, Any]:
    cells = [{"mean": f"{row[key][0]:+.1f}", "interval": _interval(row[key][1:3], "+.1f")} for key in ("r1", "map")]
    return {"name": _ROWS[row["model"]][0], "protocol": row["protocol"], "cells": cells}


def _interval(bounds: Any, form: str = ".1f") -> str:
    low, high = bounds
    return "" if low is None or high is None else f"{low:{form}} to {high:{form}}"


def _ablations(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "field": _FIELDS.get(row["field"], row["field"]),
            "value": row["value"],
            "usual": row["usual"],
            "cells": [
                f"{found[key]:.1f}"
                for letter in ("A", "B")
                for found in row["rows"]
                if found["protocol"] == letter
                for key in ("r1", "map")
            ],
            "seconds": f"{row['seconds']:.0f}",
        }
        for row in report["ablations"]
    ]


def _settings(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    plan = report["plan"]
    words = {
        "recipe of stage 1": " ".join([plan["recipe"], *plan["changes"]]),
        "context encoders": _pairs(plan["model"]),
        "their training": _pairs(plan["training"]),
        "views of a training picture": plan["views"],
        "k-reciprocal re-ranking": plan["rerank"],
        "models": ", ".join(MODELS),
    }
    return [(name, str(value)) for name, value in words.items()]


def _machine(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    machine, total = report["machine"], report["seconds"]["total"]
    return [
        ("processor", str(machine["cpu"])),
        ("cores", str(machine["cores"])),
        ("time by the clock, last call", f"{total['wall']:,.0f} s"),
        ("processor time, last call", f"{total['cpu']:,.0f} s"),
        ("passerby", str(report["passerby"])),
    ]


def _pairs(mapping: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in mapping.items())
