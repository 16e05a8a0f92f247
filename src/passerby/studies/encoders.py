"""The study of small encoders: nine picture towers against one frozen text tower, accuracy beside cost.

The tables and figures of "Investigate Small Vision Encoders in Multimodal Transformers", with the encoders that it
leaves out. Each encoder is a cell that is not run again once it is finished. Everything shown is in ``report.json``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import passerby
from passerby.data.readers import open_dataset
from passerby.errors import ConfigError
from passerby.models.runtimes.choice import cpu_name, usable_cores
from passerby.studies.encoders_cells import encoder_cell
from passerby.studies.encoders_figures import cost_figure
from passerby.studies.encoders_page import BUDGETS, recommendations, write_encoders_page
from passerby.studies.encoders_plan import EncodersPlan, plan_of
from passerby.studies.stages import Stages

#: Called with (encoders done, encoders in all, what is being done).
Announce = Callable[[int, int, str], None]

_PLAN, _REPORT = "plan.json", "report.json"


@dataclass(frozen=True, slots=True)
class EncodersStudy:
    """Where a study's results lie, and the report as plain values."""

    folder: Path
    page: Path
    report: Mapping[str, Any]


def run_encoders(folder: Path, data: str = "", preset: str = "ours", announce: Announce | None = None) -> EncodersStudy:
    """Run the study, or what is left of it, in a folder.

    Args:
        folder: everything is made in it; a study of another plan in it is refused.
        data: NAME:ROOT; empty for a preset that draws its own street.
        preset: a key of `encoders_plan.PRESETS`.
        announce: called while it works.

    Raises:
        ConfigError: no such preset, it needs data, or the folder holds another study.
        DataError: the data cannot be read or lack a split.
        MissingExtraError: what draws the figures or writes the page is not installed.
    """
    from passerby.training.recipe import load_recipe
    from passerby.training.state import write_text

    plan, tell, stages = plan_of(preset, data), announce or (lambda *_: None), Stages()
    _claim(folder, plan, data)
    total = len(plan.encoders)
    with stages.stage("data"):
        dataset = open_dataset(data or _street(plan, folder, lambda words: tell(0, total, words)))
        dataset.split("test")
    cells = []
    for done, name in enumerate(plan.encoders):

        def at(what: str, part: int, parts: int, done: int = done, name: str = name) -> None:
            tell(done, total, f"{name}, {what}" + (f", {part} of {parts}" if parts > 1 else ""))

        with stages.stage(name):
            cells.append(encoder_cell(plan, name, dataset, folder / "cells" / name, at))
    report = {
        "title": "Small encoders",
        "data": dataset.name,
        "preset": preset,
        "plan": plan.to_dict(),
        "batch_size": load_recipe(plan.recipe, plan.changes).optimisation.batch_size,
        "cells": cells,
        "recommendations": recommendations(cells),
        "machine": {
            "processor": cpu_name(),
            "cores": usable_cores(),
            "load when it ended": round(os.getloadavg()[0], 1),
            "processor seconds, last call": stages.with_total()["total"]["cpu"],
            "passerby": passerby.__version__,
        },
        "seconds": stages.with_total(),
    }
    write_text(folder / _REPORT, json.dumps(report, indent=2) + "\n")
    return EncodersStudy(folder, write_encoders_page(folder, report, _pictures(folder, cells)), report)


def _pictures(folder: Path, cells: list[dict[str, Any]]) -> dict[str, bytes]:
    best = max(cells, key=lambda cell: cell["figures"]["r1"])["encoder"]
    drawn = {cost: cost_figure(cells, cost, f"{words}, {unit}") for cost, (words, unit, _) in BUDGETS.items()}
    figures = folder / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    for name, content in drawn.items():
        (figures / f"{name}.png").write_bytes(content)
    return {**drawn, "answers": (folder / "cells" / best / "answers.png").read_bytes()}


def _street(plan: EncodersPlan, folder: Path, tell: Callable[[str], None]) -> str:
    """Draw the plan's street, which a finished one in the folder is not again; returns its address."""
    from passerby.data.world.street import Street
    from passerby.data.world.writing import write

    root = folder / "street"
    street = Street(**(plan.street or {}))
    write(street, root, progress=lambda done, all_: tell(f"drawing the street, {done} of {all_}"))
    return f"rstpreid:{root}"


def _claim(folder: Path, plan: EncodersPlan, data: str) -> None:
    """Write down what this folder is a study of, or refuse when it is another."""
    from passerby.training.state import write_text

    asked = json.dumps({"data": data, "plan": plan.to_dict()}, indent=2) + "\n"
    path = folder / _PLAN
    if path.is_file():
        if path.read_text(encoding="utf-8") != asked:
            raise ConfigError(
                f"{folder} holds a study of other data or with other numbers (see {path}); choose another folder with "
                "--out, or remove it"
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_text(path, asked)
