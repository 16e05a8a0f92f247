"""Public checkpoints of text-based person search (IRRA, RDE, ITSELF) and plain CLIPs in OpenAI's names, in our terms.

Their files are pickles, so they are read by PyTorch's weights-only reader, which builds tensors and nothing else. Names
are translated; shapes say the rest (depth, widths, patch, picture size), so nothing is guessed from a file's name. What
only training needed (classifiers, cross-modal layers, second normalisations) is named and left behind.

Axes: C channels, D width of the shared space, E width of the local branch.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from passerby.errors import CheckpointError
from passerby.models.clip_resize import at_size
from passerby.models.dual_encoder import DualEncoder, build_dual_encoder
from passerby.models.itself import Itself
from passerby.models.itself_options import LocalOptions
from passerby.models.openai_names import clip_of_state
from passerby.models.restore import load_tensors

_LOGGER = logging.getLogger(__name__)

#: Parts of a state that only training needed, by the beginning of their names.
_LEFT_BEHIND = (
    "classifier", "mlp_global", "mlp_grab", "cross_attn", "cross_modal_transformer", "ln_pre_t", "ln_pre_i", "ln_post",
    "mlm_head", "visul_emb_layer.linear.", "visul_emb_layer.mlp.bns.1.", "texual_emb_layer.mlp.bns.1.",
)  # fmt: skip
#: Names of the local heads, theirs -> ours.
_HEADS = (
    (r"^visul_emb_layer\.fc\.", "image_local.shortcut."),
    (r"^texual_emb_layer\.linear\.", "text_local.shortcut."),
    (r"^visul_emb_layer\.", "image_local."),
    (r"^texual_emb_layer\.", "text_local."),
    (r"\.mlp\.layers\.0\.", ".widen."),
    (r"\.mlp\.layers\.1\.", ".narrow."),
    (r"\.mlp\.bns\.0\.", ".between."),
)


@dataclass(frozen=True, slots=True)
class Published:
    """A public checkpoint in our terms.

    Attributes:
        model: in evaluation mode; an `Itself` where the checkpoint has a local branch.
        method: "clip", "irra", "rde" or "itself", told by what is in the file.
        left_behind: names of weights that were for training alone.
    """

    model: DualEncoder
    method: str
    left_behind: tuple[str, ...]


def read_published(
    path: Path,
    *,
    image_size: tuple[int, int] = (384, 128),
    stride: int | None = None,
    resample: bool = False,
    text_heads: int | None = None,
) -> Published:
    """Read a public checkpoint.

    Args:
        path: ``best.pth`` of IRRA, RDE or ITSELF, or a state of a CLIP in OpenAI's names (``.pt``, ``.pth`` or
            ``.safetensors``).
        image_size: (height, width) in pixels that it was trained for, or is to be brought to.
        stride: pixels from one patch to the next; the patch's side when None.
        resample: whether positions may be interpolated where the checkpoint is of another picture size.
        text_heads: attention heads of the text tower; one for each 64 channels when None.

    Raises:
        CheckpointError: the file is missing, damaged, a TorchScript archive, no such model, or of another picture
            size and `resample` is not set.
        ConfigError: the size does not fit the patches.
    """
    state = read_state(path)
    clip = {name.removeprefix("base_model."): value for name, value in state.items() if name.startswith("base_model.")}
    heads = {name: value for name, value in state.items() if re.match(r"(visul|texual)_emb_layer\.", name)}
    parts = clip_of_state(clip or state, str(path), image_size, stride, text_heads)
    found = (int(parts.image["image_size"][0]), int(parts.image["image_size"][1]))
    if found != image_size:
        if not resample:
            raise CheckpointError(
                f"{path} is of {found[0]}x{found[1]} pixels, and {image_size[0]}x{image_size[1]} were asked for; ask "
                "with resample=True to have its positions interpolated, or give its own size"
            )
        _LOGGER.warning("%s: positions interpolated from %dx%d to %dx%d pixels", path, *found, *image_size)
        parts = at_size(parts, image_size, stride)
    encoder = build_dual_encoder(
        {
            "image": {"name": "clip", "options": parts.image},
            "text": {"name": "clip", "options": parts.text},
            "embedding_dim": parts.embedding_dim,
        }
    )
    tensors = dict(parts.tensors)
    tensors.setdefault("log_scale", encoder.log_scale.detach())
    encoder.image_tower.preprocessing = parts.preprocessing
    method = _method(state, bool(clip), bool(heads))
    if heads:
        dim = int(heads["visul_emb_layer.fc.weight"].shape[0])
        encoder = Itself(encoder, _release(dim, method))
        tensors |= _translated_heads(heads)
    load_tensors(encoder, {name: value.float().numpy() for name, value in tensors.items()}, str(path))
    left = tuple(sorted(name for name in state if name.startswith(_LEFT_BEHIND)))
    return Published(encoder.eval(), method, left)


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name, read without building anything but tensors.

    Raises:
        CheckpointError: the file is missing, holds more than tensors, or is a TorchScript archive.
    """
    if not path.is_file():
        raise CheckpointError(f"no file at {path}; a public checkpoint is one file, such as best.pth")
    try:
        tree: Any = load_file(path) if path.suffix == ".safetensors" else _unpickled(path)
    except CheckpointError:
        raise
    except Exception as error:  # the readers raise many types
        if "TorchScript" in str(error):
            raise CheckpointError(
                f"{path} is a TorchScript archive, as OpenAI published its CLIPs, which is a program and no weights; "
                "take the same weights as hf:openai/clip-vit-base-patch16 or hf:timm/vit_base_patch16_clip_224.openai"
            ) from error
        raise CheckpointError(
            f"{path} cannot be read as weights ({type(error).__name__}); it is damaged, or holds objects that would "
            "run code and are not opened"
        ) from error
    for key in ("model", "state_dict"):
        if isinstance(tree, Mapping) and isinstance(tree.get(key), Mapping):
            tree = tree[key]
    if not isinstance(tree, Mapping):
        raise CheckpointError(f"{path} holds a {type(tree).__name__}; expected weights by name")
    state = {str(name).removeprefix("module."): value for name, value in tree.items() if isinstance(value, Tensor)}
    if not state:
        raise CheckpointError(f"{path} holds no weights")
    return state


def _unpickled(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


def _method(state: Mapping[str, Tensor], wrapped: bool, local: bool) -> str:
    if not local:
        return "irra" if wrapped else "clip"
    return "itself" if any(name.startswith(("mlp_grab", "classifier_grab")) for name in state) else "rde"


def _release(dim: int, method: str) -> LocalOptions:
    """How the releases select at test: by the last layer; 40 % of the tokens in ITSELF, 30 % in RDE."""
    if method == "itself":
        return LocalOptions(dim, schedule="step", compat=("last_layer_test",))
    return LocalOptions(dim, selector="last", ratio=0.3)


def _translated_heads(heads: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found = {}
    for name, value in heads.items():
        if name.startswith(_LEFT_BEHIND) and not name.startswith("texual_emb_layer.linear."):
            continue
        if name.endswith("num_batches_tracked"):
            continue
        ours = name
        for pattern, replacement in _HEADS:
            ours = re.sub(pattern, replacement, ours)
        found[ours] = value
    return found
