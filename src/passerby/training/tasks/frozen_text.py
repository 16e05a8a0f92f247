"""Training a picture tower against a text tower that does not move, whose vectors are computed once.

Each caption's vector comes out of a cache, so an epoch costs pictures alone. In training the text tower is a stand-in
that hands these vectors on to the text head, which learns; the checkpoint gets the tower itself back. The losses are
those of a dual encoder.

Axes: B pictures of this process and part, K captions of each, C captions of a split, D width of the tower's vector.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from passerby.data.records import Dataset
from passerby.errors import CheckpointError, ConfigError
from passerby.models.dual_encoder import DualEncoder
from passerby.models.towers.base import TextTower
from passerby.models.towers.registry import text_tower_names
from passerby.training.sentence_vectors import sentence_vectors
from passerby.training.tasks.dual_encoder import DualEncoderTask, PairBatch, is_pretrained
from passerby.training.tasks.frozen_text_recipe import FrozenTextRecipe
from passerby.training.tasks.pair_data import Prepared


class RememberedVectors(TextTower):
    """Stands where a text tower stood, and takes its vectors for sentences.

    Args:
        tower: whose vectors they are; its name and options are kept, so that the model describes itself rightly.
    """

    def __init__(self, tower: TextTower) -> None:
        super().__init__()
        self.width, self.name, self.options = tower.width, tower.name, tower.options

    def mask(self, ids: Tensor) -> Tensor:
        """One word a sentence: (B, D) -> (B, 1)."""
        return torch.ones(len(ids), 1, dtype=torch.bool, device=ids.device)

    def tokens(self, ids: Tensor) -> Tensor:
        """(B, D) -> (B, 1, D)."""
        return ids.unsqueeze(1)

    def pool(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """(B, 1, D) -> (B, D)."""
        return tokens[:, 0]


class FrozenTextTask(DualEncoderTask):
    """The task of recipes whose text tower does not move.

    Args:
        recipe: the resolved recipe.
        dataset: where the training and the selection split come from.
        progress: called with (done, total) while pictures are decoded, and captions encoded, for the first time.

    Raises:
        ConfigError: the text tower has no weights that are worth keeping, or as for `DualEncoderTask`.
        DataError: as for `DualEncoderTask`.
        CheckpointError: a pretrained tower cannot be had.
    """

    def __init__(
        self, recipe: FrozenTextRecipe, dataset: Dataset, progress: Callable[[int, int], None] | None = None
    ) -> None:
        if not is_pretrained(recipe.model.text, text_tower_names()):
            raise ConfigError(
                f"model.text is {recipe.model.text.name!r} with random weights, which would stay random; name a "
                "source, such as passerby:street, clip:openai/clip-vit-base-patch16 or distilbert:FOLDER"
            )
        super().__init__(recipe, dataset, progress)
        self.text_tower: TextTower = self.model.text_tower.requires_grad_(False).eval()
        self.model.text_tower = RememberedVectors(self.text_tower)

        def remembered(prepared: Prepared, split: str) -> Prepared:
            captions = [caption.text for caption in dataset.split(split).captions]
            return replace(
                prepared, token_ids=sentence_vectors(self.text_tower, self.tokenizer, captions, progress=progress)
            )

        self.train = remembered(self.train, recipe.data.train_split)
        if self.selection is not None:
            self.selection = remembered(self.selection, recipe.evaluation.selection_split)

    def example(self) -> tuple[Tensor, ...]:
        """One black picture and one vector."""
        return torch.zeros(1, 3, *self.size), torch.zeros(1, self.text_tower.width)

    def fetch(self, rows: np.ndarray) -> PairBatch:
        """Read pictures and the vectors of their captions."""
        images, captions = rows[:, 0], rows[:, 1:].T.reshape(-1)  # (B,), (K * B,)
        return PairBatch(
            torch.from_numpy(self.train.pixels[images]),
            (torch.from_numpy(self.train.token_ids[captions]),),
            torch.arange(len(captions)),
            torch.from_numpy(self.train.pairs.person_of[images]),
        )

    def save(self, model: nn.Module, folder: Path, figures: Mapping[str, float]) -> None:
        """Write the checkpoint folder, with the text tower in its place."""
        if not isinstance(model, DualEncoder):
            raise CheckpointError(f"a dual encoder is saved, found {type(model).__name__}")
        stand_in = model.text_tower
        model.text_tower = self.text_tower
        try:
            super().save(model, folder, figures)
        finally:
            model.text_tower = stand_in
