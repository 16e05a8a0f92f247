"""One training loop for every method.

It owns what all methods share: devices and number formats (Accelerate), the learning rate, the moving average,
clipping, logging, validation, and state that lets a killed run go on to exactly the result of an uninterrupted one.
Every random number of step s comes from (seed, s), never from what happened before it, which is what makes that so.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from passerby.errors import ConfigError
from passerby.training.half_weights import train_in_half
from passerby.training.memory import keep_freed_memory, long_lived
from passerby.training.optimiser import build_optimiser, embedding_tables
from passerby.training.precision import attention_kernel
from passerby.training.recipe import Recipe
from passerby.training.schedule import schedule
from passerby.training.state import clear_state, read_state, write_state, write_text
from passerby.training.tasks.base import Selection, Task

RESULT = "result.json"
"""The file that says that a run is finished, with what it came to."""

_LOG_EVERY = 10  # steps between two readings of the losses, each of which waits for the device


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run is; handed to the caller after each reading of the losses."""

    step: int
    steps: int
    epoch: int
    losses: dict[str, float]
    images_per_s: float
    seconds_left: float
    figures: Mapping[str, float] = field(default_factory=dict)
    """What the latest validation found; empty before the first."""


@dataclass(slots=True)
class TrainResult:
    """What a run came to."""

    folder: Path
    steps: int
    seconds: float
    best: dict[str, float] = field(default_factory=dict)
    resumed_at: int = 0


def train(
    task: Task,
    recipe: Recipe,
    folder: Path,
    accelerator: Accelerator,
    on_progress: Callable[[Progress], None] | None = None,
    save_every_s: float = 60.0,
) -> TrainResult:
    """Train a task to the end of its recipe, going on where an earlier call was stopped.

    Args:
        task: what to train.
        recipe: how.
        folder: the run: ``recipe.yaml``, ``log.jsonl``, ``state.pt`` while it runs, ``checkpoint/`` with the best
            model, and ``result.json`` once it is finished.
        accelerator: device, processes and number format.
        on_progress: called now and then, in the main process.
        save_every_s: seconds between two written states.

    Raises:
        ConfigError: the folder holds a run of another recipe or a finished one, the batch cannot be cut as asked, or
            the loss is no longer a number.
        CheckpointError: the folder's state is damaged, or was written on other data.
    """
    run = _Run(task, recipe, folder, accelerator)
    run.prepare_folder()
    run.resume()
    started, last_save = time.perf_counter(), time.perf_counter()
    window: list[dict[str, torch.Tensor]] = []
    keep_freed_memory()
    with long_lived():
        while not run.is_over:
            for losses in run.epoch_steps():
                window.append(losses)
                if run.step % _LOG_EVERY == 0 or run.step == run.steps:
                    rate = (run.step - run.resumed_at) / (time.perf_counter() - started)
                    run.log_losses(window, rate, on_progress)
                    window = []
                if time.perf_counter() - last_save >= save_every_s:
                    run.save_state()
                    last_save = time.perf_counter()
            run.finish_epoch()
    result = TrainResult(folder, run.steps, time.perf_counter() - started, run.best, run.resumed_at)
    run.finish(result)
    return result


