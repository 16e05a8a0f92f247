"""One cell of the attention study in a process of its own: trained, measured and written down as ``cell.json``.

A process of its own makes peak memory the cell's and lets a broken cell end without the study. The request comes as
JSON on standard input, progress and the end go as lines of JSON to standard output. `attention` starts it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from passerby.data.images import decode_image
from passerby.data.readers import open_dataset
from passerby.data.records import Dataset, Split
from passerby.data.sheets import Tile, save_sheet, tile_sheet
from passerby.data.world.street import queries
from passerby.errors import PasserbyError
from passerby.evaluation.protocol import Protocol, find_protocol, natural_protocol
from passerby.evaluation.report import Report
from passerby.models.checkpoint import Checkpoint, read_checkpoint
from passerby.models.dual_encoder import DualEncoder, unit_rows
from passerby.models.restore import restore_dual_encoder
from passerby.models.tokenizer import Tokenizer
from passerby.studies.attention_guards import leak_diagnoses
from passerby.studies.attention_measure import (
    Encoded,
    choose_weight,
    encode_prepared,
    look_twice,
    query_latency,
    report,
    rerank_table,
    two_stages,
)
from passerby.studies.attention_paired import paired_figures
from passerby.studies.profile_child import peak_memory
from passerby.training.loop import RESULT
from passerby.training.recipe import Recipe, parse_recipe
from passerby.training.run import run_recipe
from passerby.training.state import write_text
from passerby.training.tasks.dual_encoder import prepare
from passerby.training.tasks.dual_encoder_losses import keeps_length, split_loss
from passerby.training.tasks.dual_encoder_recipe import DualEncoderRecipe

#: Called with (what is being done, done, total).
Tell = Callable[[str, int, int], None]

_FIGURES = ("r1", "r5", "r10", "map", "median_rank")
_GRID = 9


def main() -> None:
    """Read a request, train and measure, write the cell; an error of ours becomes an ``error`` in the answer."""
    request = json.loads(sys.stdin.read())
    said = time.monotonic()

    def tell(activity: str, done: int, total: int) -> None:
        nonlocal said
        if done >= total or time.monotonic() - said > 1:
            said = time.monotonic()
            _say({"at": [activity, done, total]})

    try:
        run_cell(request, tell)
        _say({"end": True})
    except PasserbyError as error:
        _say({"error": str(error)})


def run_cell(request: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
    """Train a cell, or go on with it, and write ``cell.json`` beside its run.

    Args:
        request: ``data`` (NAME:ROOT), ``folder``, ``recipe`` (of the towers, resolved), ``reranker`` (likewise, or
            None), ``start`` (the first stage of a re-ranker), ``candidates``, ``kept``, ``asked`` (most sentences of
            the test, or None), ``paired_batch`` (or None) and ``queries`` (for the grids).
        tell: called while it works.

    Raises:
        PasserbyError: whatever training or evaluation find wrong.
    """
    folder, recipe = Path(request["folder"]), parse_recipe(dict(request["recipe"]))
    if not isinstance(recipe, DualEncoderRecipe):
        raise PasserbyError(f"a cell trains a dual encoder, and the recipe's task is {recipe.task!r}")
    dataset = open_dataset(request["data"])
    training = train_cell(_trained(request, recipe), dataset, folder, tell)
    tell("measuring", 0, 1)
    checkpoint = read_checkpoint(folder / "run" / "checkpoint")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = restore_dual_encoder(checkpoint).to(device)
    cell = {"request": dict(request), "training": training, **_measure(request, recipe, dataset, model, checkpoint)}
    write_text(folder / "cell.json", json.dumps(cell, indent=2) + "\n")
    return cell


def _trained(request: Mapping[str, Any], towers: Recipe) -> Recipe:
    """What the cell trains: its towers, or a re-ranker on those of another cell."""
    if request["reranker"] is None:
        return towers
    tree = dict(request["reranker"])
    return parse_recipe({**tree, "start": {**tree["start"], "checkpoint": request["start"]}})


def train_cell(recipe: Recipe, dataset: Dataset, folder: Path, tell: Tell) -> dict[str, Any]:
    """Train, unless that is done; returns what the tables say about it.

    Args:
        recipe: resolved, of towers or of a re-ranker.
        dataset: with a training split.
        folder: of the cell; the run lies in ``run/``.
        tell: called while it works.
    """
    facts, run = folder / "training.json", folder / "run"
    if not ((run / RESULT).is_file() and facts.is_file()):
        (run / RESULT).unlink(missing_ok=True)  # finished and then killed: its last epoch is measured again
        wall, processor = time.perf_counter(), time.process_time()
        result = run_recipe(
            recipe,
            dataset,
            run,
            lambda at: tell(f"training, loss {sum(at.losses.values()):.2f}", at.step, at.steps),
            lambda done, total: tell("decoding", done, total),
        )
        spent, processor = time.perf_counter() - wall, time.process_time() - processor
        epochs, losses = _last_epoch(run / "log.jsonl")
        step = recipe.optimisation.epochs / max(1, result.steps)  # in epochs
        here = max(step, epochs - step * result.resumed_at)
        write_text(
            facts,
            json.dumps(
                {
                    "epoch_s": result.seconds / here,
                    "epoch_cpu_s": processor / here,
                    # What was trained before a kill is reckoned at the same pace.
                    "seconds": spent + result.seconds * (epochs - here) / here,
                    "epochs": epochs,
                    "peak_bytes": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else peak_memory(),
                    "train_loss": losses,
                    "steps": result.steps,
                    "best": result.best,
                }
            ),
        )
    return json.loads(facts.read_text(encoding="utf-8"))


def _last_epoch(log: Path) -> tuple[float, dict[str, float]]:
    """How many epochs were trained, and means of the losses over the last of them, as training logged them."""
    rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    steps = [row for row in rows if "lr" in row]
    last = [row for row in steps if row["epoch"] > steps[-1]["epoch"] - 1] or steps[-1:]
    names = [key for key in steps[-1] if key not in ("step", "epoch", "lr", "images_per_s")]
    return steps[-1]["epoch"], {name: sum(row[name] for row in last) / len(last) for name in names}


def _measure(
    request: Mapping[str, Any], recipe: DualEncoderRecipe, dataset: Dataset, model: DualEncoder, checkpoint: Checkpoint
) -> dict[str, Any]:
    tokenizer, selection = checkpoint.tokenizer(), recipe.evaluation.selection_split
    encoded = {
        name: encode_prepared(model, split, prepare(split, tokenizer, model.preprocessing))
        for name, split in _splits(dataset, selection, request["asked"]).items()
    }
    test = encoded["test"]
    rules = find_protocol(natural_protocol(test.split), selection_split=selection if selection in encoded else None)
    found: dict[str, Any] = {
        "model_bytes": sum(path.stat().st_size for path in checkpoint.folder.glob("*.safetensors")),
        "parameters": sum(one.numel() for one in model.parameters()),
        "loss": {name: _loss(recipe, one, model) for name, one in encoded.items()},
        "protocol": rules.describe(),
        "first": _plain(report(test, rules, "first stage", dataset.name)),
        "latency": query_latency(model, test),
    }
    weight = 0.5
    if model.reranker is not None:
        weight = _choose(model, encoded.get(selection), rules, request["kept"])
        found |= _second(request, model, test, rules, weight, dataset.name)
    if model.reranker is None:  # a re-ranker has no row of its own in that protocol
        found["paired"] = _paired(request, recipe, dataset, model, tokenizer, encoded)
    found["diagnoses"] = leak_diagnoses(model, tokenizer, test, rules, request["kept"])
    found["grids"] = _grids(
        request["queries"], Path(request["folder"]), model, checkpoint, test, request["kept"], weight
    )
    return found


def _paired(
    request: Mapping[str, Any],
    recipe: DualEncoderRecipe,
    dataset: Dataset,
    model: DualEncoder,
    tokenizer: Tokenizer,
    encoded: Mapping[str, Encoded],
) -> dict[str, list[dict[str, Any]]]:
    if request["asked"] is not None:  # a picture's captions are the rows of that protocol, so it takes all of them
        whole = dataset.split("test")
        again = encode_prepared(model, whole, prepare(whole, tokenizer, model.preprocessing))
        encoded = {**encoded, "test": again}
    batch = request["paired_batch"] or recipe.optimisation.batch_size
    return {name: paired_figures(one, recipe, batch, "model") for name, one in encoded.items()}


def _splits(dataset: Dataset, selection: str, asked: int | None) -> dict[str, Split]:
    test = dataset.split("test")
    found = {selection: dataset.split(selection)} if selection in dataset.splits else {}
    return {**found, "test": test if asked is None else queries(test, asked)}


def _loss(recipe: DualEncoderRecipe, encoded: Encoded, model: DualEncoder) -> float:
    sides = (encoded.images, encoded.texts)
    images, texts = sides if keeps_length(recipe.objective) else (unit_rows(side) for side in sides)
    with torch.inference_mode():
        return split_loss(recipe, images, texts, encoded.prepared.pairs, model.logit_scale)


def _choose(model: DualEncoder, encoded: Encoded | None, rules: Protocol, k: int) -> float:
    """The second stage's weight by the validation split; a half where there is none."""
    if encoded is None:
        return 0.5
    judged = find_protocol(rules.name, report_split=encoded.split.name)
    return choose_weight(look_twice(model, encoded, k), encoded, judged, k)


