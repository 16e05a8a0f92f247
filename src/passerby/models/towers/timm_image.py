"""Any timm model as an image tower: size, mean, standard deviation and weights come from its own configuration.

The last feature map (or token sequence) becomes the tokens, timm's own head without its classifier does the pooling,
and the widths are found by a dry run, so no table of models is kept here.

Axes: B pictures, T tokens, C channels of a token, R rows and S columns of a feature map, D width of the pooled vector.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from passerby.errors import ConfigError, MissingExtraError, nearest
from passerby.models.towers.base import ImageTower, Preprocessing
from passerby.models.towers.registry import register_image_tower
from passerby.nn.last_stride import undo_last_stride
from passerby.nn.side_by_side import drops_anything
from passerby.nn.tiled_convolution import tile_convolutions

#: What timm calls the merging of branches, oldest name last.
_MERGES = ("reparameterize", "fuse", "switch_to_deploy")
_WEIGHT_FILES = ("model.safetensors", "open_clip_model.safetensors")


def is_timm_name(name: str) -> bool:
    """Whether timm is installed and knows a model of this name (with or without a tag)."""
    try:
        import timm
    except ImportError:
        return False
    return timm.is_model(name)


def timm_names() -> list[str]:
    """The architectures that timm knows; empty where it is not installed."""
    try:
        import timm
    except ImportError:
        return []
    return timm.list_models()


@register_image_tower("timm")
class TimmImage(ImageTower):
    """A timm model without its classifier.

    Args:
        source: the name in timm, for example ``mobilenetv3_large_100`` or ``vit_base_patch16_clip_224.openai``.
        image_size: (height, width) in pixels; the model's own size when None.
        weights: ``hub`` for the pretrained ones by name, a local folder or ``.safetensors`` file, or ``random``.
        last_stride: 2 as the model is, or 1 for a last map of twice the height and width.

    Shape:
        (B, 3, H, W) -> tokens (B, T, C) -> pooled (B, D).

    Raises:
        ConfigError: timm has no such model, the weights cannot be had, or the model cannot take this image size.
        MissingExtraError: timm is not installed.
    """

    def __init__(
        self, source: str, image_size: tuple[int, int] | None = None, weights: str = "hub", last_stride: int = 2
    ) -> None:
        super().__init__()
        self.source, self.last_stride = source, last_stride
        self.network = _create(source, image_size, weights)
        self.preprocessing = _preprocessing(self.network, image_size)
        if last_stride not in (1, 2):
            raise ConfigError(f"timm:{source}: last_stride is {last_stride!r}; expected 1 or 2")
        if last_stride == 1:
            undo_last_stride(self.network, self.preprocessing.image_size)
        tile_convolutions(self.network)
        self._is_map = False  # whether the features are a map and not a sequence
        self._channels_last = False
        self.width = self._dry_run()
        self.draws = drops_anything(self.network)

    def structure(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The same model at the same size without its pretrained weights."""
        size = list(self.preprocessing.image_size)
        # Only where it is 1: other checkpoints keep the fingerprint that their galleries know.
        stride = {"last_stride": 1} if self.last_stride == 1 else {}
        return {"source": self.source, "image_size": size, "weights": "random", **stride}

    def tokens(self, images: Tensor) -> Tensor:
        """One token per cell of the last map, or timm's own tokens: (B, 3, H, W) -> (B, T, C)."""
        features: Tensor = self.network.forward_features(images)  # type: ignore[operator]
        if features.ndim == 3:
            return features
        return features.flatten(1, 2) if self._channels_last else features.flatten(2).transpose(1, 2)

    def pool(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pool as timm does, with its pre-logits layers: (B, T, C) -> (B, D). Takes no mask."""
        features = tokens
        if self._is_map and self.grid is not None:
            features = tokens.unflatten(1, self.grid)  # (B, R, S, C)
            features = features if self._channels_last else features.permute(0, 3, 1, 2)
        return self.network.forward_head(features, pre_logits=True)  # type: ignore[operator]

    def fused(self) -> ImageTower:
        """A copy whose re-parameterisable blocks (FastViT, MobileOne, RepVGG) are merged; itself where it has none."""
        if not any(hasattr(part, name) for part in self.network.modules() for name in _MERGES):
            return self
        from timm.utils.model import reparameterize_model

        merged = copy.deepcopy(self).eval()
        merged.network = reparameterize_model(merged.network, inplace=True)
        return merged

    def _dry_run(self) -> int:
        height, width = self.preprocessing.image_size
        was_training = self.network.training
        self.network.eval()
        try:
            with torch.no_grad():
                features: Tensor = self.network.forward_features(torch.zeros(1, 3, height, width))  # type: ignore[operator]
                if features.ndim == 4:
                    # Convolutional models give (B, C, R, S), Swin and its like (B, R, S, C).
                    self._channels_last = features.shape[1] != self.network.num_features
                    shape = features.shape[1:3] if self._channels_last else features.shape[2:]
                    self._is_map, self.grid = True, (int(shape[0]), int(shape[1]))
                else:
                    self.grid = _patch_grid(self.network, features.shape[1])
                return int(self.network.forward_head(features, pre_logits=True).shape[-1])  # type: ignore[operator]
        except (AssertionError, RuntimeError, ValueError) as error:
            own = "x".join(str(side) for side in _own_size(self.network))
            raise ConfigError(
                f"timm:{self.source} cannot take pictures of {height}x{width} pixels: {error}; its own size is {own}"
            ) from error
        finally:
            self.network.train(was_training)


def _patch_grid(network: Any, tokens: int) -> tuple[int, int] | None:
    """(R, S) of a vision transformer's patches; None where its tokens are something else."""
    grid = getattr(getattr(network, "patch_embed", None), "grid_size", None)
    if grid is None or len(grid) != 2 or not 0 < grid[0] * grid[1] <= tokens:
        return None
    return int(grid[0]), int(grid[1])


def _create(source: str, image_size: tuple[int, int] | None, weights: str) -> Any:
    try:
        import timm
    except ImportError as error:
        raise MissingExtraError("timm", "train", f"the image tower timm:{source}") from error
    if not timm.is_model(source):
        raise ConfigError(f"timm has no model {source!r}.{nearest(source, timm.list_models())}")
    options: dict[str, Any] = {"num_classes": 0}
    settings = timm.get_pretrained_cfg(source)
    if image_size is not None and settings is not None and settings.fixed_input_size:
        options["img_size"] = tuple(image_size)
    if weights not in ("hub", "random"):
        options["pretrained_cfg_overlay"] = {"file": str(_weight_file(weights, source))}
    try:
        return timm.create_model(source, pretrained=weights != "random", **options)
    except (TypeError, AssertionError, ValueError) as error:
        size = "its own size" if image_size is None else f"{image_size[0]}x{image_size[1]}"
        raise ConfigError(f"timm:{source} cannot be built for {size}: {error}") from error
    except RuntimeError as error:
        raise ConfigError(f"the weights {weights!r} do not fit timm:{source}: {error}") from error
    except Exception as error:  # whatever the hub's client raises when it does not answer
        raise ConfigError(
            f"the pretrained weights of timm:{source} could not be fetched ({type(error).__name__}: {error}); "
            "go online once, give a local copy with weights=FOLDER, or ask for weights=random"
        ) from error


def _weight_file(weights: str, source: str) -> Path:
    path = Path(weights)
    candidates = [path / name for name in _WEIGHT_FILES] if path.is_dir() else [path]
    for candidate in candidates:
        if candidate.is_file() and candidate.suffix == ".safetensors":
            return candidate
    if path.is_file():
        raise ConfigError(f"weights={weights} for timm:{source} is no .safetensors file; pickles are never opened")
    raise ConfigError(
        f"weights={weights!r} for timm:{source}: expected 'hub', 'random', a .safetensors file, or a folder with "
        f"{' or '.join(_WEIGHT_FILES)}"
    )


def _own_size(network: Any) -> tuple[int, int]:
    return tuple(network.pretrained_cfg.get("input_size", (3, 224, 224))[1:])  # type: ignore[return-value]


def _preprocessing(network: Any, image_size: tuple[int, int] | None) -> Preprocessing:
    settings = network.pretrained_cfg
    interpolation = settings.get("interpolation")
    return Preprocessing(
        image_size=(int(image_size[0]), int(image_size[1])) if image_size is not None else _own_size(network),
        mean=tuple(settings.get("mean", (0.485, 0.456, 0.406))),
        std=tuple(settings.get("std", (0.229, 0.224, 0.225))),
        interpolation=interpolation if interpolation in ("bilinear", "bicubic") else "bilinear",
    )
