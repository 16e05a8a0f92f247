"""From a task's parameter groups to the optimiser that a recipe names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from passerby.training.muon import Muon
from passerby.training.recipe import OptimisationConfig

_MOMENTUM = 0.9


def build_optimiser(
    groups: Sequence[dict[str, Any]], options: OptimisationConfig, embeddings: Iterable[torch.Tensor] = ()
) -> torch.optim.Optimizer:
    """Build the optimiser of a recipe.

    Each group remembers its own rate as ``base_lr``, which the loop multiplies by the schedule's factor.

    Args:
        groups: ``params``, and optionally ``rate`` (factor of the learning rate) and ``weight_decay``.
        options: the recipe's section.
        embeddings: tables of vectors, whose rows Muon must not mix.
    """
    rated = [_with_rate(group, options.learning_rate) for group in groups]
    rate, decay = options.learning_rate, options.weight_decay
    if options.optimiser == "sgd":
        return torch.optim.SGD(rated, lr=rate, momentum=_MOMENTUM, weight_decay=decay)
    if options.optimiser == "adam":
        return torch.optim.Adam(rated, lr=rate, weight_decay=decay, fused=True)  # one pass over the memory
    if options.optimiser == "adamw":
        return torch.optim.AdamW(rated, lr=rate, weight_decay=decay, fused=True)
    tables = {id(table) for table in embeddings}
    split = [part for group in rated for part in _by_kind(group, tables, options.matrix_rate)]
    return Muon(split, lr=rate, weight_decay=decay, momentum=options.matrix_momentum)


def embedding_tables(model: nn.Module) -> list[torch.Tensor]:
    """The weights of a model's embeddings."""
    return [module.weight for module in model.modules() if isinstance(module, nn.Embedding)]


def _with_rate(group: dict[str, Any], learning_rate: float) -> dict[str, Any]:
    """A task's group as the optimiser takes it: its own factor of the learning rate multiplied out."""
    base = learning_rate * group.get("rate", 1.0)
    return {**{key: value for key, value in group.items() if key != "rate"}, "lr": base, "base_lr": base}


def _by_kind(group: dict[str, Any], tables: set[int], matrix_rate: float) -> Iterator[dict[str, Any]]:
    """Part a group into its matrices and everything else, leaving out what would be empty."""
    parameters = list(group["params"])
    matrices = [one for one in parameters if one.ndim > 1 and id(one) not in tables]
    chosen = {id(one) for one in matrices}
    rest = [one for one in parameters if id(one) not in chosen]
    rate = group["lr"] * matrix_rate
    if matrices:
        yield {**group, "params": matrices, "matrices": True, "lr": rate, "base_lr": rate}
    if rest:
        yield {**group, "params": rest, "matrices": False}
