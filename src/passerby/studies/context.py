"""The study of pictures in context: Table 1, the figures and ablations of MagFormer's report, on any data set.

Stage 1, NFormer, MagFormer without and with its differential attention, and k-reciprocal re-ranking beside them, each
under every protocol that it knows; several seeds. What is finished is not run again, so a study that was stopped goes
on where it was. Everything shown is in ``report.json``.
"""

from __future__ import annotations

import itertools
import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import passerby
from passerby.data.readers import open_dataset
from passerby.data.records import Dataset, Split
from passerby.errors import ConfigError
from passerby.evaluation import FIGURES
from passerby.models.runtimes.choice import cpu_name, usable_cores
from passerby.studies.context_cells import Encoded, context_cell, rules_of, sides, stage1, stored_model
from passerby.studies.context_figures import draw_figures
from passerby.studies.context_page import write_context_page
from passerby.studies.context_plan import MODELS, PROTOCOLS, ContextPlan, plan_of
from passerby.studies.seeds import over_seeds
from passerby.studies.stages import Stages

#: Called with (cells done, cells in all, what is being done).
Announce = Callable[[int, int, str], None]

_PLAN, _REPORT = "plan.json", "report.json"


@dataclass(frozen=True, slots=True)
class ContextStudy:
    """Where a study's results lie, and the report as plain values."""

    folder: Path
    page: Path
    report: Mapping[str, Any]


def run_context(
    folder: Path,
    data: str = "",
    preset: str = "published",
    seeds: int | None = None,
    announce: Announce | None = None,
) -> ContextStudy:
    """Run the study, or what is left of it, in a folder.

    Args:
        folder: everything is made in it; a study of another plan in it is refused.
        data: NAME:ROOT of a set that says which pictures ask; empty for a preset that draws its own street.
        preset: a key of `context_plan.PRESETS`.
        seeds: how often everything is repeated; the preset's number unless given.
        announce: called while it works.

    Raises:
        ConfigError: no such preset, it needs data, or the folder holds another study.
        DataError: the data cannot be read, or do not say which pictures ask.
        MissingExtraError: what draws the figures or writes the page is not installed.
    """
    plan = plan_of(preset, data.partition(":")[0])
    if seeds is not None:
        if seeds < 1:
            raise ConfigError(f"{seeds} seeds; expected one or more")
        plan = replace(plan, seeds=seeds)
    _claim(folder, plan, data)
    work = _Work(plan, folder, announce or (lambda *_: None))
    with work.stages.stage("data"):
        dataset = open_dataset(data or work.street())
        test = dataset.split("test")
        rules = rules_of(test)
    with work.stages.stage("stage 1"):
        encoded = [work.stage1(seed, dataset) for seed in range(plan.seeds)]
    with work.stages.stage("context encoders"):
        for seed, name in itertools.product(range(plan.seeds), MODELS):
            work.context(name, {}, seed, encoded[seed], test)
    with work.stages.stage("ablations"):
        ablations = work.ablations(encoded[0], test)
    with work.stages.stage("figures"):
        work.tell("drawing the figures")
        models = {name: stored_model(work.place(name, {}, 0)) for name in MODELS}
        losses = {name: [work.losses(name, seed) for seed in range(plan.seeds)] for name in MODELS}
        pictures = draw_figures(
            models, encoded[0].test, test, sides(encoded[0], test), losses, plan, folder / "figures"
        )
    report = {
        "title": "Pictures in context",
        "data": dataset.name,
        "preset": preset,
        "plan": plan.to_dict(),
        "rules": rules.describe(),
        "protocols": {letter: words for letter, (_, words) in PROTOCOLS.items()},
        "counts": _counts(dataset, test, encoded[0]),
        "table": work.table(),
        "lifts": work.lifts(),
        "ablations": ablations,
        "machine": {"cpu": cpu_name(), "cores": usable_cores(), "load": round(os.getloadavg()[0], 1)},
        "passerby": passerby.__version__,
        "python": platform.python_version(),
        "seconds": work.stages.with_total(),
    }
    from passerby.training.state import write_text

    write_text(folder / _REPORT, json.dumps(report, indent=2) + "\n")
    return ContextStudy(folder, write_context_page(folder, report, pictures), report)


