"""A model opened with its weights to explain its answers; exported towers have no gradients to ask.

Axes: H, W pixels of a picture as the model reads it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from passerby.errors import CheckpointError, ConfigError
from passerby.models.checkpoint import read_checkpoint
from passerby.models.clip_folder import read_clip
from passerby.models.dual_encoder import DualEncoder
from passerby.models.explained import Explanation
from passerby.models.explaining import Places, explain_pair
from passerby.models.restore import restore_encoder
from passerby.models.sources import is_clip_folder, locate
from passerby.models.tokenizer import Tokenizer


class Explainer:
    """A dual encoder with its tokenizer, in float32 on the CPU. Made by `open_explainer`.

    Args:
        model: any dual encoder; it is put into evaluation mode.
        tokenizer: its own.
    """

    def __init__(self, model: DualEncoder, tokenizer: Tokenizer) -> None:
        self.model, self._tokenizer = model.eval(), tokenizer
        self._mean = torch.tensor(model.preprocessing.mean).view(1, 3, 1, 1)
        self._std = torch.tensor(model.preprocessing.std).view(1, 3, 1, 1)

    def explain(self, pixels: np.ndarray, sentence: str) -> Explanation:
        """Explain the score of a picture (H, W, 3) uint8, as large as the model reads it, and a sentence.

        Raises:
            ConfigError: the model's tokens have no places.
        """
        return explain_pair(self.model, self._normalised(pixels), sentence, self.encode)

    def places(self, pixels: np.ndarray) -> Places:
        """A picture (H, W, 3) uint8 inside the model.

        Raises:
            ConfigError: the model's tokens have no places.
        """
        return Places(self.model, self._normalised(pixels))

    @torch.no_grad()
    def encode(self, sentences: Sequence[str]) -> Tensor:
        """Sentences to unit vectors (M, D)."""
        return self.model.encode_texts(torch.from_numpy(self._tokenizer.encode(sentences)))

    def _normalised(self, pixels: np.ndarray) -> Tensor:
        images = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None].float() / 255  # (1, 3, H, W)
        return (images - self._mean) / self._std


def open_explainer(name: str, fingerprint: str) -> Explainer:
    """Open a model with its weights.

    Args:
        name: what `load` was given.
        fingerprint: of the model that is to be explained.

    Raises:
        CheckpointError: the model has no weights, or is another by now.
        ConfigError: the model reads pictures alone.
    """
    source = locate(name)
    if is_clip_folder(source.folder):
        clip = read_clip(source.folder)
        return Explainer(clip.model, clip.tokenizer)
    checkpoint = read_checkpoint(source.folder)
    if checkpoint.config.fingerprint != fingerprint:
        raise CheckpointError(f"{name} has changed since it was loaded; load it again to explain its answers")
    model = restore_encoder(checkpoint)
    if not isinstance(model, DualEncoder):
        raise ConfigError(f"{name} reads pictures alone, so no sentence can be explained; take a dual encoder")
    return Explainer(model, checkpoint.tokenizer())
