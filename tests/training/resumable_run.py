"""A tiny training run for test_loop.py, also runnable alone so that it can be killed.

Usage: python resumable_run.py OUT DELAY
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import nn

from passerby.training.loop import train
from passerby.training.recipe import parse_recipe
from passerby.training.tasks.base import Selection


class LinearTask:
    """Fits a linear map from noisy rows; has dropout, noise and a memory, so that every kind of state counts."""

    def __init__(self, delay=0.0):
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.Dropout(0.2), nn.Linear(16, 3))
        self.rows = torch.randn(64, 6)
        self.targets = self.rows @ torch.randn(6, 3)
        self.memory = torch.zeros(64)
        self.delay = delay
        self.saved = []

    def example(self):
        return (torch.zeros(1, 6),)

    def parameter_groups(self):
        return [{"params": list(self.model.parameters())}]

    def plan(self, epoch):
        shift = int(self.memory.sum().item()) % 7  # the plan depends on the task's own memory
        return (np.random.default_rng([epoch, shift]).permutation(64)).reshape(8, 8)

    def fetch(self, rows):
        return torch.from_numpy(rows)

    def losses(self, model, batch, generator, device):
        time.sleep(self.delay)
        self.memory[batch] += 1
        noisy = self.rows[batch] + 0.1 * torch.randn(len(batch), 6, generator=generator)
        return {"squared": (model(noisy) - self.targets[batch]).square().mean()}

    def validate(self, model):
        error = float((model(self.rows) - self.targets).square().mean())
        return Selection(-error, {"error": error})

    def save(self, model, folder, figures):
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(model.state_dict(), folder / "weights.pt")

    def state(self):
        return {"memory": self.memory.clone()}

    def restore(self, state):
        self.memory = state["memory"].clone()


def recipe(**optimisation):
    options = {"epochs": 3, "batch_size": 8, "learning_rate": 0.01, "precision": "fp32", **optimisation}
    return parse_recipe(
        {
            "name": "tiny",
            "model": {"image": {"name": "none"}, "text": {"name": "none"}},
            "optimisation": options,
            "evaluation": {"every": 1},
        }
    )


def run(folder, delay=0.0, save_every_s=0.0, on_progress=None, **optimisation):
    AcceleratorState._reset_state()  # an earlier test of this process may have left another number format
    accelerator = Accelerator(cpu=True, mixed_precision="no")
    return train(LinearTask(delay), recipe(**optimisation), Path(folder), accelerator, on_progress, save_every_s)


if __name__ == "__main__":
    run(sys.argv[1], float(sys.argv[2]))
