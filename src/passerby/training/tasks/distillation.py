"""Training a small dual encoder with a larger one as its teacher, whose vectors are computed once.

Each row of a plan also says which view of its picture is shown; the teacher's vector of just that view lies in a cache,
so that a step costs what the student costs. Without weights for the teacher the same task trains the student alone, on
the same pictures in the same order: the comparison that says what the teacher is worth.

Axes: B pictures of this process and part, K captions of each, D width of the student's vectors, E of the teacher's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from passerby.data.records import Dataset
from passerby.errors import ConfigError
from passerby.losses.feature_distance import feature_distance
from passerby.losses.interactive_contrast import interactive_contrast
from passerby.losses.similarity_divergence import similarity_divergence
from passerby.models.dual_encoder import unit_rows
from passerby.retriever import load
from passerby.training.gather import gather_with_gradient
from passerby.training.picture_views import shown, view_draws
from passerby.training.tasks.distillation_recipe import DistillationRecipe
from passerby.training.tasks.dual_encoder import DualEncoderTask, PairBatch
from passerby.training.tasks.dual_encoder_losses import contrast
from passerby.training.tasks.pair_data import normalise
from passerby.training.teacher_vectors import TeacherVectors, teacher_vectors

_VIEWS = 1  # the source of chance that says which view is shown


@dataclass(frozen=True, slots=True)
class TaughtBatch:
    """One part of a step.

    Attributes:
        pairs: pictures, captions and people, as for any dual encoder.
        draws: (B, 12) the view of each picture.
        images: (B, E) the teacher's vectors of just these views, or None without a teacher.
        texts: (K * B, E) the teacher's vectors of the captions, or None.
    """

    pairs: PairBatch
    draws: Tensor
    images: Tensor | None
    texts: Tensor | None


class DistillationTask(DualEncoderTask):
    """The task of recipes with a teacher.

    Args:
        recipe: the resolved recipe.
        dataset: where the training and the selection split come from.
        progress: called with (done, total) while pictures are decoded, and shown to the teacher, for the first time.

    Raises:
        ConfigError: the teacher reads no sentences, its vectors have another width than the student's, or as for
            `DualEncoderTask`.
        CheckpointError: there is no such teacher.
        DataError: as for `DualEncoderTask`.
    """

    recipe: DistillationRecipe

    def __init__(
        self, recipe: DistillationRecipe, dataset: Dataset, progress: Callable[[int, int], None] | None = None
    ) -> None:
        super().__init__(recipe, dataset, progress)
        split, teacher = dataset.split(recipe.data.train_split), recipe.teacher
        self.taught: TeacherVectors | None = None
        if not recipe.objective.taught:
            self.draws = view_draws(len(split.images), teacher.views, teacher.seed)
            return
        model = load(teacher.model)
        width = recipe.model.embedding_dim
        if model.dim != width and recipe.objective.feature + recipe.objective.interactive > 0:
            raise ConfigError(
                f"the teacher {model.name} has vectors of {model.dim} numbers and the student of {width}; set "
                f"model.embedding_dim={model.dim}, or objective.feature=0 and objective.interactive=0"
            )
        self.taught = teacher_vectors(model, split, recipe.augmentation, teacher.views, teacher.seed, progress)
        self.draws = self.taught.draws

    def plan(self, epoch: int) -> np.ndarray:
        """(S, B, 2 + K) rows of a picture, its captions, and which view of it is shown."""
        rows = super().plan(epoch)
        chance = np.random.default_rng([self.recipe.seed, epoch, _VIEWS])
        return np.concatenate([rows, chance.integers(len(self.draws), size=(*rows.shape[:2], 1))], axis=2)

    def fetch(self, rows: np.ndarray) -> TaughtBatch:  # type: ignore[override]
        """Read pictures and captions, and what the teacher makes of them."""
        pairs, view = super().fetch(rows[:, :-1]), rows[:, -1]
        images, captions = rows[:, 0], rows[:, 1:-1].T.reshape(-1)  # (B,), (K * B,)
        draws = torch.from_numpy(self.draws[view, images])
        if self.taught is None:
            return TaughtBatch(pairs, draws, None, None)
        return TaughtBatch(
            pairs,
            draws,
            torch.from_numpy(self.taught.images[view, images].astype(np.float32)),
            torch.from_numpy(self.taught.texts[captions].astype(np.float32)),
        )

    def losses(  # type: ignore[override]
        self, model: nn.Module, batch: TaughtBatch, generator: torch.Generator, device: torch.device
    ) -> dict[str, Tensor]:
        """The student's own contrast, and what the teacher adds, as a mean over the captions of each picture."""
        objective, pairs = self.recipe.objective, batch.pairs
        pixels = shown(pairs.pixels.to(device, non_blocking=True), batch.draws, self.recipe.augmentation)
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        ids = [group.to(device, non_blocking=True) for group in pairs.token_ids]
        persons = pairs.persons.to(device, non_blocking=True)
        images, grouped, scale = model(normalise(pixels, self.preprocessing), ids)
        place = pairs.place.to(device, non_blocking=True)
        narrations = grouped[place].chunk(self.recipe.data.captions)  # K of (B, D)
        all_images, all_persons = gather_with_gradient(images), gather_with_gradient(persons)
        everywhere = [gather_with_gradient(narration) for narration in narrations]
        if self.recipe.data.sampler == "neighbours":
            self.memory = self.memory.to(device)
            self.memory[all_persons] = everywhere[0].detach()
        losses: dict[str, Tensor] = {}
        if objective.own > 0:
            across = [
                contrast(objective, (images, narration, persons), (all_images, gathered, all_persons), scale)
                for narration, gathered in zip(narrations, everywhere, strict=True)
            ]
            losses["contrastive"] = objective.own * torch.stack(across).mean()
        if batch.images is None or batch.texts is None:
            return losses
        teacher_images = unit_rows(batch.images.to(device, non_blocking=True))
        all_taught = unit_rows(batch.texts.to(device, non_blocking=True))  # (K * B, E)
        teacher_texts = all_taught.chunk(self.recipe.data.captions)
        lessons = [
            self._lessons((images, own), (all_images, gathered), (teacher_images, taught), persons, scale)
            for own, gathered, taught in zip(narrations, everywhere, teacher_texts, strict=True)
        ]
        return losses | {name: torch.stack([lesson[name] for lesson in lessons]).mean() for name in lessons[0]}

    def _lessons(
        self,
        own: tuple[Tensor, Tensor],
        everywhere: tuple[Tensor, Tensor],
        teacher: tuple[Tensor, Tensor],
        persons: Tensor,
        scale: Tensor,
    ) -> dict[str, Tensor]:
        """What the teacher adds, for one caption of each picture; each pair is (pictures, sentences)."""
        objective, found = self.recipe.objective, {}
        teacher_everywhere = (gather_with_gradient(teacher[0]), gather_with_gradient(teacher[1]))
        if objective.feature > 0:
            apart = feature_distance(own[0], teacher[0]) + feature_distance(own[1], teacher[1])
            found["feature"] = objective.feature * apart
        if objective.interactive > 0:
            found["interactive"] = objective.interactive * interactive_contrast(
                *own, persons, *teacher_everywhere, gather_with_gradient(persons), scale
            )
        if objective.similarity > 0:
            found["similarity"] = objective.similarity * similarity_divergence(
                own, everywhere, teacher, teacher_everywhere, objective.similarity_temperature
            )
        return found
