"""The contract between the loop and a family of methods.

The loop knows nothing but this: it asks a task for the plan of an epoch, hands it slices of that plan, adds up the
losses it returns and steps. A new method writes a new task; the loop stays as it is. What all families say in the same
words, of a checkpoint's origin and of data that are not the run's, is said here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from passerby.data.records import Dataset
from passerby.errors import CheckpointError
from passerby.training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Selection:
    """What a validation found: the number that chooses the checkpoint, and everything worth logging."""

    value: float
    figures: Mapping[str, float]


class Task(Protocol):
    """A model with its data, its losses and its way to validate itself."""

    @property
    def model(self) -> nn.Module:
        """What is trained."""
        ...

    def example(self) -> tuple[Any, ...]:
        """Smallest inputs that the model's `forward` takes; it returns a sequence of tensors."""
        ...

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups for the optimiser; each may carry ``rate`` (factor of the learning rate) and ``weight_decay``."""
        ...

    def plan(self, epoch: int) -> np.ndarray:
        """The rows of every step of an epoch: (S, B, ...) integers; a pure function of epoch, seed and state."""
        ...

    def fetch(self, rows: np.ndarray) -> Any:
        """Read the rows into CPU tensors; called from a reading thread."""
        ...

    def losses(
        self, model: nn.Module, batch: Any, generator: torch.Generator, device: torch.device
    ) -> dict[str, Tensor]:
        """Named scalar losses of one batch; their sum is minimised. `model` may be wrapped for several processes."""
        ...

    def validate(self, model: nn.Module) -> Selection | None:
        """Measure the model on the selection split, or None where there is none."""
        ...

    def save(self, model: nn.Module, folder: Path, figures: Mapping[str, float]) -> None:
        """Write the model as a checkpoint folder."""
        ...

    def state(self) -> dict[str, Tensor]:
        """What the task itself remembers between steps (memories, centres); empty for most."""
        ...

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `state` gave."""
        ...


def described(
    recipe: Recipe, dataset: Dataset, train_split: str, figures: Mapping[str, float], what: str = ""
) -> dict[str, Any]:
    """What a checkpoint folder says of the run that it comes from, as keyword arguments of `save_model`.

    Args:
        recipe: of the run.
        dataset: that it is trained on.
        train_split: name of the split.
        figures: of the validation that chose the model.
        what: what of the data it is trained on, where that is not the data themselves.
    """
    return {
        "name": recipe.name,
        "trained_on": f"{what}{dataset.name}, split {train_split}",
        "licence": dataset.licence,
        "metrics": {f"{recipe.evaluation.selection_split}_{key}": value for key, value in figures.items()},
        "about": recipe.about,
    }


def refuse_other_data(
    found: Tensor, expected: Tensor, dataset: Dataset, train_split: str, what: str = "pictures or captions"
) -> None:
    """Refuse to go on with a run on other data than it was begun on.

    Args:
        found: the mark in the run's state.
        expected: that of the data that are given now.
        dataset: which these are.
        train_split: name of the split.
        what: the data consist of.

    Raises:
        CheckpointError: the marks differ.
    """
    if not torch.equal(found, expected):
        raise CheckpointError(
            f"the run was begun on other {what} than the split {train_split!r} of {dataset.root}; give the same data "
            "to go on, or another folder with --out"
        )
