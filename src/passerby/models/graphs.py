"""The two functions that are exported and served: pixels to unit vectors, token ids to unit vectors.

Normalisation is folded into the picture's graph, so whoever runs it hands over bytes and cannot get it wrong. Branches
that a tower has for training alone are merged here, once.

Axes: B pictures or sentences, H rows, W columns, L token ids, D width of the shared space.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from passerby.models.dual_encoder import DualEncoder, unit_rows
from passerby.models.itself import Itself
from passerby.models.reid import ReidModel


class ImageGraph(nn.Module):
    """Pixels (B, H, W, 3) uint8 -> unit vectors (B, D) float32."""

    scale: Tensor
    offset: Tensor

    def __init__(self, model: DualEncoder | ReidModel) -> None:
        super().__init__()
        self.encoder = _picture_encoder(model)
        mean = torch.tensor(model.preprocessing.mean).view(1, 3, 1, 1)
        std = torch.tensor(model.preprocessing.std).view(1, 3, 1, 1)
        # (x / 255 - mean) / std as one multiplication and one subtraction.
        self.register_buffer("scale", 1 / (255 * std), persistent=False)
        self.register_buffer("offset", mean / std, persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalise and encode."""
        images = pixels.permute(0, 3, 1, 2).float() * self.scale - self.offset  # (B, 3, H, W)
        return unit_rows(self.encoder(images))


class TextGraph(nn.Module):
    """Token ids (B, L) int64, 0 = padding -> unit vectors (B, D) float32."""

    def __init__(self, model: DualEncoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor) -> Tensor:
        """Encode."""
        return self.model.encode_texts(ids)


class _BothBranches(nn.Module):
    """Normalised pictures (B, 3, H, W) -> vectors (B, D) of a model with a local branch."""

    def __init__(self, model: Itself) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Encode."""
        return self.model.encode_images(images)


def _picture_encoder(model: DualEncoder | ReidModel) -> nn.Module:
    """Normalised pictures to vectors of any length, with what was for training alone merged."""
    if isinstance(model, Itself):
        return _BothBranches(model)  # its towers are transformers, which have no branches to merge
    return nn.Sequential(model.image_tower.fused(), model.image_projection)