def _second(
    request: Mapping[str, Any], model: DualEncoder, test: Encoded, rules: Protocol, weight: float, dataset: str
) -> dict[str, Any]:
    kept, ks = request["kept"], request["candidates"]
    second = look_twice(model, test, max(kept, *ks))
    judged = report(test, rules, "re-ranked", dataset, two_stages(second, weight, kept))
    alone = report(test, rules, "second stage alone", dataset, two_stages(second, 1.0, kept))
    return {
        "weight": weight,
        "reranked": _plain(judged),
        "alone": _plain(alone),
        "by_k": rerank_table(model, test, second, rules, weight, ks),
        "reranked_latency": query_latency(model, test, kept, weight),
    }


def _plain(judged: Report) -> dict[str, Any]:
    """Figures and intervals as JSON values."""
    plain = judged.as_dict()
    return {
        **{key: plain[key] for key in _FIGURES},
        "intervals": plain["intervals"],
        "counts": plain["counts"],
        "scoring": plain["scoring"],
    }


@torch.inference_mode()
def _grids(
    asked: Sequence[str], folder: Path, model: DualEncoder, checkpoint: Checkpoint, test: Encoded, k: int, weight: float
) -> list[dict[str, str]]:
    """Draw the nine best pictures for each sentence, as the reports show them, each picture once."""
    ids = torch.from_numpy(checkpoint.tokenizer().encode(list(asked))).to(test.images.device)
    scores = model.encode_texts(ids) @ unit_rows(test.images).T  # (Q, N)
    best = scores.topk(min(_GRID, scores.shape[1])).indices
    if test.maps is not None:
        from passerby.models.reranker import rerank

        best = rerank(model, ids, unit_rows(test.images), test.maps, min(k, scores.shape[1]), weight).candidates
    height, width = model.preprocessing.image_size
    tile = (144, 72) if test.split.images[0].person_id is not None or height >= 2 * width else (168, 224)
    drawn = []
    for number, text in enumerate(asked):
        tiles = [
            Tile(decode_image(test.split.images[place].path, at_least=tile), f"{rank} · {scores[number, place]:.3f}")
            for rank, place in enumerate(best[number, :_GRID].tolist(), start=1)
        ]
        path = folder / f"grid-{number + 1}.png"
        save_sheet(tile_sheet(text, tiles, columns=3, tile_hw=tile), path)
        drawn.append({"query": text, "file": path.name})
    return drawn


def _say(line: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