class _Work:
    """A study under way: its cells, and what they found."""

    def __init__(self, plan: ContextPlan, folder: Path, announce: Announce) -> None:
        self.plan, self.folder, self.announce = plan, folder, announce
        self.stages = Stages()
        self.done = 0
        varied = sum(value != self._usual(field) for field, values in plan.ablations.items() for value in values)
        self.total = plan.seeds * (1 + len(MODELS)) + varied
        self.rows: dict[str, list[list[dict[str, Any]]]] = {}  # model -> seed -> rows
        self.found: dict[tuple[str, int], dict[str, Any]] = {}

    def tell(self, remark: str) -> None:
        self.announce(self.done, self.total, remark)

    def street(self) -> str:
        """Draw the plan's street, which a finished one in the folder is not again; returns its address."""
        from passerby.data.world.street import Street
        from passerby.data.world.writing import write

        root = self.folder / "street"
        write(
            Street(**(self.plan.street or {})),
            root,
            layout="market1501",
            progress=lambda done, all_: self.tell(f"drawing the street, {done} of {all_}"),
        )
        return f"market1501:{root}"

    def stage1(self, seed: int, dataset: Dataset) -> Encoded:
        encoded, rows = stage1(
            self.plan,
            seed,
            dataset,
            self.folder / "cells" / f"stage1-{seed}",
            lambda what, done, all_: self.tell(f"seed {seed}, {what}, {done} of {all_}"),
        )
        for name, found in rows.items():
            self.rows.setdefault(name, []).append(found)
        self.done += 1
        return encoded

    def context(
        self, name: str, changed: Mapping[str, int], seed: int, encoded: Encoded, test: Split
    ) -> dict[str, Any]:
        words = ", ".join([f"seed {seed}", *(f"{field} {value}" for field, value in changed.items())])
        place = self.place(name, changed, seed)
        found = context_cell(
            self.plan,
            name,
            changed,
            seed,
            encoded,
            test,
            place,
            lambda what, done, all_: self.tell(f"{words}, {what}, step {done} of {all_}"),
        )
        if not changed:
            self.rows.setdefault(name, []).append(found["rows"])
            self.found[name, seed] = found
        self.done += 1
        return found

    def ablations(self, encoded: Encoded, test: Split) -> list[dict[str, Any]]:
        """MagFormer with one setting changed at a time, with the first seed."""
        table = []
        for field, values in self.plan.ablations.items():
            for value in values:
                usual = value == self._usual(field)
                found = (
                    self.found["magformer", 0] if usual else self.context("magformer", {field: value}, 0, encoded, test)
                )
                table.append(
                    {"field": field, "value": value, "usual": usual, "seconds": found["seconds"], "rows": found["rows"]}
                )
        return table

    def losses(self, name: str, seed: int) -> list[float]:
        return self.found[name, seed]["losses"]

    def place(self, name: str, changed: Mapping[str, int], seed: int) -> Path:
        varied = "".join(f"-{field}-{value}" for field, value in changed.items())
        return self.folder / "cells" / f"{name}{varied}-{seed}"

    def table(self) -> list[dict[str, Any]]:
        """A row for each model and protocol: mean and interval over the seeds."""
        return [
            {
                "model": name,
                "protocol": first["protocol"],
                "scoring": first["scoring"],
                **_summary([rows[place] for rows in seeds]),
            }
            for name, seeds in self.rows.items()
            for place, first in enumerate(seeds[0])
        ]

    def lifts(self) -> list[dict[str, Any]]:
        """What each model and protocol adds to stage 1, seed by seed."""
        alone = [rows[0] for rows in self.rows["alone"]]
        return [
            {
                "model": name,
                "protocol": first["protocol"],
                **{
                    key: over_seeds([rows[place][key] - one[key] for rows, one in zip(seeds, alone, strict=True)])
                    for key in ("r1", "map")
                },
            }
            for name, seeds in self.rows.items()
            if name != "alone"
            for place, first in enumerate(seeds[0])
        ]

    def _usual(self, field: str) -> int | None:
        from passerby.models.context_config import ContextConfig

        return self.plan.model.get(field, ContextConfig.__dataclass_fields__[field].default)


def _summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for key in FIGURES:
        summary = over_seeds([row[key] for row in rows])
        bounds = list(summary[1:3]) if summary.seeds > 1 else rows[0]["intervals"][key]
        figures[key] = {"mean": summary.mean, "interval": bounds, "seeds": [row[key] for row in rows]}
    return figures


def _counts(dataset: Dataset, test: Split, encoded: Encoded) -> dict[str, int]:
    asks, searched = sides(encoded, test)
    return {
        "training people": len(np.unique(encoded.people)),
        "training pictures": len(encoded.people),
        "test people": len(test.identities),
        "queries": len(asks),
        "gallery pictures": len(searched),
        "cameras": len({image.camera_id for image in dataset.split("train").images}),
        "width": encoded.test.shape[1],
    }


def _claim(folder: Path, plan: ContextPlan, data: str) -> None:
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
