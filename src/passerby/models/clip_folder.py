"""A CLIP folder of transformers or open_clip as a dual encoder, ready to be used as it is (zero-shot)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from passerby.models.checkpoint import TOKENIZER, CheckpointConfig, fingerprint
from passerby.models.clip_formats import ClipParts, read_clip_parts
from passerby.models.clip_resize import at_size
from passerby.models.dual_encoder import DualEncoder, build_dual_encoder
from passerby.models.licences import weights_licence
from passerby.models.restore import load_tensors
from passerby.models.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class ClipModel:
    """A CLIP in our own terms."""

    model: DualEncoder
    tokenizer: Tokenizer
    config: CheckpointConfig


def read_clip(folder: Path, image_size: tuple[int, int] | None = None, stride: int | None = None) -> ClipModel:
    """Read a CLIP folder.

    Args:
        folder: in transformers' or open_clip's form.
        image_size: (height, width) in pixels that positions are brought to; the CLIP's own when None.
        stride: pixels from one patch to the next; the patch's side when None.

    Raises:
        ConfigError: the size or stride does not fit the patches.
        CheckpointError: a file is missing or damaged, or the weights do not fit the configuration.
    """
    parts = at_size(read_clip_parts(folder), image_size, stride)
    tokenizer = Tokenizer.from_file(folder / TOKENIZER, parts.text["context_length"])
    model = build_dual_encoder(
        {
            "image": {"name": parts.image_name, "options": parts.image},
            "text": {"name": "clip", "options": parts.text},
            "embedding_dim": parts.embedding_dim,
            "projection": parts.projection,
        }
    )
    model.image_tower.preprocessing = parts.preprocessing
    tensors = {name: tensor.numpy() for name, tensor in parts.tensors.items()}
    load_tensors(model, tensors, str(folder))
    config = CheckpointConfig(
        model=model.config,
        preprocessing=parts.preprocessing,
        context_length=parts.text["context_length"],
        name=folder.name,
        trained_on="see its origin",
        licence=_licence(parts),
        about="A CLIP, used as it is.",
    )
    mark = fingerprint(tensors, config.model, config.preprocessing, tokenizer.to_json())
    return ClipModel(model.eval(), tokenizer, replace(config, fingerprint=mark))


def _licence(parts: ClipParts) -> str:
    """Of the weights: known for a MobileCLIP, the maker's own for any other."""
    mobile = weights_licence("timm", parts.image) if parts.image_name == "timm" else None
    return mobile or "see its origin"
