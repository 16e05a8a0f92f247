"""Writes the demo's report: one HTML file that opens anywhere, for ever, and asks nobody for anything.

Pictures are data URIs, charts are inline SVG, there is no script, and a content security policy in the page forbids
everything else. Captions, queries and camera names are strangers' words: the template escapes all of them. What the
report does not hold is left out, section by section.
"""

from __future__ import annotations

import base64
import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

from passerby.errors import DataError, MissingExtraError
from passerby.studies.bars import Bar, Strip, bar_chart

_SIGNATURES = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png"}
_FIGURES = (("r1", "R@1"), ("r5", "R@5"), ("r10", "R@10"), ("map", "mAP"), ("minp", "mINP"))
_STAGES = ("street", "train", "evaluate", "gallery", "search")
#: Key of the report -> the row's name and what it is, in the order in which the rows are shown.
_CONTENDERS = {
    "model": ("passerby", "a sentence finds a person"),
    "ceiling": ("ceiling", "an all-knowing reader of the same words"),
    "colour_baseline": ("colour baseline", "colour words and colour histograms, no learning"),
    "chance": ("chance", "a random order"),
    "image_to_image": ("picture to picture", "the same model, asked with a picture"),
}
_COUNTS = ("train_identities", "train_images", "test_identities", "gallery_images", "queries")
_SHEETS = {
    "good": ("Good", "Queries that the model answers as well as can be."),
    "median": ("Median", "Queries from the middle of the list: what to expect."),
    "bad": ("Bad", "The queries that went worst."),
}


def write_report(folder: Path, report: Mapping[str, Any], pictures: Mapping[str, Any]) -> Path:
    """Write ``report.html`` into a folder, whole or not at all.

    Args:
        folder: where to write; made when missing.
        report: the content of ``report.json``; percentages are in [0, 100], times in seconds unless named ``_ms``.
        pictures: PNG or JPEG bytes under ``curves``, ``street``, ``masks``, ``good``, ``median`` and ``bad``, and
            ``answers``: a list of ``{"query": str, "hits": [{"jpeg", "score", "hit", "camera"}, ...]}``.
            Every one may be missing.

    Returns:
        The path of the page.

    Raises:
        MissingExtraError: Jinja2 is not installed.
        DataError: a picture is neither PNG nor JPEG.
    """
    return write_page(folder, render_report(report, pictures))


def write_page(folder: Path, html: str) -> Path:
    """Write a rendered page as ``report.html`` into a folder, whole or not at all; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path, partial = folder / "report.html", folder / f".report.html.{os.getpid()}"
    try:
        # A file name of unknown encoding arrives as lone surrogates, which UTF-8 cannot write.
        partial.write_bytes(html.encode("utf-8", "xmlcharrefreplace"))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def render_report(report: Mapping[str, Any], pictures: Mapping[str, Any]) -> str:
    """Return the page of `write_report` as text.

    Raises: as `write_report`.
    """
    return render_page(
        "demo.html",
        title=str(report.get("title") or "passerby demo"),
        headline=_headline(report),
        answers=_answers(pictures.get("answers") or ()),
        search=_search_facts(report),
        curves=_uri("curves", pictures),
        training=_training_facts(report),
        table=_table(report),
        columns=[name for _, name in _FIGURES],
        protocol=_pairs(report.get("protocol")),
        sheets=[
            {"name": name, "what": what, "uri": _uri(key, pictures)}
            for key, (name, what) in _SHEETS.items()
            if pictures.get(key)
        ],
        street=[
            {"name": name, "uri": _uri(key, pictures)}
            for key, name in (("street", "The street"), ("masks", "What belongs to what, pixel by pixel"))
            if pictures.get(key)
        ],
        counts=_counts(report),
        times=_time_chart(report),
        total=_total(report),
        machine=_machine_facts(report),
        versions=_pairs(report.get("versions")),
        steps=report.get("next") or (),
    )


def render_page(template: str, **values: Any) -> str:
    """Fill a template beside this file; it also gets the ``style`` of all pages and the ``policy`` that allows it.

    Args:
        template: the file's name.
        values: what the template shows; texts are escaped.

    Raises:
        MissingExtraError: Jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError as error:
        raise MissingExtraError("jinja2", "viz", "writing the report") from error
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("passerby.studies"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = "".join(environment.loader.get_source(environment, name)[0] for name in ("page.css", "bars.css"))  # type: ignore[union-attr]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return environment.get_template(template).render(
        style=style,
        policy=f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
        **values,
    )


# -- sections ---------------------------------------------------------------------------------------------------


def _headline(report: Mapping[str, Any]) -> dict[str, str] | None:
    """The one figure of the page, and the same figure of everything it is compared with, as bars."""
    figures = report.get("model") or {}
    if not _is_number(figures.get("r1")):
        return None
    bars = []
    for key in ("model", "ceiling", "colour_baseline", "chance"):
        row = report.get(key) or {}
        if _is_number(row.get("r1")):
            name, what = _CONTENDERS[key]
            tone = "accent" if key == "model" else "plain"
            interval = _interval(row) if key == "model" else None
            bars.append(Bar(name, (Strip(row["r1"], f"{_number(row['r1'])} %", tone, interval),), what))
    return {
        "figure": _number(figures["r1"]),
        "interval": _interval_text(figures),
        "chart": bar_chart(bars, maximum=100.0),
    }


