"""The study of selection: ITSELF, what it is built on and its rivals; the supplement's tables and figures.

Each variant with each seed is a cell that is not run again once it is finished, and seeds are finished one after the
other: whenever one is, the report and the page show all that there is. Everything shown is in ``report.json``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import passerby
from passerby.data.readers import open_dataset
from passerby.data.records import Dataset
from passerby.errors import ConfigError
from passerby.models.runtimes.choice import cpu_name, usable_cores
from passerby.studies.selection_cells import selection_cell
from passerby.studies.selection_figures import curves_figure, draw_attention, draw_lists
from passerby.studies.selection_page import write_selection_page
from passerby.studies.selection_plan import METHODS, SelectionPlan, plan_of
from passerby.studies.selection_table import Cells, branches, by_word_class, claims, grounding, tables
from passerby.studies.selection_vectors import over_seeds_of

#: Called with (cells done, cells in all, what is being done).
Announce = Callable[[int, int, str], None]

_PLAN, _REPORT = "plan.json", "report.json"
#: Methods of the supplement's Figures 1 to 3, of its Figure 4, and of its Figure 5.
_LISTS, _OTHERS, _MAPS = ("tal-cid", "rde", "itself"), ("clip-ft", "irra-sdm-id", "itself"), ("rde", "itself")


@dataclass(frozen=True, slots=True)
class SelectionStudy:
    """Where a study's results lie, and the report as plain values."""

    folder: Path
    page: Path
    report: Mapping[str, Any]


def run_selection(
    folder: Path,
    data: str = "",
    preset: str = "published",
    seeds: int | None = None,
    announce: Announce | None = None,
) -> SelectionStudy:
    """Run the study, or what is left of it, in a folder.

    Args:
        folder: everything is made in it; a study of another plan in it is refused.
        data: NAME:ROOT; empty for a preset that draws its own street.
        preset: a key of `selection_plan.PRESETS`.
        seeds: how often everything is repeated; the preset's number unless given. A finished study may be given more.
        announce: called while it works.

    Raises:
        ConfigError: no such preset, it needs data, or the folder holds another study.
        DataError: the data cannot be read or lack a split.
        CheckpointError: a pretrained model cannot be had.
        MissingExtraError: what draws the figures or writes the page is not installed.
    """
    plan = plan_of(preset, data)
    if seeds is not None:
        if seeds < 1:
            raise ConfigError(f"{seeds} seeds; expected one or more")
        plan = replace(plan, seeds=seeds)
    tell = announce or (lambda *_: None)
    _claim(folder, plan, data)
    total = plan.seeds * len(plan.variants)
    dataset = open_dataset(data or _street(plan, folder, lambda words: tell(0, total, words)))
    dataset.split("test")
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in plan.variants}
    for seed in range(plan.seeds):
        for done, name in enumerate(plan.variants, start=seed * len(plan.variants)):

            def at(what: str, part: int, parts: int, done: int = done, who: str = f"{name}, seed {seed}") -> None:
                tell(done, total, f"{who}, {what}, {part} of {parts}")

            found[name].append(selection_cell(plan, name, seed, dataset, place_of(folder, name, seed), at))
        if seed + 1 < plan.seeds:
            _written(folder, plan, preset, dataset, found)
    return _written(folder, plan, preset, dataset, found)


def place_of(folder: Path, name: str, seed: int) -> Path:
    """Where the cell of a variant and a seed lies."""
    return folder / "cells" / f"{name}-{seed}"


def _written(folder: Path, plan: SelectionPlan, preset: str, dataset: Dataset, cells: Cells) -> SelectionStudy:
    """Report and page of the seeds that are finished."""
    from passerby.training.state import write_text

    first, every = cells[METHODS[-1]][0], [cell for found in cells.values() for cell in found]
    report = {
        "title": "What selects the parts",
        "data": dataset.name,
        "preset": preset,
        "plan": plan.to_dict(),
        "seeds": len(cells[METHODS[-1]]),
        "queries": first["queries"],
        "gallery": first["gallery"],
        "tables": tables(plan, cells),
        "claims": claims(cells),
        "branches": branches(cells),
        "grounding": grounding(cells),
        "by_word_class": by_word_class(cells),
        "smaller": over_seeds_of(cells[METHODS[-1]]),
        "cells": every,
        "machine": {
            "processor": cpu_name(),
            "cores": usable_cores(),
            "load when it ended": round(os.getloadavg()[0], 1),
            "processor seconds of all cells": round(sum(sum(cell["seconds"].values()) for cell in every)),
            "passerby": passerby.__version__,
        },
    }
    write_text(folder / _REPORT, json.dumps(report, indent=2) + "\n")
    test = dataset.split("test")
    places = {name: place_of(folder, name, 0) for name in METHODS}
    drawn = {
        "lists": draw_lists({name: places[name] for name in _LISTS}, test, "Baseline, RDE and ITSELF"),
        "others": draw_lists({name: places[name] for name in _OTHERS}, test, "Other methods", seed=1),
        "curves": curves_figure({name: cells[name] for name in METHODS}),
    }
    attention = draw_attention({name: places[name] for name in _MAPS}, test)
    figures = folder / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    for name, content in [*drawn.items(), *((f"attention-{at}", one[1]) for at, one in enumerate(attention, start=1))]:
        (figures / f"{name}.png").write_bytes(content)
    return SelectionStudy(folder, write_selection_page(folder, report, drawn, attention), report)


def _street(plan: SelectionPlan, folder: Path, tell: Callable[[str], None]) -> str:
    """Draw the plan's street, which a finished one in the folder is not again; returns its address."""
    from passerby.data.world.street import Street
    from passerby.data.world.writing import write

    root = folder / "street"
    write(
        Street(**(plan.street or {})), root, progress=lambda done, all_: tell(f"drawing the street, {done} of {all_}")
    )
    return f"rstpreid:{root}"


def _claim(folder: Path, plan: SelectionPlan, data: str) -> None:
    """Write down what this folder is a study of, or refuse when it is another; more seeds are no other study."""
    from passerby.training.state import write_text

    asked = {"data": data, "plan": plan.to_dict()}
    path = folder / _PLAN
    if path.is_file():
        held = json.loads(path.read_text(encoding="utf-8"))
        held["plan"]["seeds"] = plan.seeds
        if held != json.loads(json.dumps(asked)):
            raise ConfigError(
                f"{folder} holds a study of other data or with other numbers (see {path}); choose another folder with "
                "--out, or remove it"
            )
    folder.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(asked, indent=2) + "\n")
