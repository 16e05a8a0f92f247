"""Run by test_objectives.py in each of two gloo processes: gradients of every objective, written by rank 0.

Usage: python alignment_processes.py RANK WORLD PORT OUT
"""

import os
import sys

import torch
import torch.distributed as dist

from passerby.models.alignment import Moment, PairFeatures
from passerby.training.aligner import Aligner
from passerby.training.objectives import OBJECTIVES, MaskedGroup, Shape, Step, build_objectives
from passerby.training.tasks.alignment_recipe import ObjectivesConfig

ROWS, PEOPLE, WIDTH, WORDS = 8, 5, 6, 11
#: What differs from the defaults, so that no part of a loss is left out.
OPTIONS = {"n_itc": {"second_view": True, "softness": 0.4}, "mlm": {"layers": 1, "heads": 2}, "cid": {"weight": 0.7}}


def objective(name):
    """A fresh objective of that name on two branches, the same in every process."""
    torch.manual_seed(1)
    shape = Shape({"global": WIDTH, "local": 4}, PEOPLE, WORDS)
    built = build_objectives(ObjectivesConfig.model_validate({name: OPTIONS.get(name, {})}), shape)[name]
    for parameter in built.parameters():  # classifiers begin near zero, where wrong gradients look alike
        torch.nn.init.normal_(parameter, std=0.5)
    return built


def loss_of(name, rank, world):
    """The loss of this process's share of a batch, and what it depends on: heads, and maps from inputs to vectors."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(2, ROWS, 5, generator=generator)
    views = torch.randn(3, ROWS, WIDTH, generator=generator)
    tokens = torch.randn(2, ROWS, 3, WIDTH, generator=generator)
    ids, weights = torch.tensor([0, 0, 1, 1, 2, 3, 4, 4]), torch.rand(ROWS, generator=generator)
    masked = torch.rand(ROWS, 3, generator=generator) < 0.5
    mine = slice(rank * ROWS // world, (rank + 1) * ROWS // world)
    torch.manual_seed(2)
    maps = [torch.nn.Linear(5, width) for width in (WIDTH, WIDTH, 4, 4)]
    for index, layer in enumerate(maps):
        torch.manual_seed(10 + index)
        torch.nn.init.normal_(layer.weight)
    images, texts = inputs[0, mine], inputs[1, mine]
    scale = torch.nn.Parameter(torch.tensor(7.0))
    features = PairFeatures(maps[0](images), maps[1](texts), scale, maps[2](images), maps[3](texts))
    places = masked[mine].flatten().nonzero()[:, 0]
    count = len(images)
    group = MaskedGroup(
        torch.arange(count),
        tokens[1, mine] * maps[1](texts)[:, None],
        torch.ones(count, 3, dtype=torch.bool),
        places,
        (torch.arange(ROWS * 3).view(ROWS, 3)[mine].flatten() % WORDS)[places],
    )
    built = objective(name)
    step = Step(
        Aligner.branches(features, ids[mine]),
        ids[mine],
        scale,
        Moment(3, 4).epochs,
        weights[mine],
        tokens[0, mine] * maps[0](images)[:, None],
        (group,),
        torch.nn.functional.normalize(maps[0](images) + views[0, mine]),
        torch.cat([maps[0](images) + views[1, mine], maps[0](images) - views[2, mine]]),
    )
    layers = [parameter for layer in maps for parameter in layer.parameters()]
    return built(step), [*built.parameters(), *layers, scale]


def main():
    rank, world, port, out = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    dist.init_process_group("gloo", rank=rank, world_size=world)
    found = {}
    for name in OBJECTIVES:
        loss, parameters = loss_of(name, rank, world)
        loss.backward()
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        value = loss.detach().clone()
        for tensor in (*grads, value):  # what DistributedDataParallel does with parameter gradients
            dist.all_reduce(tensor)
            tensor /= world
        found[name] = {"loss": value, "grads": grads}
    if rank == 0:
        torch.save(found, out)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
