"""The cells of the study of selection: one variant trained with one seed, judged by branch, and asked where it looks.

A finished cell is recognised when the study runs again, and an unfinished training goes on where it was. Figures are
those of `passerby evaluate` on the test split, with the model that the validation split chose.

Axes: Q queries, K answers that are kept of each.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from passerby.data.records import Dataset, Split
from passerby.errors import DataError
from passerby.evaluation import FIGURES, Features, encode_split, evaluate_features, find_protocol, split_branches
from passerby.evaluation.task import gallery_vectors, query_vectors, set_up
from passerby.metrics.neighbours import best_of_rows
from passerby.retriever import Retriever, load
from passerby.studies.selection_plan import METHODS, SelectionPlan
from passerby.studies.selection_vectors import smaller_vectors
from passerby.studies.stages import processor_seconds

#: Called with what is being done, and how many of how many.
Tell = Callable[[str, int, int], None]

#: Answers of each query that are kept for the ranked lists.
KEPT = 10
_DONE, _ANSWERS, _RUN = "cell.json", "answers.npz", "run"


def selection_cell(
    plan: SelectionPlan, name: str, seed: int, dataset: Dataset, folder: Path, tell: Tell
) -> dict[str, Any]:
    """Train one variant with one seed and find everything that the tables say of it.

    Args:
        plan: of the study.
        name: a key of its variants.
        seed: of the training; a variant that goes on from another needs that one's cell of the same seed finished.
        dataset: with the splits train and test; the model is chosen on val where there is one.
        folder: of this cell; the best answers of each query lie in ``answers.npz``, the model in ``run/checkpoint``.
        tell: called while it works.

    Returns:
        ``figures`` and ``intervals``, ``branches`` (name -> figures), ``mix``, ``curve`` (validations of the training),
        ``smaller`` (what smaller vectors cost, of ITSELF alone), ``grounding`` (None where the data have no masks) and
        ``seconds`` of processor time.

    Raises:
        ConfigError: the recipe does not fit the data.
        DataError: a split is missing or damaged.
    """
    from passerby.training.state import write_text

    if (folder / _DONE).is_file():
        return json.loads((folder / _DONE).read_text(encoding="utf-8"))
    started = processor_seconds()
    start = plan.variants[name].start
    _train(plan, name, seed, dataset, folder, f"{folder.with_name(start)}-{seed}" if start else "", tell)
    trained = processor_seconds()
    model, test = load(str(checkpoint_of(folder)), runtime="torch"), dataset.split("test")
    features = encode_split(model, test, progress=lambda kind, done, all_: tell(f"encoding {kind}", done, all_))
    found = judged(features, test, model.branches, "val" in dataset.splits)
    _keep_answers(features, test, folder / _ANSWERS)
    found |= {
        "variant": name,
        "seed": seed,
        "mix": mix_of(model),
        "smaller": _smaller(model, features, dataset) if name == METHODS[-1] else [],
        "curve": validations(folder / _RUN / "log.jsonl"),
        "grounding": grounding(model, dataset, test, plan.pictures, tell),
        "seconds": {"training": round(trained - started, 1), "judging": round(processor_seconds() - trained, 1)},
    }
    write_text(folder / _DONE, json.dumps(found) + "\n")
    return found


def judged(
    features: Features, test: Split, branches: Mapping[str, tuple[int, int]], chosen_on_val: bool
) -> dict[str, Any]:
    """Figures and their intervals in per cent, of the whole model and of each of its branches.

    Args:
        features: of the split.
        test: the split.
        branches: columns of each branch, empty for a model that has one.
        chosen_on_val: whether a validation split chose the model.
    """
    rules = find_protocol("text-to-image", report_split=test.name, selection_split="val" if chosen_on_val else None)
    report = evaluate_features(features, test, rules)
    return {
        "figures": {key: _finite(report.figures[key]) for key in FIGURES},
        "intervals": {key: [_finite(bound) for bound in report.intervals[key]] for key in FIGURES},
        "branches": {
            branch: {key: _finite(value) for key, value in evaluate_features(part, test, rules).figures.items()}
            for branch, part in split_branches(features, branches).items()
        },
        "queries": int(report.counts["queries"]),
        "gallery": int(report.counts["gallery"]),
    }


def grounding(model: Retriever, dataset: Dataset, test: Split, pictures: int, tell: Tell) -> dict[str, Any] | None:
    """Whether the model looks at what is described, `GroundingReport.as_dict`; None where the data have no masks."""
    from passerby.data.world.sidecar import read_plan
    from passerby.evaluation.grounding import evaluate_grounding

    try:
        street, _ = read_plan(dataset.root)
    except DataError:
        return None  # photographs: nobody knows where the coat is
    if not street.masks:
        return None
    report = evaluate_grounding(
        model.explainer,
        dataset.root,
        test,
        most=pictures,
        progress=lambda done, all_: tell("looking where it looks", done, all_),
    )
    return report.as_dict()


def mix_of(model: Retriever) -> float | None:
    """The global branch's share of the score that the validation split chose; None without a local branch."""
    from passerby.models.itself import Itself

    encoder = model.explainer.model if model.branches else None
    return encoder.local.mix if isinstance(encoder, Itself) else None


