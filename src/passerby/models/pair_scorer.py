"""A dual encoder's re-ranker in use: one query's sentences against a few pictures, from checkpoint to scores.

The tokens that are kept of a picture depend on nothing but the picture, so a caller may keep them from query to query.

Axes: N pictures, M sentences, T tokens of a picture, W channels of the re-ranker, H, W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from passerby.data.images import resize_image
from passerby.errors import CheckpointError, ConfigError
from passerby.models.checkpoint import read_checkpoint
from passerby.models.dual_encoder import DualEncoder
from passerby.models.preprocessing import Preprocessing
from passerby.models.reranker import FusionReranker
from passerby.models.restore import restore_model
from passerby.models.sources import is_clip_folder, locate
from passerby.models.tokenizer import Tokenizer

#: Pictures that are encoded at a time.
_BATCH = 32


class PairScorer:
    """A dual encoder with its re-ranker, in float32 on the CPU. Made by `open_pair_scorer`."""

    def __init__(self, model: DualEncoder, reranker: FusionReranker, tokenizer: Tokenizer) -> None:
        """Take a model, its own re-ranker and its tokenizer; it is put into evaluation mode."""
        self._model, self._reranker, self._tokenizer = model.eval(), reranker, tokenizer
        self._mean = torch.tensor(model.preprocessing.mean).view(1, 3, 1, 1)
        self._std = torch.tensor(model.preprocessing.std).view(1, 3, 1, 1)

    @property
    def preprocessing(self) -> Preprocessing:
        """What happens to pictures before the tower."""
        return self._model.preprocessing

    @torch.inference_mode()
    def maps(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """What the re-ranker needs of pictures of any size, (H, W, 3) uint8 each: (N, T, W) float16."""
        size, interpolation = self.preprocessing.image_size, self.preprocessing.interpolation
        maps = []
        for start in range(0, len(pictures), _BATCH):
            pixels = [resize_image(picture, size, interpolation) for picture in pictures[start : start + _BATCH]]
            images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255  # (B, 3, H, W)
            tokens = self._model.image_tower.tokens((images - self._mean) / self._std)
            maps.append(self._reranker.image_maps(tokens).half().numpy())
        return np.concatenate(maps)

    @torch.inference_mode()
    def scores(self, sentences: Sequence[str], maps: np.ndarray, cosines: np.ndarray, weight: float) -> np.ndarray:
        """``(1 - weight) * scale * cosine + weight * logit``, the logit being the mean over all sentences.

        Args:
            sentences: about one person.
            maps: from `maps`.
            cosines: of the first stage.
            weight: the second stage's share, in [0, 1].

        Shape:
            maps (N, T, W), cosines (N,) -> (N,) float32.
        """
        ids = torch.from_numpy(self._tokenizer.encode(list(sentences)))  # (M, L)
        _, tokens, mask = self._model.project_texts(ids)
        states = self._reranker.text_states(tokens)
        context = torch.from_numpy(maps)[None]  # (1, N, T, W)
        each = [self._reranker.score(states[m : m + 1], mask[m : m + 1], context)[0] for m in range(len(ids))]
        logits = torch.stack(each).mean(dim=0).float().numpy()
        return (1 - weight) * float(self._model.logit_scale) * cosines + weight * logits


def open_pair_scorer(name: str, fingerprint: str) -> PairScorer:
    """Open a model with its re-ranker.

    Args:
        name: what `passerby.load` was given.
        fingerprint: of the model whose answers are to be re-ranked.

    Raises:
        CheckpointError: the model has no weights, or is another by now.
        ConfigError: it has no re-ranker.
    """
    folder = locate(name).folder
    if not is_clip_folder(folder):
        checkpoint = read_checkpoint(folder)
        if checkpoint.config.fingerprint != fingerprint:
            raise CheckpointError(f"{name} has changed since it was loaded; load it again to re-rank its answers")
        model = restore_model(checkpoint) if "reranker" in checkpoint.config.model else None
        if isinstance(model, DualEncoder) and model.reranker is not None:
            model.image_tower.preprocessing = checkpoint.config.pictures
            return PairScorer(model, model.reranker, checkpoint.tokenizer())
    raise ConfigError(
        f"the model {name} has no cross-attention re-ranker; train one on it, as in: passerby train reranker "
        f"--set start.checkpoint={name}, or re-rank by k-reciprocal"
    )