class _Run:
    """The moving parts of one call of `train`."""

    def __init__(self, task: Task, recipe: Recipe, folder: Path, accelerator: Accelerator) -> None:
        self.task, self.recipe, self.folder, self.accelerator = task, recipe, folder, accelerator
        options = recipe.optimisation
        parts = options.accumulation * accelerator.num_processes
        if options.batch_size % parts:
            raise ConfigError(
                f"optimisation.batch_size={options.batch_size} cannot be cut into {options.accumulation} accumulated "
                f"parts on {accelerator.num_processes} processes; choose a multiple of {parts}"
            )
        optimiser = build_optimiser(task.parameter_groups(), options, embedding_tables(task.model))
        if options.precision == "pure_fp16":
            train_in_half(optimiser, task.model.to(accelerator.device))
        if accelerator.device.type == "cpu":
            task.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model, self.optimiser = accelerator.prepare(task.model, optimiser)
        self.average: AveragedModel | None = None
        if options.ema > 0:
            self.average = AveragedModel(
                accelerator.unwrap_model(self.model),
                multi_avg_fn=get_ema_multi_avg_fn(options.ema),
                use_buffers=True,
            )
        self.epoch, self.step, self.step_in_epoch = 0, 0, 0
        self.best: dict[str, float] = {}
        self.latest: Mapping[str, float] = {}
        self.resumed_at = 0
        self.plan = self.next_plan()
        self.steps = len(self.plan) * options.epochs
        self.factor = schedule(
            options.schedule,
            self.steps,
            max(1, round(options.warmup * self.steps)),
            options.floor,
            warmup_from=options.warmup_from,
            milestones=[round(epoch * len(self.plan)) for epoch in options.milestones],
            decay=options.decay,
        )
        self.stale, self.lowered = 0, 1.0  # validations in a row without a better one; what "plateau" came to

    @property
    def is_over(self) -> bool:
        """Whether all epochs are done, or the validations have long found nothing better."""
        options = self.recipe.optimisation
        return self.epoch >= options.epochs or 0 < options.stop_after <= self.stale

    # -- the folder ---------------------------------------------------------------------------------------------

    def prepare_folder(self) -> None:
        """Write the resolved recipe, or check that the folder holds an unfinished run of the same one."""
        resolved = self.recipe.to_yaml()
        path = self.folder / "recipe.yaml"
        if path.is_file() and path.read_text(encoding="utf-8") != resolved:
            raise ConfigError(
                f"{self.folder} holds a run of another recipe (see {path}); choose another folder with --out, or "
                "remove this one"
            )
        if (self.folder / RESULT).is_file():
            raise ConfigError(
                f"{self.folder} holds a finished run; its model is {self.folder / 'checkpoint'}. Choose another folder "
                "with --out, or remove this one to train again"
            )
        self.accelerator.wait_for_everyone()  # every process has looked before one of them writes
        if self.accelerator.is_main_process:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_text(path, resolved)
        self.accelerator.wait_for_everyone()

    def resume(self) -> None:
        """Take back the last written state, if there is one."""
        state = read_state(self.folder)
        if state is None:
            if self.accelerator.is_main_process:
                (self.folder / "log.jsonl").unlink(missing_ok=True)
            return
        self.accelerator.unwrap_model(self.model).load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        if self.accelerator.scaler is not None and state["scaler"]:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.task.restore(state["task"])
        self.epoch, self.step, self.step_in_epoch = state["epoch"], state["step"], state["step_in_epoch"]
        self.best, self.stale, self.lowered = state["best"], state["stale"], state["lowered"]
        self.resumed_at = self.step
        self.plan = state["plan"].numpy()
        self._cut_log()

    def save_state(self) -> None:
        """Write everything that `resume` needs."""
        if not self.accelerator.is_main_process:
            return
        scaler = self.accelerator.scaler
        write_state(
            self.folder,
            {
                "model": self.accelerator.unwrap_model(self.model).state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "average": self.average.state_dict() if self.average is not None else None,
                "scaler": scaler.state_dict() if scaler is not None else None,
                "task": self.task.state(),
                "epoch": self.epoch,
                "step": self.step,
                "step_in_epoch": self.step_in_epoch,
                "best": self.best,
                "stale": self.stale,
                "lowered": self.lowered,
                "plan": torch.from_numpy(np.ascontiguousarray(self.plan)),
            },
        )

    def _cut_log(self) -> None:
        """Drop the log lines written after the state, which are about to be written again."""
        path = self.folder / "log.jsonl"
        if self.accelerator.is_main_process and path.is_file():
            *whole, _ = path.read_text(encoding="utf-8").split("\n")  # a kill may have left half of the last line
            kept = [line for line in whole if json.loads(line)["step"] <= self.step]
            write_text(path, "".join(f"{line}\n" for line in kept))

    def _log(self, row: dict[str, Any]) -> None:
        if self.accelerator.is_main_process:
            with (self.folder / "log.jsonl").open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")
        self.accelerator.log({key: value for key, value in row.items() if key != "step"}, step=row["step"])

    def finish(self, result: TrainResult) -> None:
        """Mark the run as finished; only then is the state of no more use."""
        if self.accelerator.is_main_process:
            summary = {"steps": result.steps, "seconds": round(result.seconds, 3), "best": result.best}
            write_text(self.folder / RESULT, json.dumps(summary, indent=2) + "\n")
            clear_state(self.folder)
        self.accelerator.wait_for_everyone()

    # -- steps --------------------------------------------------------------------------------------------------

    def epoch_steps(self) -> Iterator[dict[str, torch.Tensor]]:
        """Do the remaining steps of this epoch, reading the next batch while the current one is computed."""
        self.model.train()
        options = self.recipe.optimisation
        parts, processes = options.accumulation, self.accelerator.num_processes
        with ThreadPoolExecutor(1) as reader:
            pending: list[Future[Any]] = self._read(reader, self.step_in_epoch, parts, processes)
            while self.step_in_epoch < len(self.plan):
                batches = [future.result() for future in pending]
                pending = self._read(reader, self.step_in_epoch + 1, parts, processes)
                losses = self._step(batches)
                self.step += 1
                self.step_in_epoch += 1
                yield losses

    def _read(self, reader: ThreadPoolExecutor, step: int, parts: int, processes: int) -> list[Future[Any]]:
        if step >= len(self.plan):
            return []
        rows = self.plan[step]  # (B, ...)
        usable = len(rows) // (parts * processes) * parts * processes
        chunks = rows[:usable].reshape(parts, processes, -1, *rows.shape[1:])
        return [reader.submit(self.task.fetch, chunk[self.accelerator.process_index]) for chunk in chunks]

    def _step(self, batches: list[Any]) -> dict[str, torch.Tensor]:
        options = self.recipe.optimisation
        for group in self.optimiser.param_groups:
            group["lr"] = group["base_lr"] * self.factor(self.step) * self.lowered
        total: dict[str, torch.Tensor] = {}
        for part, batch in enumerate(batches):
            seed = _mix(self.recipe.seed, self.step, part, self.accelerator.process_index)
            torch.manual_seed(seed)  # dropout
            generator = torch.Generator().manual_seed(seed)
            last = part == len(batches) - 1
            kernel = attention_kernel(self.accelerator.mixed_precision, self.accelerator.device)
            with _sync(self.accelerator, self.model, last), kernel:
                with self.accelerator.autocast():  # not the way back, which follows the formats of the way there
                    losses = self.task.losses(self.model, batch, generator, self.accelerator.device)
                self.accelerator.backward(sum(losses.values()) / len(batches))  # type: ignore[arg-type]
            for name, value in losses.items():
                total[name] = total.get(name, 0) + value.detach() / len(batches)
        if options.clip_norm > 0:
            self.accelerator.clip_grad_norm_(self.model.parameters(), options.clip_norm)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update_parameters(self.accelerator.unwrap_model(self.model))
        return total

    def log_losses(
        self,
        window: list[dict[str, torch.Tensor]],
        steps_per_s: float,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        """Read the losses of the last steps, log their mean and tell the caller; refuse to go on from NaN."""
        # Over all processes, so that all of them come to the same verdict and none waits for another that gave up.
        table = torch.stack([torch.stack(list(row.values())) for row in window]).mean(dim=0)  # one value per loss
        means = dict(zip(window[0], cast(torch.Tensor, self.accelerator.reduce(table, "mean")).tolist(), strict=True))
        if not all(np.isfinite(value) for value in means.values()):
            raise ConfigError(
                f"the loss became {means} at step {self.step}; lower optimisation.learning_rate or set "
                "optimisation.precision=fp32, and train into another folder"
            )
        images = steps_per_s * self.recipe.optimisation.batch_size
        rate = max(group["lr"] for group in self.optimiser.param_groups)
        self._log({"step": self.step, "epoch": self.step / len(self.plan), "lr": rate, "images_per_s": images, **means})
        if on_progress is not None and self.accelerator.is_main_process:
            left = (self.steps - self.step) / max(steps_per_s, 1e-9)
            on_progress(Progress(self.step, self.steps, self.epoch, means, images, left, self.latest))

    # -- between epochs -----------------------------------------------------------------------------------------

    def next_plan(self) -> np.ndarray:
        """The plan of the epoch that begins, as the main process made it."""
        # Two machines may break ties of hard negatives differently; processes must never cut different plans.
        return broadcast_object_list([self.task.plan(self.epoch)])[0]

    def averaged(self) -> nn.Module:
        """The model that is validated and saved: the moving average where there is one."""
        return self.average.module if self.average is not None else self.accelerator.unwrap_model(self.model)

    def finish_epoch(self) -> None:
        """Validate when it is time, keep the best, and plan the next epoch."""
        self.epoch += 1
        self.step_in_epoch = 0
        last = self.epoch == self.recipe.optimisation.epochs
        every = self.recipe.evaluation.every
        if last or (every and self.epoch % every == 0):
            self._validate(last)
        if not self.is_over:
            self.plan = self.next_plan()
            self.save_state()
        self.accelerator.wait_for_everyone()

    def _validate(self, last: bool) -> None:
        """Measure in the main process; what follows for the learning rate and the end of the run, all are told."""
        selection = self._measure() if self.accelerator.is_main_process else None
        if self.accelerator.is_main_process and selection is None and last:
            self.task.save(self.averaged(), self.folder / "checkpoint", {})
        if selection is not None:
            self.latest = selection.figures
            figures = {f"val_{name}": value for name, value in selection.figures.items()}
            self._log({"step": self.step, "epoch": self.epoch, **figures})
            self.stale += 1
            if not self.best or selection.value > self.best["value"]:
                self.best, self.stale = _as_best(selection, self.epoch), 0
                self.task.save(self.averaged(), self.folder / "checkpoint", selection.figures)
            options = self.recipe.optimisation
            if options.schedule == "plateau" and self.stale and self.stale % options.patience == 0:
                self.lowered *= options.decay
        self.stale, self.lowered = broadcast_object_list([self.stale, self.lowered])

    def _measure(self) -> Selection | None:
        model = self.averaged()
        was_training = model.training
        model.eval()
        try:
            with torch.inference_mode():
                return self.task.validate(model)
        finally:
            model.train(was_training)


def _as_best(selection: Selection, epoch: int) -> dict[str, float]:
    return {"value": selection.value, "epoch": float(epoch), **dict(selection.figures)}


def _mix(*numbers: int) -> int:
    """One 63-bit seed out of several small numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def _sync(accelerator: Accelerator, model: nn.Module, last: bool) -> contextlib.AbstractContextManager[Any]:
    """Let only the last accumulated part exchange gradients between processes."""
    return contextlib.nullcontext() if last else accelerator.no_sync(model)
