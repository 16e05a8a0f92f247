"""The last reduction of a convolutional network taken back: a map of twice the height and width.

Person re-identification keeps the last stage at the resolution of the one before ("last stride 1", Luo et al. 2019,
section 3.3): four times as many cells at little cost, and weights that fit unchanged. Nothing is dilated.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from passerby.errors import ConfigError

_STRIDED = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)


def undo_last_stride(network: nn.Module, image_size: tuple[int, int]) -> None:
    """Set the stride of the layers that make the smallest map to 1, in place.

    Args:
        network: with ``forward_features``, as timm's models have it.
        image_size: (H, W) of its pictures.

    Raises:
        ConfigError: the network has no strided layer before its last map, as a plain transformer has none.
    """
    sizes: dict[Any, tuple[int, int]] = {}

    def look(module: nn.Module, _: Any, output: Tensor) -> None:
        sizes[module] = (int(output.shape[-2]), int(output.shape[-1]))

    strided = [
        module for module in network.modules() if isinstance(module, _STRIDED) and _pair(module.stride) != (1, 1)
    ]
    hooks = [module.register_forward_hook(look) for module in strided]
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad():
            network.forward_features(torch.zeros(1, 3, *image_size))  # type: ignore[operator]
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    if len(set(sizes.values())) < 2:
        raise ConfigError(
            f"last_stride 1: this {type(network).__name__} does not reduce its pictures in stages; leave the option out"
        )
    smallest = min(sizes.values())
    for module, size in sizes.items():
        if size == smallest:
            module.stride = (1, 1)
            if isinstance(module, nn.AvgPool2d):
                module.kernel_size = (1, 1)


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))
