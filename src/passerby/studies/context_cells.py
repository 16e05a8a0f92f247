"""The cells of the study of pictures in context: one trained encoder or context encoder and its figures each.

A cell is a folder that is recognised when the study runs again; what a cell needs from another is read from its files.
Figures are those of `passerby evaluate` under the same rules, so that nothing here is kinder than a search would be.

Axes: V views, N training pictures, Q queries, G gallery pictures, D width, L layers.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from passerby.data.records import Dataset, Split
from passerby.errors import DataError
from passerby.evaluation import (
    FIGURES,
    Features,
    Protocol,
    Scoring,
    dot_product,
    evaluate_features,
    find_protocol,
    find_reranking,
    set_up,
)
from passerby.studies.context_plan import PROTOCOLS, ContextPlan

if TYPE_CHECKING:
    from passerby.models.context import ContextEncoder

#: Called with what is being done, and how many of how many.
Tell = Callable[[str, int, int], None]

_DONE = "cell.json"


@dataclass(frozen=True, slots=True)
class Encoded:
    """What stage 2 of one seed is made from and tested on.

    Attributes:
        views: (V, N, D) of the training pictures.
        people: (N,) whom they show.
        test: (Q + G, D) of the test split, in its order.
    """

    views: np.ndarray
    people: np.ndarray
    test: np.ndarray


def rules_of(split: Split) -> Protocol:
    """The rules of every figure of the study: across cameras, as the re-identification sets have it.

    Raises:
        DataError: the split does not say which pictures ask, so that queries cannot be kept out of the gallery.
    """
    if not split.query_ids:
        raise DataError(
            f"split {split.name!r} does not say which pictures ask; the study of context needs a set with a query "
            "folder of its own, such as market1501"
        )
    return find_protocol("cross-camera", report_split=split.name)


def stage1(
    plan: ContextPlan, seed: int, dataset: Dataset, folder: Path, tell: Tell
) -> tuple[Encoded, dict[str, list[dict[str, Any]]]]:
    """Train the image encoder of one seed, encode both splits with it, and report it alone and re-ranked.

    Args:
        plan: of the study.
        seed: of the training.
        dataset: with the splits train and test.
        folder: of this cell.
        tell: called while it works.

    Returns:
        The vectors, and the rows of the table.
    """
    train, test = dataset.split("train"), dataset.split("test")
    kept = folder / "features.npz"
    if not kept.is_file():
        checkpoint = _trained(plan, seed, dataset, folder / "run", tell)
        _encode(plan, seed, train, test, checkpoint, kept, tell)
    with np.load(kept, allow_pickle=False) as stored:
        encoded = Encoded(stored["views"], stored["people"], stored["test"])
    rules = rules_of(test)

    def compute() -> dict[str, Any]:
        ways = {
            "alone": [("-", dot_product("cpu"))],
            "k-reciprocal": [
                (letter, find_reranking(f"k-reciprocal:{plan.rerank},mode={mode}").scoring())
                for letter, (mode, _) in PROTOCOLS.items()
                if mode
            ],
        }
        return {
            name: [{"protocol": letter, **judged(encoded.test, test, rules, scoring)} for letter, scoring in scorings]
            for name, scorings in ways.items()
        }

    return encoded, cell(folder / _DONE, compute)


def context_cell(
    plan: ContextPlan,
    name: str,
    changed: Mapping[str, Any],
    seed: int,
    encoded: Encoded,
    test: Split,
    folder: Path,
    tell: Tell,
) -> dict[str, Any]:
    """Train one context encoder on the vectors of stage 1 and report it under both protocols.

    Args:
        plan: of the study.
        name: a key of `PRESETS` of `passerby.models.context_config`.
        changed: settings that differ from the plan's.
        seed: of weights, sets and landmarks.
        encoded: from `stage1`.
        test: the split that is reported.
        folder: of this cell; its model lies in ``model/``.
        tell: called after each step.

    Returns:
        ``rows`` (one for each protocol), ``losses`` of each step, ``seconds`` of training.
    """

    def compute() -> dict[str, Any]:
        from passerby.models.context_config import context_config
        from passerby.models.restore import save_model
        from passerby.training.context_stage import ContextTraining, train_context

        classes = len(np.unique(encoded.people))
        settings = context_config(name, encoded.test.shape[1], classes, **{**plan.model, **changed, "seed": seed})
        training = ContextTraining(**{**plan.training, "seed": seed})
        run = train_context(
            settings, encoded.views, encoded.people, training, progress=lambda done, all_, _: tell(name, done, all_)
        )
        save_model(run.model, folder / "model", kind="context", name=name)
        rules = rules_of(test)
        rows = [
            {"protocol": letter, **judged(encoded.test, test, rules, context_scoring(run.model, name, protocol))}
            for letter, (protocol, _) in PROTOCOLS.items()
            if protocol
        ]
        return {"rows": rows, "losses": [step["loss"] for step in run.history], "seconds": round(run.seconds, 2)}

    return cell(folder / _DONE, compute)


def context_scoring(model: ContextEncoder, name: str, protocol: str) -> Scoring:
    """A context encoder as a scoring that evaluations take.

    Args:
        model: a trained one.
        name: of the model, for reports.
        protocol: "transductive" or "gallery".
    """
    from passerby.models.context_protocols import gallery_in_context, transductive

    in_vectors = transductive if protocol == "transductive" else gallery_in_context

    def blocks(queries: np.ndarray, gallery: np.ndarray, own: np.ndarray) -> Iterator[np.ndarray]:
        asked, searched = in_vectors(model, queries, gallery)
        yield from dot_product("cpu").blocks(asked, searched, own)

    return Scoring(f"{name} ({protocol})", blocks, transductive=protocol == "transductive")


def stored_model(folder: Path) -> ContextEncoder:
    """The context encoder of a finished cell.

    Raises:
        DataError: the cell holds another model.
    """
    from passerby.models.checkpoint import read_checkpoint
    from passerby.models.context import ContextEncoder
    from passerby.models.restore import restore_model

    model = restore_model(read_checkpoint(folder / "model"))
    if not isinstance(model, ContextEncoder):
        raise DataError(f"{folder / 'model'} holds a {type(model).__name__}; remove the folder to train it again")
    return model


def sides(encoded: Encoded, test: Split) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the test split that ask, and those that are searched, junk left out: (Q,), (G,)."""
    task = set_up(test, rules_of(test))
    return task.rows, task.columns[~task.relevance.ignored]


