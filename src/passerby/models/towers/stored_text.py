"""The text tower of one of our own checkpoints, to begin another model with: ``passerby:street``, ``passerby:FOLDER``.

What is built is that tower itself, under its own name and options, so that the new model's checkpoint needs the old one
no more. With the model that passerby ships it is a sentence encoder that needs no network.
"""

from __future__ import annotations

from passerby.errors import CheckpointError
from passerby.models.sources import locate
from passerby.models.tokenizer import Tokenizer
from passerby.models.towers.base import TextTower
from passerby.models.towers.registry import register_text_tower, text_tower

_PREFIX = "text_tower."


@register_text_tower("passerby")
class StoredText:
    """A name for the text towers of checkpoints; calling it gives the tower, with the weights of the checkpoint.

    Args:
        source: a folder, ``hf:org/name`` or a shipped name.

    Raises:
        CheckpointError: there is no such checkpoint, it is damaged, or it has no text tower that stands alone.
    """

    def __new__(cls, source: str) -> TextTower:  # type: ignore[misc]
        """The tower itself."""
        from passerby.models.checkpoint import read_checkpoint
        from passerby.models.restore import load_tensors

        checkpoint = read_checkpoint(locate(source).folder)
        config = checkpoint.config.model
        if "text" not in config or config.get("attention"):
            raise CheckpointError(
                f"the text tower of {source} does not stand alone: it is a {checkpoint.config.kind} model"
                f"{' with an attention mechanism' if config.get('attention') else ''}; expected a plain dual encoder"
            )
        tower = text_tower(config["text"]["name"], **config["text"]["options"])
        tensors = {
            name.removeprefix(_PREFIX): tensor
            for name, tensor in checkpoint.tensors().items()
            if name.startswith(_PREFIX)
        }
        load_tensors(tower, tensors, str(checkpoint.folder))
        return tower

    @classmethod
    def tokenizer_of(cls, source: str, context_length: int) -> Tokenizer:
        """The tokenizer of the checkpoint."""
        from passerby.models.checkpoint import TOKENIZER

        return Tokenizer.from_file(locate(source).folder / TOKENIZER, context_length)
