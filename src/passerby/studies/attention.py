"""The attention study: {two backbones} x {none, self, sparse, cross re-rank} under one budget, tabled and drawn.

Every cell runs in a process of its own and leaves ``cell.json`` in its folder; a finished cell is not run again, an
interrupted one goes on. The tables and the page are made of whatever is finished, after every cell.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from passerby.data.readers import open_dataset
from passerby.data.records import Dataset
from passerby.data.world.sidecar import PLAN_FILE
from passerby.data.world.writing import write
from passerby.errors import ConfigError, DataError, PasserbyError
from passerby.models.reranker import clamp_candidates
from passerby.studies.attention_lengths import time_lengths
from passerby.studies.attention_page import write_attention_page
from passerby.studies.attention_plan import (
    CANDIDATES,
    KEPT,
    Cell,
    Preset,
    check_candidates,
    find_preset,
    plan_cells,
)
from passerby.studies.attention_table import (
    cost_table,
    gain_lines,
    honest_table,
    markdown,
    paired_lines,
    rerank_lines,
    rows_of,
)
from passerby.training.recipe import parse_recipe
from passerby.training.state import write_text

#: Called with (cells done, cells in all, what is being done).
Announce = Callable[[int, int, str], None]

#: Sentences that the reports show grids for.
REPORT_QUERIES = ("one dog sitting on the grass", "man riding cycle", "a man or woman wearing a jacket")

_CODE = "from passerby.studies.attention_cell import main; main()"


@dataclass(frozen=True, slots=True)
class StudyResult:
    """Where the study's results lie, and what they are as plain values."""

    folder: Path
    page: Path
    report: Mapping[str, Any]


def run_attention_study(
    data: str | None,
    folder: Path,
    *,
    preset: str = "published",
    seeds: int = 1,
    changes: Sequence[str] = (),
    asked: Sequence[str] = (),
    candidates: Sequence[int] = CANDIDATES,
    kept: int = KEPT,
    announce: Announce | None = None,
) -> StudyResult:
    """Run the study, or what is left of it, in a folder.

    Args:
        data: NAME:ROOT; None lets a preset that has a street draw it.
        folder: ``cells/``, ``tables.md``, ``study.json``, ``*.png`` and ``report.html`` are made in it.
        preset: a key of `attention_plan.PRESETS`.
        seeds: trainings of each cell, at least 1.
        changes: ``section.key=value`` for the towers' recipe, ``reranker.section.key=value`` for the re-ranker's.
        asked: sentences for the retrieval grids; the reports' own, or three of the test split where it knows people.
        candidates: numbers of pictures that queries are re-ranked with.
        kept: the one whose figures stand in the table.
        announce: called while it works.

    Raises:
        ConfigError: no such preset, a change does not fit, or the folder holds cells of another study.
        DataError: the data set lacks a split, captions or pictures.
        PasserbyError: a cell failed; the message names it.
    """
    chosen, ks = find_preset(preset), check_candidates([*candidates, kept])
    tell = announce or (lambda *_: None)
    folder.mkdir(parents=True, exist_ok=True)
    address = data or _draw_street(chosen, preset, folder, tell)
    dataset = open_dataset(address)
    gallery = len(dataset.split("test").images)
    _check_data(dataset)
    clamp_candidates(max(ks), gallery)  # says in the log that K is larger than the gallery
    cells = plan_cells(chosen, dataset.name, seeds, changes)
    _check_names(cells)
    sentences = tuple(asked) or _sentences(dataset)
    request = {
        "data": address,
        "candidates": list(ks),
        "kept": kept,
        "asked": chosen.queries,
        "paired_batch": chosen.paired_batch,
        "queries": list(sentences),
    }
    finished, started = [], time.perf_counter()
    lengths = _lengths(folder / "lengths.json", tell, len(cells))
    result: StudyResult | None = None
    for number, cell in enumerate(cells):
        where = f"{cell.backbone}, {cell.mechanism}, seed {cell.seed}"
        place = folder / "cells" / cell.key
        wanted = {**request, **_wanted(cell, place)}

        def say(remark: str, at: int = number, name: str = where) -> None:
            tell(at, len(cells), f"{name}: {remark}")

        finished.append({**_finish(wanted, place, where, say), **_name(cell)})
        result = _write(folder, dataset, gallery, preset, seeds, finished, lengths, len(cells))
    tell(len(cells), len(cells), f"{time.perf_counter() - started:,.0f} s")
    if result is None:
        raise ConfigError("the study has no cells")
    return result


