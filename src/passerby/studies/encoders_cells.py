"""The cells of the study of encoders: one encoder trained, judged, timed and counted, each in a folder of its own.

A finished cell is recognised when the study runs again, and an unfinished training goes on where it was.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from passerby.data.images import decode_image
from passerby.data.records import Dataset, Split
from passerby.data.sheets import result_grid, save_sheet
from passerby.evaluation import FIGURES, Features, encode_split, evaluate_features, find_protocol
from passerby.retriever import Retriever, load
from passerby.studies.encoders_plan import ENCODERS, EncodersPlan
from passerby.studies.profile import profile_models

#: Called with what is being done, and how many of how many.
Tell = Callable[[str, int, int], None]

#: The report's own query, of its Figure 2.
QUERY = (
    "The man is walking. He is wearing a grey jacket and black trousers. His shoes are brown and his bag is black. "
    "He is looking around."
)
#: Positions that the report's Table IV tests.
POSITIONS = (1, 5, 10)
_DONE, _SHOWN = "cell.json", 10


def encoder_cell(plan: EncodersPlan, name: str, dataset: Dataset, folder: Path, tell: Tell) -> dict[str, Any]:
    """Train one encoder, and find everything that the tables say of it.

    Args:
        plan: of the study.
        name: a key of `ENCODERS`.
        dataset: with the splits train, val and test.
        folder: of this cell.
        tell: called while it works.

    Returns:
        ``figures`` and ``intervals`` (identity level, per cent), ``exactly`` (hits at exactly a position, own picture
        only), ``loss`` of the validation split, ``search_s`` of one and of five queries, and ``profile``.
    """
    from passerby.training.state import write_text

    if (folder / _DONE).is_file():
        return json.loads((folder / _DONE).read_text(encoding="utf-8"))
    seconds = _trained(plan, name, dataset, folder / "run", tell)
    checkpoint = folder / "run" / "checkpoint"
    tell("evaluating", 0, 1)
    model, test = load(checkpoint, runtime="torch"), dataset.split("test")
    features = encode_split(model, test, progress=lambda kind, done, all_: tell(f"encoding {kind}", done, all_))
    found = judged(features, test)
    _draw_answers(model, features, test, folder / "answers.png")
    tell("measuring the cost", 0, 1)
    (profile,) = profile_models([str(checkpoint)], tokens=plan.tokens, repeats=plan.repeats)
    found |= {
        "encoder": name,
        "timm": ENCODERS[name],
        "loss": _validation_loss(plan, name, dataset, checkpoint),
        "search_s": {str(count): _search_seconds(model, features.images, count) for count in (1, 5)},
        "training_s": seconds,
        "profile": profile,
    }
    write_text(folder / _DONE, json.dumps(found, indent=2) + "\n")
    return found


def judged(features: Features, test: Split) -> dict[str, Any]:
    """Identity-level figures with intervals, and the report's "Rank@K" by its true name.

    Args:
        features: of the split.
        test: the split.
    """
    report = evaluate_features(features, test, find_protocol("text-to-image", selection_split="val"))
    own = evaluate_features(features, test, find_protocol("text-to-own-image", selection_split="val"))
    curve = (0.0, *own.curve)
    exactly = {str(place): curve[place] - curve[place - 1] for place in POSITIONS if place < len(curve)}
    return {
        "figures": {key: float(report.figures[key]) for key in FIGURES},
        "intervals": {key: [_number(bound) for bound in report.intervals[key]] for key in FIGURES},
        "exactly": exactly,
        "own_map": float(own.figures["map"]),
        "queries": int(report.counts["queries"]),
        "gallery": int(report.counts["gallery"]),
    }


def recipe_changes(plan: EncodersPlan, name: str) -> list[str]:
    """What turns the plan's recipe into that of one encoder, as ``--set`` takes it."""
    changes = [*plan.changes, f"model.image.name=timm:{ENCODERS[name]}"]
    if name in plan.sizes:
        changes.append(f"data.image_size={list(plan.sizes[name])}")
    return changes


def _trained(plan: EncodersPlan, name: str, dataset: Dataset, folder: Path, tell: Tell) -> float:
    from passerby.training.loop import RESULT
    from passerby.training.recipe import load_recipe
    from passerby.training.run import run_recipe

    started = time.perf_counter()
    if not (folder / RESULT).is_file():
        recipe = load_recipe(plan.recipe, recipe_changes(plan, name))
        run_recipe(
            recipe,
            dataset,
            folder,
            lambda at: tell("training", at.step, at.steps),
            lambda done, all_: tell("preparing", done, all_),
        )
    return round(time.perf_counter() - started, 1)


def _validation_loss(plan: EncodersPlan, name: str, dataset: Dataset, checkpoint: Path) -> float | None:
    """Of Table III: the recipe's loss over the validation split, None where there is none."""
    import torch

    from passerby.models.checkpoint import read_checkpoint
    from passerby.models.restore import restore_dual_encoder
    from passerby.training.recipe import load_recipe
    from passerby.training.tasks.dual_encoder_losses import split_loss
    from passerby.training.tasks.dual_encoder_recipe import DualEncoderRecipe
    from passerby.training.tasks.pair_data import encode, prepare

    recipe = load_recipe(plan.recipe, recipe_changes(plan, name))
    if "val" not in dataset.splits or not isinstance(recipe, DualEncoderRecipe):
        return None
    stored = read_checkpoint(checkpoint)
    model = restore_dual_encoder(stored)
    prepared = prepare(dataset.split("val"), stored.tokenizer(), model.preprocessing)
    with torch.inference_mode():
        return split_loss(recipe, *encode(model, prepared), prepared.pairs, model.logit_scale)


def _search_seconds(model: Retriever, gallery: np.ndarray, count: int) -> float:
    """Seconds to encode so many queries and rank the gallery for each, the median of five; the gallery is encoded."""
    spent = []
    for _ in range(5):
        started = time.perf_counter()
        (-(model.encode_texts([QUERY] * count) @ gallery.T)).argsort(axis=1)
        spent.append(time.perf_counter() - started)
    return float(np.median(spent))


def _draw_answers(model: Retriever, features: Features, test: Split, path: Path) -> None:
    """Figure 2: what the encoder finds for the report's query."""
    scores = features.images @ model.encode_texts([QUERY])[0]
    best: Sequence[int] = np.argsort(-scores, kind="stable")[:_SHOWN].tolist()
    tiles = [(decode_image(test.images[row].path), f"{scores[row]:.2f}") for row in best]
    save_sheet(result_grid(QUERY, tiles, columns=5, tile_hw=(160, 80)), path)


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
