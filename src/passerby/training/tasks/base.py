"""The contract between the loop and a family of methods.

The loop knows nothing but this: it asks a task for the plan of an epoch, hands it slices of that plan, adds up the
losses it returns and steps. A new method writes a new task; the loop stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn


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
