"""From a recipe and a data set to a trained checkpoint, on whatever machine this is.

The one place that turns a recipe into devices, processes and number formats; command line, demo and studies all
train through it, so they all train the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import torch
from accelerate import Accelerator

from passerby.data.records import Dataset
from passerby.errors import MissingExtraError
from passerby.training.curves import draw_curves
from passerby.training.loop import Progress, TrainResult, train
from passerby.training.precision import choose_precision
from passerby.training.recipe import Recipe
from passerby.training.tasks.dual_encoder import DualEncoderTask


def run_recipe(
    recipe: Recipe,
    dataset: Dataset,
    folder: Path,
    on_progress: Callable[[Progress], None] | None = None,
    on_decoded: Callable[[int, int], None] | None = None,
    save_every_s: float = 60.0,
) -> TrainResult:
    """Train a recipe on a data set; go on where an earlier call in the same folder was stopped.

    Args:
        recipe: what and how.
        dataset: on which pictures and captions.
        folder: the run folder; afterwards ``checkpoint/`` in it holds the best model.
        on_progress: called now and then with loss, rate and time left.
        on_decoded: called with (done, total) while pictures are decoded for the first time.
        save_every_s: seconds between two written states.

    Raises:
        ConfigError: the recipe does not fit the machine or the folder.
        DataError: the data set lacks what the recipe needs.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    accelerator = Accelerator(
        mixed_precision=choose_precision(recipe.optimisation.precision, device), cpu=device.type == "cpu"
    )
    task = DualEncoderTask(recipe, dataset, on_decoded)
    result = train(task, recipe, folder, accelerator, on_progress, save_every_s)
    if accelerator.is_main_process:
        with contextlib.suppress(MissingExtraError):  # curves are a comfort; the log holds everything they show
            draw_curves(folder / "log.jsonl", folder / "curves.png")
    return result
