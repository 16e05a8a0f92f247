"""A state with OpenAI's names for the weights of a CLIP, without a configuration: its shapes say what it is.

IRRA, RDE and ITSELF keep these names below a prefix of their own. The number of attention heads is in no shape; every
CLIP with a vision transformer has one for each 64 channels.

Axes: C channels, D width of the shared space, P patches.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from passerby.errors import CheckpointError
from passerby.models.clip_formats import ClipParts, translate_openai
from passerby.models.preprocessing import CLIP_MEAN, CLIP_STD, Preprocessing
from passerby.nn.position_grid import patch_grid

_HEAD = 64
_NEEDED = ("visual.conv1.weight", "visual.positional_embedding", "visual.proj", "token_embedding.weight",
           "positional_embedding", "text_projection")  # fmt: skip


def clip_of_state(
    state: Mapping[str, Tensor],
    origin: str,
    image_size: tuple[int, int],
    stride: int | None = None,
    text_heads: int | None = None,
    image_heads: int | None = None,
) -> ClipParts:
    """A CLIP out of its state.

    Args:
        state: weights under OpenAI's names.
        origin: where they come from, for errors.
        image_size: (height, width) in pixels that they are expected to be for; where the number of positions says
            otherwise, the square that it fits is taken.
        stride: pixels from one patch to the next; the patch's side when None.
        text_heads: attention heads of the text tower; one for each 64 channels when None.
        image_heads: attention heads of the image tower, likewise.

    Raises:
        CheckpointError: a weight is missing, it is a ResNet, or its positions fit neither the size nor a square.
    """
    missing = [name for name in _NEEDED if name not in state]
    if missing:
        what = "a ResNet, which passerby does not have" if "visual.layer1.0.conv1.weight" in state else "no CLIP"
        raise CheckpointError(f"{origin} lacks the weight {missing[0]!r}; it is {what}")
    channels, _, patch, _ = state["visual.conv1.weight"].shape
    size = _size_of(len(state["visual.positional_embedding"]) - 1, patch, image_size, stride, origin)
    image: dict[str, Any] = {
        "image_size": list(size),
        "patch": patch,
        "channels": channels,
        "layers": _layers(state, "visual.transformer.resblocks."),
        "heads": image_heads or max(1, channels // _HEAD),
        "mlp_width": int(state["visual.transformer.resblocks.0.mlp.c_fc.weight"].shape[0]),
        "activation": "quick_gelu",
    }
    if stride not in (None, patch) and size == image_size:
        image["stride"] = stride
    width = int(state["token_embedding.weight"].shape[1])
    text = {
        "vocabulary_size": int(state["token_embedding.weight"].shape[0]),
        "context_length": int(state["positional_embedding"].shape[0]),
        "channels": width,
        "layers": _layers(state, "transformer.resblocks."),
        "heads": text_heads or max(1, width // _HEAD),
        "mlp_width": int(state["transformer.resblocks.0.mlp.c_fc.weight"].shape[0]),
        "activation": "quick_gelu",
        "end_id": None,
    }
    tensors = translate_openai({name: value for name, value in state.items() if _of_clip(name)})
    preprocessing = Preprocessing(size, CLIP_MEAN, CLIP_STD, "bilinear")
    return ClipParts(image, text, int(state["text_projection"].shape[1]), preprocessing, tensors)


def _of_clip(name: str) -> bool:
    beginnings = ("visual.", "transformer.", "token_embedding.", "ln_final.")
    return name.startswith(beginnings) or name in ("positional_embedding", "text_projection", "logit_scale")


def _layers(state: Mapping[str, Tensor], prefix: str) -> int:
    return 1 + max(int(name.removeprefix(prefix).split(".")[0]) for name in state if name.startswith(prefix))


def _size_of(patches: int, patch: int, expected: tuple[int, int], stride: int | None, origin: str) -> tuple[int, int]:
    """The picture size that a number of positions is for: the expected one, or a square of whole patches."""
    rows, columns = patch_grid(expected, patch, stride or patch)
    if rows * columns == patches:
        return expected
    side = math.isqrt(patches)
    if side * side == patches:
        return side * patch, side * patch
    raise CheckpointError(
        f"{origin} has positions for {patches} patches of {patch} pixels, which is neither {expected[0]}x{expected[1]} "
        "pixels nor a square; give the picture size and stride that it was trained with"
    )
