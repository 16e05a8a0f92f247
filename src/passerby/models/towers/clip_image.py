"""CLIP's vision transformer (Radford et al. 2021; Dosovitskiy et al. 2021), our own modules with anybody's weights.

Axes: B pictures, P patches, T = 1 + P tokens with the class token first, C channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from passerby.errors import CheckpointError, ConfigError
from passerby.models.preprocessing import CLIP_MEAN, CLIP_STD
from passerby.models.sources import source_folder
from passerby.models.towers.base import ImageTower, Preprocessing
from passerby.models.towers.registry import register_image_tower
from passerby.nn.position_grid import patch_grid
from passerby.nn.transformer import Stack


@register_image_tower("clip")
class ClipImage(ImageTower):
    """Patches, a class token, pre-LN layers; the normalised class token is the picture.

    Args:
        image_size: (height, width) in pixels; each a patch and some strides.
        patch: side of a patch in pixels.
        channels: C.
        layers: transformer layers.
        heads: attention heads.
        mlp_width: channels inside the perceptrons; 4 * C by default.
        activation: "quick_gelu" for OpenAI's weights, "gelu" for most others.
        stride: pixels from one patch to the next; `patch` by default, fewer make patches overlap.

    Shape:
        (B, 3, H, W) -> tokens (B, T, C) -> pooled (B, C).

    Raises:
        ConfigError: a side cannot be cut into such patches.
    """

    def __init__(
        self,
        image_size: tuple[int, int] = (224, 224),
        patch: int = 32,
        channels: int = 768,
        layers: int = 12,
        heads: int = 12,
        mlp_width: int | None = None,
        activation: str = "quick_gelu",
        stride: int | None = None,
    ) -> None:
        super().__init__()
        self._structure: dict[str, Any] = {
            "image_size": list(image_size),
            "patch": patch,
            "channels": channels,
            "layers": layers,
            "heads": heads,
            "mlp_width": mlp_width,
            "activation": activation,
        }
        if stride not in (None, patch):  # only where it differs, so that plain CLIPs keep their fingerprint
            self._structure["stride"] = stride
        height, width = image_size
        if stride in (None, patch) and (height % patch or width % patch):
            raise ConfigError(f"clip: image_size is {height}x{width}; both must be multiples of the patch, {patch}")
        self.grid = patch_grid((height, width), patch, stride or patch)
        self.preprocessing = Preprocessing(
            image_size=(height, width),
            mean=CLIP_MEAN,
            std=CLIP_STD,
            interpolation="bicubic",
        )
        self.width = channels
        self.patches = nn.Conv2d(3, channels, patch, stride=stride or patch, bias=False)
        self.class_token = nn.Parameter(channels**-0.5 * torch.randn(channels))
        count = self.grid[0] * self.grid[1] + 1
        self.positions = nn.Parameter(channels**-0.5 * torch.randn(count, channels))
        self.norm_before = nn.LayerNorm(channels)
        self.layers = Stack(layers, channels, heads, mlp_width, activation)
        self.norm_after = nn.LayerNorm(channels)

    @classmethod
    def from_source(
        cls, source: str, image_size: tuple[int, int] | None = None, stride: int | None = None
    ) -> ClipImage:
        """The image tower of a CLIP in transformers' or open_clip's form, from a local folder or the hub.

        Args:
            source: a folder, or ``org/name`` on the hub.
            image_size: (height, width) in pixels that its positions are brought to; the CLIP's own when None.
            stride: pixels from one patch to the next; the patch's side when None.

        Raises:
            CheckpointError: the folder holds no CLIP, or its weights are pickled, incomplete or of other shapes.
        """
        from passerby.models.clip_formats import read_clip_parts
        from passerby.models.clip_resize import at_size
        from passerby.models.restore import load_tensors

        parts = read_clip_parts(source_folder(source))
        if parts.image_name != "clip":
            raise CheckpointError(
                f"{source} is a MobileCLIP, whose image tower is no vision transformer of CLIP; use the tower "
                f"{parts.image_name}:{parts.image['source']}, or load the folder as a model"
            )
        parts = at_size(parts, image_size, stride)
        tower = cls(**parts.image)
        tower.preprocessing = parts.preprocessing
        load_tensors(tower, {name: value.numpy() for name, value in parts.of("image_tower").items()}, source)
        return tower

    def structure(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The same shapes without the source."""
        return dict(self._structure)

    def tokens(self, images: Tensor) -> Tensor:
        """The last layer's tokens, class token first: (B, 3, H, W) -> (B, T, C)."""
        patches = self.patches(images).flatten(2).transpose(1, 2)  # (B, P, C)
        first = self.class_token.expand(patches.shape[0], 1, -1)
        return self.layers(self.norm_before(torch.cat([first, patches], dim=1) + self.positions))

    def dense(self, tokens: Tensor) -> Tensor:
        """Every token normalised as the class token is: (B, T, C) -> (B, T, C)."""
        return self.norm_after(tokens)

    def pool(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """The normalised class token: (B, T, C) -> (B, C). Takes no mask."""
        return self.norm_after(tokens[:, 0])