# -- what is run ----------------------------------------------------------------------------------------------------


def _draw_street(preset: Preset, name: str, folder: Path, tell: Announce) -> str:
    if preset.street is None:
        raise ConfigError(f"the preset {name!r} needs --data NAME:ROOT; --preset street and tiny draw their own")
    write(preset.street, folder / "street", progress=lambda done, total: tell(0, 1, f"drawing {done:,} of {total:,}"))
    return f"rstpreid:{folder / 'street'}"


def _check_data(dataset: Dataset) -> None:
    for name in ("train", "test"):
        split = dataset.split(name)
        if not split.captions:
            raise DataError(f"the split {name!r} of {dataset.name!r} has no captions; the study asks with sentences")


def _check_names(cells: Sequence[Cell]) -> None:
    """Refuse unknown towers and mechanisms before hours are spent on those that are known."""
    from passerby.models.dual_encoder import attention_of
    from passerby.models.towers.registry import image_tower_options, text_tower_options

    for cell in cells:
        model = cell.recipe.model
        image_tower_options(model.image.name, **model.image.options)
        text_tower_options(model.text.name, **model.text.options)
        for side in ("image", "text"):
            attention_of(model.attention, side)


def _sentences(dataset: Dataset) -> tuple[str, ...]:
    """The reports' own for photographs of anything; for people three of the test split, spread over it."""
    test = dataset.split("test")
    if all(image.person_id is None for image in test.images):
        return REPORT_QUERIES
    places = [round(at * (len(test.captions) - 1) / 2) for at in range(3)]
    return tuple(dict.fromkeys(test.captions[place].text for place in places))


def _wanted(cell: Cell, place: Path) -> dict[str, Any]:
    return {
        "folder": str(place),
        "start": str(place.parent / cell.start / "run"),
        "recipe": cell.recipe.model_dump(mode="json"),
        "reranker": None if cell.reranker is None else cell.reranker.model_dump(mode="json"),
    }


def _name(cell: Cell) -> dict[str, Any]:
    return {"backbone": cell.backbone, "mechanism": cell.mechanism, "seed": cell.seed}


def _finish(request: dict[str, Any], place: Path, where: str, say: Callable[[str], None]) -> dict[str, Any]:
    """The cell's content; run in a process of its own unless it is there."""
    path = place / "cell.json"
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
        if _same(found["request"], request):
            return found
        raise ConfigError(
            f"{place} holds a cell of another study (data, recipe, candidates or queries differ); choose another "
            "folder with --out, or remove this one"
        )
    place.mkdir(parents=True, exist_ok=True)
    _in_a_process(request, place, where, say)
    return json.loads(path.read_text(encoding="utf-8"))


def _in_a_process(request: dict[str, Any], place: Path, where: str, say: Callable[[str], None]) -> None:
    with (place / "cell.log").open("a", encoding="utf-8") as log:
        child = subprocess.Popen(  # noqa: S603 our own interpreter and our own module; the request goes by standard input
            [sys.executable, "-c", _CODE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, "TOKENIZERS_PARALLELISM": "false"},
        )
        try:
            end = _follow(child, json.dumps(request), say)
        except BaseException:
            child.terminate()
            child.wait()
            raise
    if end is not None:
        raise PasserbyError(f"{where}: {end}")
    if child.returncode or not (place / "cell.json").is_file():
        raise PasserbyError(f"{where} ended with exit code {child.returncode}; its log is {place / 'cell.log'}")


def _follow(child: subprocess.Popen[str], request: str, say: Callable[[str], None]) -> str | None:
    """Hand over the request and pass progress on; returns what went wrong, or None."""
    stdin, stdout = _pipe(child.stdin), _pipe(child.stdout)
    stdin.write(request)
    stdin.close()
    wrong = None
    for line in stdout:
        if not line.startswith("{"):  # libraries print what they like
            continue
        message = json.loads(line)
        if "at" in message:
            activity, done, total = message["at"]
            say(f"{activity}, {done:,} of {total:,}")
        wrong = message.get("error", wrong)
    child.wait()
    return wrong