def validations(log: Path) -> list[dict[str, float]]:
    """Epoch and figures of each validation of a training's ``log.jsonl``."""
    rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line]
    return [
        {"epoch": float(row["epoch"]), "r1": row["val_r1"], "map": row["val_map"]} for row in rows if "val_r1" in row
    ]


class Answers(NamedTuple):
    """What a finished cell answers.

    Attributes:
        captions: which captions of the split ask, (Q,).
        images: which of its pictures answer, best first, (Q, K).
        right: whether each shows the person, (Q, K) bool.
    """

    captions: np.ndarray
    images: np.ndarray
    right: np.ndarray


def answers_of(folder: Path) -> Answers:
    """The best answers that a finished cell kept.

    Raises:
        DataError: the cell has none.
    """
    path = folder / _ANSWERS
    if not path.is_file():
        raise DataError(f"there is no {path}; remove {folder} to run the cell again")
    with np.load(path, allow_pickle=False) as kept:
        return Answers(kept["captions"], kept["images"], kept["right"])


def checkpoint_of(folder: Path) -> Path:
    """Where a finished cell's model lies."""
    return folder / _RUN / "checkpoint"


def _train(plan: SelectionPlan, name: str, seed: int, dataset: Dataset, folder: Path, start: str, tell: Tell) -> None:
    from passerby.training.loop import RESULT
    from passerby.training.recipe import load_recipe
    from passerby.training.run import run_recipe

    if (folder / _RUN / RESULT).is_file():
        return
    variant, begun = plan.variants[name], []
    if start:
        begun = ["model.image=null", "model.text=null", f"model.start={json.dumps(str(checkpoint_of(Path(start))))}"]
    run_recipe(
        load_recipe(variant.recipe, [*plan.changes, *variant.changes, f"seed={seed}", *begun]),
        dataset,
        folder / _RUN,
        lambda at: tell("training", at.step, at.steps),
        lambda done, all_: tell("preparing", done, all_),
    )


def _smaller(model: Retriever, features: Features, dataset: Dataset) -> list[dict[str, Any]]:
    """What smaller vectors of a model with a local branch cost; nothing where no split is there to fit them on."""
    if "val" not in dataset.splits or "local" not in model.branches:
        return []
    chosen_on = encode_split(model, dataset.split("val"))
    return smaller_vectors(chosen_on, features, dataset.split("test"), model.branches["local"])


def _keep_answers(features: Features, test: Split, path: Path) -> None:
    task = set_up(test, find_protocol("text-to-image", report_split=test.name))
    scores = query_vectors(features, task) @ gallery_vectors(features, task).T  # (Q, G)
    best = best_of_rows(scores, min(KEPT, scores.shape[1]))[0]
    whole = path.with_name(f".{path.name}")
    with whole.open("wb") as stream:
        np.savez(
            stream,
            captions=task.rows,
            images=task.columns[best],
            right=task.gallery_people[best] == task.people[:, None],
        )
    whole.replace(path)


def _finite(value: float) -> float | None:
    return round(float(value), 3) if math.isfinite(value) else None
