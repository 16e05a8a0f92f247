"""Ghost batches: parts of a batch whose batch normalisations know nothing of each other (Hoffer et al. 2017, alg. 1).

Each part goes through a copy of the network that shares its weights and has running statistics of its own; afterwards
the network's are the mean of theirs. The parts touch nothing in common, so they may be computed at the same time.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class GhostBatches:
    """As many copies of a network as a batch has parts, made when they are first needed.

    Args:
        network: whose weights all copies share, and whose running statistics are kept up to date.
        parts: how many, at least 1.
    """

    def __init__(self, network: nn.Module, parts: int) -> None:
        self.parts = parts
        self._network = network
        self._copies: list[nn.Module] = []

    def copies(self) -> list[nn.Module]:
        """One network for each part, with the statistics that the network has now."""
        if not self._copies or _places(self._copies[0]) != _places(self._network):
            shared = {id(parameter): parameter for parameter in self._network.parameters()}
            self._copies = [copy.deepcopy(self._network, dict(shared)) for _ in range(self.parts)]
        with torch.no_grad():
            for one in self._copies:
                one.train(self._network.training)
                for mine, given in zip(one.buffers(), self._network.buffers(), strict=True):
                    mine.copy_(given)
        return self._copies

    def gather_statistics(self, used: int) -> None:
        """Give the network the mean of what the first `used` copies have counted since `copies`."""
        counted = [one.buffers() for one in self._copies[:used]]
        with torch.no_grad():
            for mine, *theirs in zip(self._network.buffers(), *counted, strict=True):
                mine.copy_(_mean(theirs))


def _mean(tensors: list[Tensor]) -> Tensor:
    """The mean; of whole numbers, such as counts of batches, the first."""
    return torch.stack(tensors).mean(dim=0) if tensors[0].is_floating_point() else tensors[0]


def _places(network: nn.Module) -> list[tuple[int, torch.device]]:
    """What a copy must share with its network: the very parameters, and where its buffers are."""
    return [(id(parameter), parameter.device) for parameter in network.parameters()] + [
        (0, buffer.device) for buffer in network.buffers()
    ]