def _pipe(stream: IO[str] | None) -> IO[str]:
    if stream is None:
        raise PasserbyError("a process was started without pipes")
    return stream


def _same(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a finished cell answers a request; the folder may have been moved."""
    return _comparable(found) == _comparable(wanted)


def _comparable(request: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in request.items() if key not in ("folder", "start")}
    recipes = {key: _with_defaults(request.get(key)) for key in ("recipe", "reranker")}
    return json.loads(json.dumps({**kept, **recipes}))


def _with_defaults(recipe: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A recipe with what newer versions added to it, or as it was where they no longer know it."""
    try:
        return None if recipe is None else parse_recipe(dict(recipe)).model_dump(mode="json")
    except ConfigError:
        return dict(recipe or {})


def _lengths(path: Path, tell: Announce, cells: int) -> dict[str, Any]:
    if not path.is_file():
        tell(0, cells, "timing sparse attention over length")
        write_text(path, json.dumps(time_lengths(), indent=2) + "\n")
    return json.loads(path.read_text(encoding="utf-8"))


# -- what is written ------------------------------------------------------------------------------------------------


def _write(
    folder: Path,
    dataset: Dataset,
    gallery: int,
    preset: str,
    seeds: int,
    cells: Sequence[Mapping[str, Any]],
    lengths: Mapping[str, Any],
    planned: int,
) -> StudyResult:
    rows = rows_of(cells)
    report = {
        "title": "Attention in a small CLIP",
        "dataset": "a drawn street" if (dataset.root / PLAN_FILE).is_file() else dataset.name,
        "preset": preset,
        "seeds": seeds,
        "cells": {"done": len(cells), "planned": planned},
        "protocol": cells[0]["protocol"],
        "counts": cells[0]["first"]["counts"],
        "gallery_of_split": gallery,
        "kept": cells[0]["request"]["kept"],
        "rows": rows,
        "lengths": dict(lengths),
        "diagnoses": [
            f"{cell['backbone']}, {cell['mechanism']}, seed {cell['seed']}: {diagnosis}"
            for cell in cells
            for diagnosis in cell["diagnoses"]
        ],
        "machine": _machine(),
    }
    write_text(folder / "study.json", json.dumps(report, indent=2) + "\n")
    write_text(folder / "tables.md", _tables(report, cells))
    for cell in cells:
        if not cell["seed"]:
            _collect(folder, cell)
    page = write_attention_page(folder, report, cells)
    return StudyResult(folder, page, report)


def _tables(report: Mapping[str, Any], cells: Sequence[Mapping[str, Any]]) -> str:
    from passerby.evaluation.paired import PairedReport

    parts = [
        f"# {report['title']}: {report['dataset']}",
        f"{report['protocol']}",
        markdown(*honest_table(report["rows"]), 2),
        markdown(*cost_table(report["rows"]), 2),
    ]
    if any("by_k" in row for row in report["rows"]):
        kept = f"What re-ranking {report['kept']} candidates adds, and what each number of candidates costs."
        gains, costs = markdown(*gain_lines(report["rows"]), 2), markdown(*rerank_lines(report["rows"]), 1)
        parts += ["## Re-ranking", kept, gains, costs]
    parts += ["## Paired-batch protocol", f"> {PairedReport.warning}", markdown(*paired_lines(cells), 3)]
    return "\n\n".join(parts) + "\n"


def _collect(folder: Path, cell: Mapping[str, Any]) -> None:
    """Copy a cell's grids to ``grids/``, under names that say whose they are."""
    grids = folder / "grids"
    grids.mkdir(exist_ok=True)
    home = folder / "cells" / f"{cell['backbone']}-{cell['mechanism']}-{cell['seed']}".lower()
    for grid in cell["grids"]:
        shutil.copyfile(home / grid["file"], grids / f"{home.name}-{grid['file']}")


def _machine() -> dict[str, Any]:
    import torch

    from passerby.models.runtimes.choice import usable_cores

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    return {
        "device": device,
        "cores": usable_cores(),
        "threads": torch.get_num_threads(),
        "load": load,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
