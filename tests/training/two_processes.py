"""Run by test_gather.py in each of two gloo processes: gradients of one shared batch, written by rank 0.

Usage: python two_processes.py RANK WORLD PORT OUT
"""

import os
import sys

import torch
import torch.distributed as dist

from passerby.losses.identity_contrastive import identity_contrastive
from passerby.training.gather import gather_with_gradient


def batch():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(8, 5, generator=generator), torch.randn(8, 7, generator=generator), torch.arange(8) % 5


def towers():
    torch.manual_seed(1)
    return torch.nn.Linear(5, 4), torch.nn.Linear(7, 4), torch.nn.Parameter(torch.tensor(2.0))


def loss_of(rank, world):
    """The loss of this process's share of the batch, and the parameters it depends on."""
    left, right, scale = towers()
    images, texts, ids = (part.chunk(world)[rank] for part in batch())
    image_vectors = torch.nn.functional.normalize(left(images), dim=1)
    text_vectors = torch.nn.functional.normalize(right(texts), dim=1)
    loss = identity_contrastive(
        image_vectors,
        text_vectors,
        ids,
        scale.exp(),
        gather_with_gradient(image_vectors),
        gather_with_gradient(text_vectors),
        gather_with_gradient(ids),
    )
    return loss, [*left.parameters(), *right.parameters(), scale]


def main():
    rank, world, port, out = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    dist.init_process_group("gloo", rank=rank, world_size=world)
    loss, parameters = loss_of(rank, world)
    loss.backward()
    for parameter in parameters:  # what DistributedDataParallel does with parameter gradients
        dist.all_reduce(parameter.grad)
        parameter.grad /= world
    value = loss.detach().clone()
    dist.all_reduce(value)
    if rank == 0:
        torch.save({"loss": value / world, "grads": [p.grad for p in parameters]}, out)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
