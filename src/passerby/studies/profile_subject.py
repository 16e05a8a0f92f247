"""The models that the cost profiler takes: anything that `passerby.load` takes, or two towers by name.

``fastvit_t8@256x128+distilbert`` is an image tower at a size beside a text tower, with random weights: weights decide
neither time nor memory, and nothing has to be fetched.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from passerby.errors import ConfigError
from passerby.models.checkpoint import Checkpoint, read_checkpoint
from passerby.models.dual_encoder import DualEncoder, build_dual_encoder
from passerby.models.sources import is_clip_folder, locate, shipped_models

#: The text tower that stands beside an image tower named alone.
DEFAULT_TEXT = "clip"

_DIM, _VOCABULARY, _CONTEXT = 512, 800, 77
_TOWERS = re.compile(r"(?P<image>[^@+\s]+)(?:@(?P<height>\d+)x(?P<width>\d+))?(?:\+(?P<text>[\w:-]+))?")


@dataclass(frozen=True, slots=True)
class Subject:
    """A model to be profiled.

    Attributes:
        name: as it was given.
        model: with its weights, or random ones.
        context_length: tokens of the longest sentence.
        checkpoint: its folder where it is one of ours.
        bytes: of its weight files; of float32 weights where it has no files.
    """

    name: str
    model: DualEncoder
    context_length: int
    checkpoint: Checkpoint | None
    bytes: int


def open_subject(name: str) -> Subject:
    """Open or build a model.

    Args:
        name: a folder, ``hf:org/name``, a shipped name, or ``IMAGE[@HEIGHTxWIDTH][+TEXT]`` with names of towers.

    Raises:
        ConfigError: no such tower, or it cannot take the size.
        CheckpointError: the folder is damaged.
    """
    if name.startswith("hf:") or name in shipped_models() or Path(name).expanduser().is_dir():
        return _stored(name)
    match = _TOWERS.fullmatch(name)
    if match is None:
        raise ConfigError(
            f"{name!r} is no model; expected a folder, hf:org/name, a shipped name, or towers such as "
            "fastvit_t8@256x128+distilbert"
        )
    return _towers(name, match)


def _stored(name: str) -> Subject:
    folder = locate(name).folder
    size = sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
    if is_clip_folder(folder):
        from passerby.models.clip_folder import read_clip

        clip = read_clip(folder)
        return Subject(name, clip.model, clip.config.tokens, None, size)
    from passerby.models.restore import restore_dual_encoder

    checkpoint = read_checkpoint(folder)
    return Subject(name, restore_dual_encoder(checkpoint), checkpoint.config.tokens, checkpoint, size)


def _towers(name: str, match: re.Match[str]) -> Subject:
    from passerby.models.towers.registry import image_tower_options

    image, text = match["image"], match["text"] or DEFAULT_TEXT
    options = {"weights": "random"} if "weights" in image_tower_options(image) else {}
    size = (int(match["height"]), int(match["width"])) if match["height"] else None
    section = {"image": {"name": image, "options": options}, "text": {"name": text}, "embedding_dim": _DIM}
    # A tower that has a vocabulary of its own keeps it, so that its embeddings are counted as they are.
    own = text in ("clip", "distilbert")
    model = build_dual_encoder(
        section, image_size=size, vocabulary_size=None if own else _VOCABULARY, context_length=None if own else _CONTEXT
    )
    weights = sum(4 * tensor.numel() for tensor in model.state_dict().values())
    longest = int(model.config["text"]["options"].get("context_length", _CONTEXT))
    return Subject(name, model.eval(), longest, None, weights)