def _answers(answers: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for number, answer in enumerate(answers, start=1):
        hits = [
            {
                "uri": data_uri(hit["jpeg"], f"answer {number}, hit {rank}"),
                "rank": rank,
                "score": _number(hit.get("score"), 2),
                "verdict": {True: "right", False: "wrong"}.get(hit.get("hit")),  # type: ignore[arg-type]
                "camera": str(hit.get("camera") or ""),
            }
            for rank, hit in enumerate(answer["hits"], start=1)
        ]
        rows.append({"query": answer["query"], "hits": hits})
    return rows


def _table(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for key, (name, what) in _CONTENDERS.items():
        figures = report.get(key) or {}
        if any(_is_number(figures.get(column)) for column, _ in _FIGURES):
            cells = [_number(figures.get(column)) for column, _ in _FIGURES]
            rows.append({"name": name, "what": what, "cells": cells, "interval": _interval_text(figures), "key": key})
    return rows


def _time_chart(report: Mapping[str, Any]) -> str:
    """Wall and CPU seconds of each stage, in the order of the street through passerby."""
    seconds = report.get("seconds") or {}
    stages = [*_STAGES, *(name for name in seconds if name not in (*_STAGES, "total"))]
    bars = []
    for stage in stages:
        spent = seconds.get(stage) or {}
        strips = tuple(
            Strip(spent[key], f"{_duration(spent[key])} {name}", tone)
            for key, name, tone in (("wall", "wall", "accent"), ("cpu", "CPU", "faint"))
            if _is_number(spent.get(key))
        )
        if strips:
            bars.append(Bar(stage, strips))
    return bar_chart(bars) if bars else ""


def _total(report: Mapping[str, Any]) -> str:
    total = (report.get("seconds") or {}).get("total") or {}
    parts = [
        f"{_duration(total[key])} {name}"
        for key, name in (("wall", "by the clock"), ("cpu", "of CPU time"))
        if _is_number(total.get(key))
    ]
    return ", ".join(parts)


def _counts(report: Mapping[str, Any]) -> dict[str, str]:
    counts = report.get("counts") or {}
    return {key: _number(counts.get(key), 0) if counts.get(key) else "" for key in _COUNTS}


def _training_facts(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    training = report.get("training") or {}
    facts = [
        ("speed", _with_unit(training.get("images_per_s"), "images/s")),
        ("length", _with_unit(training.get("steps"), "steps")),
        ("model", _with_unit(training.get("parameters"), "parameters")),
        ("precision", training.get("precision")),
        ("device", training.get("device")),
    ]
    return _present(facts)


def _search_facts(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    search = report.get("search") or {}
    facts = [
        ("first search", _with_unit(search.get("first_ms"), "ms", 1)),
        ("the next ones, median", _with_unit(search.get("median_ms"), "ms", 1)),
    ]
    return _present(facts)


def _machine_facts(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    machine = report.get("machine") or {}
    facts = [
        ("processor", machine.get("cpu")),
        ("cores", _with_unit(machine.get("cores"), "cores")),
        ("device", machine.get("device")),
        ("passerby", report.get("passerby")),
        ("size", report.get("size")),
        ("seed", report.get("seed")),
    ]
    return _present(facts)


# -- words and pictures -----------------------------------------------------------------------------------------


def _present(facts: Sequence[tuple[str, object]]) -> list[tuple[str, str]]:
    return [(name, str(value)) for name, value in facts if value is not None and value != ""]


def _pairs(mapping: Mapping[str, object] | None) -> list[tuple[str, str]]:
    return _present([(key.replace("_", " "), value) for key, value in (mapping or {}).items()])


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _number(value: Any, digits: int = 1) -> str:
    return f"{value:,.{digits}f}" if _is_number(value) else "–"


def _with_unit(value: Any, unit: str, digits: int = 0) -> str | None:
    return f"{_number(value, digits)} {unit}" if _is_number(value) else None


def _duration(seconds: float) -> str:
    """Seconds as people say them: 8.3 s, 74 s, 3 min 20 s."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole} s" if whole < 120 else f"{whole // 60} min {whole % 60:02d} s"


def _interval(figures: Mapping[str, Any]) -> tuple[float, float] | None:
    low, high = figures.get("r1_low"), figures.get("r1_high")
    return (float(low), float(high)) if _is_number(low) and _is_number(high) else None  # type: ignore[arg-type]


def _interval_text(figures: Mapping[str, Any]) -> str:
    interval = _interval(figures)
    return f"{interval[0]:.1f} to {interval[1]:.1f}" if interval else ""


def _uri(key: str, pictures: Mapping[str, Any]) -> str:
    return data_uri(pictures[key], key) if pictures.get(key) else ""


def data_uri(content: bytes, name: str) -> str:
    """A picture as it stands in a page.

    Args:
        content: bytes of a PNG or JPEG.
        name: what it is called in the error.

    Raises:
        DataError: they are neither.
    """
    for signature, kind in _SIGNATURES.items():
        if bytes(content[: len(signature)]) == signature:
            return f"data:{kind};base64,{base64.b64encode(content).decode()}"
    raise DataError(f"the picture {name!r} starts with {bytes(content[:8])!r}; a report takes PNG or JPEG bytes")
