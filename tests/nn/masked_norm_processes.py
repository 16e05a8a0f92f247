"""Run by test_masked_norm.py in each of two gloo processes: a step of masked batch normalisation, written by rank 0.

Usage: python masked_norm_processes.py RANK WORLD PORT OUT
"""

import os
import sys

import torch
import torch.distributed as dist

from passerby.nn.masked_norm import MaskedBatchNorm
from passerby.nn.process_total import process_total

ROWS, CHANNELS, STEPS = 10, 4, 3


def train(rank, world, masked):
    """Three steps on this process's share of the rows; outputs, gradients and running statistics.

    Shares are uneven (7 and 3 rows), because groups of sentences are.
    """
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(1)
    before, norm = torch.nn.Linear(3, CHANNELS), MaskedBatchNorm(CHANNELS).train()
    weights = torch.randn(ROWS, CHANNELS, generator=generator)
    mine = slice(0, ROWS) if world == 1 else slice(0, 7) if rank == 0 else slice(7, ROWS)
    outputs = []
    for _ in range(STEPS):
        values, keep = torch.randn(ROWS, 3, generator=generator) * 2 + 1, torch.rand(ROWS, generator=generator) < 0.7
        found = norm(before(values[mine]), keep[mine] if masked else None)
        kept = keep[mine, None] if masked else 1.0
        (found.square() * weights[mine] * kept).sum().backward()
        outputs.append((found * kept).detach())
    parameters = [*before.parameters(), *norm.parameters()]
    return torch.cat(outputs), [one.grad for one in parameters], [norm.running_mean, norm.running_var]


def main():
    rank, world, port, out = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    dist.init_process_group("gloo", rank=rank, world_size=world)
    found = {}
    for masked in (False, True):
        outputs, grads, running = train(rank, world, masked)
        for tensor in grads:
            dist.all_reduce(tensor)  # the loss is a sum over all rows
        found[masked] = {"outputs": outputs, "grads": grads, "running": running}
    part = torch.full((2,), rank + 1.0, requires_grad=True)
    total = process_total(part)
    (total * (rank + 2)).sum().backward()
    found["total"] = total.detach(), part.grad
    torch.save(found, f"{out}.{rank}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
