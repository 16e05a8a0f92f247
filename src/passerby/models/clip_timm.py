"""MobileCLIP's image towers in open_clip's form: a trunk of timm whose classifier is the projection.

Only the trunks that MobileCLIP and MobileCLIP2 (Vasu et al. 2024, Faghri et al. 2025) were published with are taken,
because pooling and head differ from one family of timm to the next and a wrong one would still give vectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from passerby.errors import CheckpointError

#: Trunk -> the pooling that it was trained with.
TRUNKS: Mapping[str, str] = {
    **{f"fastvit_mci{size}": "avg" for size in range(5)},
    "vit_base_mci_224": "token",
}
#: Fragments of names, theirs -> ours. FastViT keeps its classifier in `head.fc`, a ViT in `head`.
TRUNK_NAMES = (
    (r"^visual\.trunk\.head\.(?:fc\.)?(weight|bias)$", r"image_projection.\1"),
    (r"^visual\.trunk\.", "image_tower.network."),
)
_FIXED: Mapping[str, Any] = {"timm_proj": (None, ""), "timm_proj_bias": (None, False)}
_FREE = frozenset(
    {"timm_model_name", "timm_model_pretrained", "timm_pool", "timm_drop", "timm_drop_path", "image_size"}
)


def trunk_options(folder: Path, vision: Mapping[str, Any]) -> dict[str, Any]:
    """Options of our tower ``timm`` for the ``vision_cfg`` of a MobileCLIP.

    Args:
        folder: where the model lies, for the error.
        vision: open_clip's ``vision_cfg``, with ``timm_model_name``.

    Raises:
        CheckpointError: the trunk is no MobileCLIP's, or a key asks for another head; the message names it.
    """
    name = vision["timm_model_name"]
    if name not in TRUNKS:
        raise _variant(folder, "timm_model_name", name, f"known trunks: {', '.join(TRUNKS)}")
    if vision.get("timm_pool", TRUNKS[name]) != TRUNKS[name]:
        raise _variant(folder, "timm_pool", vision["timm_pool"], f"{name} was trained with {TRUNKS[name]!r}")
    for key, value in vision.items():
        if key not in _FREE and value not in _FIXED.get(key, (None, False)):
            raise _variant(folder, key, value, "the classifier of the trunk is the projection")
    size = vision.get("image_size", 224)
    return {"source": name, "image_size": [size, size] if isinstance(size, int) else list(size), "weights": "random"}


def with_text_bias(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights with an offset of zeros for the sentences' projection, as the pictures' has one of its own."""
    width = tensors["text_projection.weight"].shape[0]
    return {**tensors, "text_projection.bias": torch.zeros(width)}


def _variant(folder: Path, key: str, value: Any, why: str) -> CheckpointError:
    return CheckpointError(
        f"{folder}: vision_cfg.{key}={value!r} asks for a CLIP variant that passerby does not have ({why}); use a "
        "plain CLIP with a vision transformer, or a MobileCLIP"
    )
