"""From a recipe and a data set to a trained checkpoint, on whatever machine this is.

The one place that turns a recipe into devices, processes and number formats; command line, demo and studies all
train through it, so they all train the same.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
from collections.abc import Callable
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import torch
import torch.distributed as dist
from accelerate import Accelerator, DistributedDataParallelKwargs, GradScalerKwargs, InitProcessGroupKwargs
from accelerate.state import AcceleratorState

from passerby.data.records import Dataset
from passerby.errors import ConfigError, MissingExtraError
from passerby.training.curves import draw_curves
from passerby.training.families import find_family
from passerby.training.loop import Progress, TrainResult, train
from passerby.training.precision import choose_precision
from passerby.training.recipe import Recipe
from passerby.training.tasks.base import Task

Tracker = Literal["tensorboard", "wandb"]

_PATIENCE = timedelta(hours=6)  # what other processes wait while the main one decodes pictures or validates


def run_recipe(
    recipe: Recipe,
    dataset: Dataset,
    folder: Path,
    on_progress: Callable[[Progress], None] | None = None,
    on_decoded: Callable[[int, int], None] | None = None,
    save_every_s: float = 60.0,
    tracker: Tracker | None = None,
) -> TrainResult:
    """Train a recipe on a data set; go on where an earlier call in the same folder was stopped.

    Args:
        recipe: what and how.
        dataset: on which pictures and captions.
        folder: the run folder; afterwards ``checkpoint/`` in it holds the best model.
        on_progress: called now and then with loss, rate and time left, in the main process.
        on_decoded: called with (done, total) while pictures are decoded for the first time, in the main process.
        save_every_s: seconds between two written states.
        tracker: where figures also go, beside the run's own log.

    Raises:
        ConfigError: the recipe does not fit the machine or the folder, or the tracker is not installed.
        DataError: the data set lacks what the recipe needs.
    """
    across = DistributedDataParallelKwargs()
    build = find_family(recipe.task).task()
    accelerator = _accelerator(recipe, folder, tracker, across)
    with accelerator.local_main_process_first():  # the others then find the pictures decoded
        task = build(recipe, dataset, on_decoded if accelerator.is_main_process else None)
    across.find_unused_parameters = accelerator.num_processes > 1 and _some_idle(task)
    if tracker is not None:
        accelerator.init_trackers("passerby", _flat(recipe), {"wandb": {"name": recipe.name, "dir": str(folder)}})
    result = train(task, recipe, folder, accelerator, on_progress, save_every_s)
    if tracker is not None:
        accelerator.end_training()
    if accelerator.is_main_process:
        with contextlib.suppress(MissingExtraError):  # curves are a comfort; the log holds everything they show
            draw_curves(folder / "log.jsonl", folder / "curves.png")
    return result


def _accelerator(
    recipe: Recipe, folder: Path, tracker: Tracker | None, across: DistributedDataParallelKwargs
) -> Accelerator:
    if tracker is not None and find_spec(tracker) is None:
        raise ConfigError(f"--tracker {tracker}: {tracker} is not installed; run: pip install {tracker}")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    wanted = recipe.optimisation.precision
    precision = choose_precision(wanted, device)
    scaling = GradScalerKwargs(enabled=wanted != "pure_fp16")  # which has none in the releases
    atexit.register(_leave_processes)  # registered twice it does nothing the second time
    # Accelerate keeps one number format per process; a second recipe in this process may need another.
    AcceleratorState._reset_state()
    return Accelerator(
        mixed_precision=precision,
        cpu=device.type == "cpu",
        log_with=tracker,
        project_dir=folder,
        kwargs_handlers=[across, scaling, InitProcessGroupKwargs(timeout=_PATIENCE)],
    )


def _leave_processes() -> None:
    """End the process group while Python still runs: gloo's threads abort the process when they outlive it."""
    if dist.is_available() and dist.is_initialized():
        gc.collect()  # whatever a cycle keeps of the group
        dist.destroy_process_group()


def _some_idle(task: Task) -> bool:
    """Whether some parameter has no part in the result, such as a spare pooler's, so that no process waits for it."""
    model = task.model.eval()
    torch.stack([output.sum() for output in model(*task.example())]).sum().backward()
    idle = any(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    model.zero_grad(set_to_none=True)
    model.train()
    return idle


def _flat(recipe: Recipe) -> dict[str, str | float]:
    """The recipe as the flat table of settings that trackers show: ``optimisation.epochs`` -> 8."""
    flat: dict[str, str | float] = {}

    def walk(prefix: str, value: object) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{prefix}.{key}" if prefix else str(key), inner)
        else:
            flat[prefix] = value if isinstance(value, int | float | str) else str(value)

    walk("", recipe.model_dump(mode="json"))
    return flat
