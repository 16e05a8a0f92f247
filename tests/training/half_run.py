"""Tiny runs in pure fp16 for test_half_weights.py; as a script, one of the processes that share such a run.

Usage: python half_run.py OUT, with RANK, WORLD_SIZE and their like in the environment.
"""

import sys
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))

from resumable_run import LinearTask

from passerby.training.loop import train
from passerby.training.recipe import parse_recipe


class UnderAutocast(Accelerator):
    """A processor's stand-in for the GPU that Accelerate wants for fp16."""

    def autocast(self, autocast_handler=None):
        return torch.autocast("cpu", torch.float16)


class NoisyTask(LinearTask):
    """With dropout, statistics and a memory, and the releases' epsilon."""

    def parameter_groups(self):
        return [{"params": list(self.model.parameters()), "eps": 1e-3}]


class StillTask(NoisyTask):
    """Without noise and statistics, which are each process's own."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.model = nn.Sequential(nn.Linear(6, 16), nn.LayerNorm(16), nn.Linear(16, 3))

    def losses(self, model, batch, generator, device):
        return {"squared": (model(self.rows[batch]) - self.targets[batch]).square().mean()}


def recipe(**optimisation):
    options = {"epochs": 3, "batch_size": 8, "learning_rate": 0.01, "optimiser": "adam", "epsilon": 1e-3}
    return parse_recipe(
        {
            "name": "tiny",
            "task": "alignment",
            "model": {"image": {"name": "none"}, "text": {"name": "none"}},
            "objectives": {"contrastive": {}},
            "optimisation": {**options, "precision": "pure_fp16", **optimisation},
        }
    )


def run(folder, task=None, on_progress=None, kind=Accelerator, **optimisation):
    """The task after training, and what came of it."""
    AcceleratorState._reset_state()  # an earlier test of this process may have left another number format
    task = NoisyTask() if task is None else task
    accelerator = kind(cpu=True, mixed_precision="no")
    often = 1e9 if on_progress is None else 0.0  # seconds between two states, which cost more than the steps
    return task, train(task, recipe(**optimisation), Path(folder), accelerator, on_progress, often)


if __name__ == "__main__":
    out = Path(sys.argv[1])
    task, _ = run(out / "run", StillTask())
    rank = torch.distributed.get_rank()
    torch.save(task.model.state_dict(), out / f"{rank}.pt")
    torch.distributed.destroy_process_group()