def judged(vectors: np.ndarray, split: Split, rules: Protocol, scoring: Scoring) -> dict[str, Any]:
    """The figures of a report and their intervals, in percent; NaN becomes None."""
    report = evaluate_features(Features(vectors), split, rules, scoring=scoring)
    figures = {key: _finite(report.figures[key]) for key in FIGURES}
    intervals = {key: [_finite(bound) for bound in report.intervals[key]] for key in FIGURES}
    return {"scoring": report.scoring, **figures, "intervals": intervals}


def cell(path: Path, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a finished cell found, or what it finds now and keeps."""
    from passerby.training.state import write_text

    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    found = compute()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(found) + "\n")
    return found


def _trained(plan: ContextPlan, seed: int, dataset: Dataset, folder: Path, tell: Tell) -> Path:
    from passerby.training.loop import RESULT
    from passerby.training.recipe import load_recipe
    from passerby.training.run import run_recipe

    if not (folder / RESULT).is_file():
        recipe = load_recipe(plan.recipe, [*plan.changes, f"seed={seed}"])
        run_recipe(recipe, dataset, folder, lambda at: tell("stage 1", at.step, at.steps))
    return folder / "checkpoint"


def _encode(plan: ContextPlan, seed: int, train: Split, test: Split, checkpoint: Path, out: Path, tell: Tell) -> None:
    from passerby.retriever import load
    from passerby.training.feature_views import encoded_views
    from passerby.training.recipe import load_recipe
    from passerby.training.tasks.reid import labels_and_cameras
    from passerby.training.tasks.reid_recipe import ReidRecipe

    recipe, model = load_recipe(plan.recipe, plan.changes), load(checkpoint)
    changes = recipe.augmentation if isinstance(recipe, ReidRecipe) else None
    started = time.perf_counter()
    views = encoded_views(model, train, plan.views, changes, seed, lambda done, all_: tell("encoding", done, all_))
    found = encoded_views(model, test)[0]
    whole = out.with_name(f".{out.name}")
    with whole.open("wb") as stream:
        np.savez(stream, views=views, people=labels_and_cameras(train)[0], test=found)
    whole.replace(out)
    tell(f"encoded in {time.perf_counter() - started:.0f} s", 1, 1)


def _finite(value: float) -> float | None:
    return round(float(value), 3) if math.isfinite(value) else None
