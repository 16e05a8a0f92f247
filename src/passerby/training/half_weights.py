"""Weights that are fp16 numbers and are moved in fp16, as the released ITSELF, IRRA and RDE train theirs.

The releases have no float32 copy of such weights and do not scale the loss. A step below half of the distance to the
next fp16 number is rounded away: at a rate of 1e-5 nothing above 1/32 ever moves. An optimiser of float32 weights is
therefore another recipe. Here the optimiser holds fp16 copies in the place of the weights, so that its moments and its
arithmetic are those that PyTorch has for fp16 parameters; the model takes over what they have become. It keeps its
float32 storage, from which autocast's cast to fp16 is then exact, and so is a state that is written and read.

What stays different from the releases: activations between layers and what normalisations give are float32 under
autocast, fp16 there; the heads of losses multiply in float32 (the releases' classifiers of people and of masked words
do not), and those of pairs are not rounded at their start, which ITSELF's are before it casts them back; gradients of
accumulated parts and of several processes are added up before they are rounded; a moving average and a validation read
the weights in float32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from passerby.nn.pair_head import PairHead

#: What the releases convert; the weights and biases of normalisations, embeddings and positions are none of it.
_CONVERTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.MultiheadAttention)
#: ITSELF casts its heads of pairs back in every step, the first of which makes them float32 for good. A matrix that is
#: an embedding too stays what the embedding is.
_KEPT = (PairHead, nn.Embedding)


def half_weights(model: nn.Module) -> list[nn.Parameter]:
    """The weights and biases of linear layers, convolutions and attention, CLIP's projections among them, each once.

    Args:
        model: the encoder with the heads of its losses.
    """
    kept = {id(one) for part in model.modules() if isinstance(part, _KEPT) for one in part.parameters()}
    parts = [part for part in model.modules() if isinstance(part, _CONVERTED)]
    found = {id(one): one for part in parts for one in part.parameters(recurse=False)}
    return [one for key, one in found.items() if key not in kept]


@torch.no_grad()
def train_in_half(optimiser: torch.optim.Optimizer, model: nn.Module) -> None:
    """Round the model's `half_weights`, and let a new optimiser move fp16 copies in their place from now on.

    A step uses the gradients up: those of the weights are None after it.

    Args:
        optimiser: of PyTorch, over the model's parameters in any groups; it has not made a step yet.
        model: on the device that it is trained on. Its modules, parameters and their storage stay the same ones, which
            data-parallel training, moving averages and states rely on.
    """
    copies: dict[int, nn.Parameter] = {}
    for weight in half_weights(model):
        copies[id(weight)] = nn.Parameter(weight.half())
        weight.copy_(copies[id(weight)])
    pairs: list[tuple[nn.Parameter, nn.Parameter]] = []
    for group in optimiser.param_groups:
        pairs += [(weight, copies[id(weight)]) for weight in group["params"] if id(weight) in copies]
        group["params"] = [copies.get(id(weight), weight) for weight in group["params"]]
        group["fused"] = False  # a fused kernel rounds once where the releases' optimiser rounds after each operation

    @torch.no_grad()
    def narrow(*_: Any) -> None:
        for weight, copy in pairs:
            copy.copy_(weight)  # which a state may have brought meanwhile
            copy.grad = None if weight.grad is None else weight.grad.half()

    @torch.no_grad()
    def widen(*_: Any) -> None:
        for weight, copy in pairs:
            weight.copy_(copy)
            weight.grad = copy.grad = None

    optimiser.register_step_pre_hook(narrow)
    optimiser.register_step_post_hook(widen)
