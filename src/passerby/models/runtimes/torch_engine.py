"""The torch model itself as a runtime, in float32: the reference that the exported towers are compared with.

Axes: B pictures or sentences, H rows, W columns, L token ids, D width of the shared space.
"""

from __future__ import annotations

import numpy as np
import torch

from passerby.errors import ConfigError
from passerby.models.dual_encoder import DualEncoder
from passerby.models.graphs import ImageGraph, TextGraph
from passerby.models.reid import ReidModel


class TorchRuntime:
    """A dual encoder, or an encoder of pictures alone, on a device.

    Args:
        model: the model; it is moved and put into evaluation mode.
        device: "auto" (a GPU where there is one), "cpu" or "cuda".

    Raises:
        ConfigError: "cuda" was asked for and there is none.
    """

    name = "torch"

    def __init__(self, model: DualEncoder | ReidModel, device: str = "auto") -> None:
        self._device = _device(device)
        model = model.to(self._device).eval()
        self._image = ImageGraph(model).to(self._device).eval()
        self._text = TextGraph(model).eval() if isinstance(model, DualEncoder) else None
        kind = torch.cuda.get_device_name(self._device) if self._device.type == "cuda" else "cpu"
        self.detail = f"{kind}, float32, {torch.get_num_threads()} threads"

    @torch.inference_mode()
    def images(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (B, H, W, 3) uint8 -> (B, D) float32."""
        return self._image(torch.from_numpy(pixels).to(self._device)).cpu().numpy()

    @torch.inference_mode()
    def texts(self, ids: np.ndarray) -> np.ndarray:
        """Token ids (B, L) int64 -> (B, D) float32."""
        if self._text is None:
            raise ConfigError("this model reads pictures alone; take a dual encoder to search with sentences")
        return self._text(torch.from_numpy(ids).to(self._device)).cpu().numpy()


def _device(name: str) -> torch.device:
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ConfigError("device 'cuda' was asked for, but torch finds no GPU; use device 'cpu' or 'auto'")
    return torch.device("cuda" if available and name != "cpu" else "cpu")
