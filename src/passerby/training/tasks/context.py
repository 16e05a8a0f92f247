"""Training a context encoder through the loop of all methods: features once, then a few sets of pictures a step.

The features come from a model or from a file and stay as they are. Several processes share the sets of a step out and
put what becomes of them together, so that losses and neck are those of the whole step.

Axes: V views, N training pictures, G sets of a step or of this process, n pictures of a set, D width, L layers, P
landmarks, W rows that a landmark is the mean of, C identities.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from passerby.data.neighbour_sets import nearest_to_centre
from passerby.data.records import Dataset, Split
from passerby.errors import CheckpointError, ConfigError
from passerby.evaluation import Features, evaluate_features, find_protocol
from passerby.losses.center import center_loss, moved_centers
from passerby.losses.triplet import triplet_loss
from passerby.models.context import ContextEncoder
from passerby.models.context_config import context_config
from passerby.models.restore import save_model
from passerby.nn.neighbour_search import check_finite, unit_rows
from passerby.retriever import Retriever, load
from passerby.training.context_stage import parameter_groups
from passerby.training.feature_views import encoded_views, read_features
from passerby.training.gather import gather_with_gradient, process_count
from passerby.training.tasks.base import Selection, described, refuse_other_data
from passerby.training.tasks.context_recipe import ContextRecipe
from passerby.training.tasks.reid import labels_and_cameras

_BETAS = (0.9, 0.98)  # of AdamW, in the paper and its code
_PICTURES_PER_STEP = 30  # an epoch has a thirtieth as many steps as there are pictures


@dataclass(frozen=True, slots=True)
class SetBatch:
    """The sets of a part: features (G, n, D) float32 and whom they show (G, n) int64."""

    features: Tensor
    labels: Tensor


class SetsInContext(nn.Module):
    """A context encoder as it is trained: several sets, which share the losses and no edges.

    Args:
        encoder: the context encoder.
    """

    def __init__(self, encoder: ContextEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(
        self,
        sets: Tensor,
        landmarks: list[Tensor] | None = None,
        gather: Callable[[Tensor], Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Sets to what the losses read.

        Args:
            sets: of this process.
            landmarks: of each set, see `ContextEncoder.choose_landmarks`; those of its seed by default.
            gather: puts the rows of all processes together before the neck.

        Shape:
            sets (G, n, D), landmarks G of (L, P, W) -> rows before the neck (B, D), logits (B, C), B = G * n times the
            processes gathered.
        """
        chosen = landmarks or [None] * len(sets)
        # In float32 whatever the precision around it: neighbours are decided by the last digits of scores.
        with torch.autocast(sets.device.type, enabled=False):
            rows = torch.cat([self.encoder(one, landmarks=own) for one, own in zip(sets, chosen, strict=True)])
            rows = rows if gather is None else gather(rows)
            return rows, self.encoder.classify(self.encoder.embed(rows))


class ContextTask:
    """The task of every recipe whose model is a context encoder.

    Args:
        recipe: the resolved recipe.
        dataset: where the training and the selection split come from.
        progress: called with (done, total) while pictures are encoded.

    Raises:
        ConfigError: no features are named, a setting is unknown, or the sets cannot be shared by the processes.
        CheckpointError: there is no such model.
        DataError: the features do not fit the split or are not finite, or a picture has no identity.
    """

    def __init__(
        self, recipe: ContextRecipe, dataset: Dataset, progress: Callable[[int, int], None] | None = None
    ) -> None:
        self.recipe, self.dataset = recipe, dataset
        train = dataset.split(recipe.data.train_split)
        self.labels, _ = labels_and_cameras(train)
        source = None if _is_file(recipe.data.features) else load(_named(recipe.data.features))
        self.views = _features(recipe, source, train, progress)  # (V, N, D)
        for view in self.views:
            check_finite(torch.from_numpy(view))
        self.unit = unit_rows(torch.from_numpy(self.views[0])).numpy()
        self.selection = dataset.splits.get(recipe.evaluation.selection_split) if source is not None else None
        self.selected = encoded_views(source, self.selection)[0] if source and self.selection else None
        torch.manual_seed(recipe.seed)
        classes = int(self.labels.max()) + 1
        settings = {"seed": recipe.seed, **recipe.model.settings}
        self.model = SetsInContext(
            ContextEncoder(context_config(recipe.model.name, self.views.shape[2], classes, **settings))
        )
        self.centers = torch.randn(classes, self.views.shape[2])
        self.set_size = min(recipe.data.set_size, len(self.labels))
        self.sets = max(1, recipe.optimisation.batch_size // recipe.data.set_size)
        self._check_parts()
        self._data_mark = _mark(self.views, self.labels)

    def example(self) -> tuple[Tensor, ...]:
        """One set of two pictures."""
        return (torch.zeros(1, 2, self.views.shape[2]),)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Matrices with decay; magnitudes, lambda, gains and biases without."""
        options = self.recipe.optimisation
        betas = {"betas": _BETAS} if options.optimiser == "adamw" else {}
        return [{**group, **betas} for group in parameter_groups(self.model, options.weight_decay)]

    def plan(self, epoch: int) -> np.ndarray:
        """(S, G, n) places in the views laid end to end: sets of pictures that resemble each other, a view of each."""
        rng = np.random.default_rng([self.recipe.seed, epoch])
        count = len(self.labels)
        steps = max(1, count // _PICTURES_PER_STEP)
        drawn = [nearest_to_centre(self.unit, self.set_size, rng) for _ in range(steps * self.sets)]
        rows = np.stack(drawn).reshape(steps, self.sets, self.set_size)
        return rows + count * rng.integers(len(self.views), size=rows.shape)

    def fetch(self, rows: np.ndarray) -> SetBatch:
        """Read the features of some sets: (G, n) -> (G, n, D)."""
        view, place = np.divmod(rows, len(self.labels))
        features = self.views[view, place].astype(np.float32, copy=False)
        return SetBatch(torch.from_numpy(features), torch.from_numpy(self.labels[place]))

    def losses(
        self, model: nn.Module, batch: SetBatch, generator: torch.Generator, device: torch.device
    ) -> dict[str, Tensor]:
        """Cross-entropy, triplets and centers over the pictures of all sets; moves the centers."""
        objective, sets = self.recipe.objective, batch.features.to(device, non_blocking=True)
        landmarks = [self.model.encoder.choose_landmarks(one, generator) for one in sets]
        rows, logits = model(sets, landmarks, gather_with_gradient)
        labels = gather_with_gradient(batch.labels.flatten().to(device, non_blocking=True))
        losses = {
            "cross_entropy": nn.functional.cross_entropy(logits, labels, label_smoothing=objective.label_smoothing)
        }
        if objective.triplet > 0:
            losses["triplet"] = objective.triplet * triplet_loss(rows, labels, objective.margin)
        if objective.center > 0:
            self.centers = self.centers.to(device)
            losses["center"] = objective.center * center_loss(rows, labels, self.centers)
            self.centers = moved_centers(rows.detach(), labels, self.centers, objective.center_rate)
        return losses

    def validate(self, model: nn.Module) -> Selection | None:
        """Picture-to-picture R@1 and mAP with all pictures of the selection split in one graph, in percent.

        That is the transductive protocol, good enough to choose by; what is reported says its own.
        """
        if self.selection is None or self.selected is None or not isinstance(model, SetsInContext):
            return None
        encoder = model.encoder
        rows = encoder(torch.from_numpy(self.selected).to(next(model.parameters()).device))
        vectors = unit_rows(encoder.embed(rows)).float().cpu().numpy()
        known = all(image.camera_id is not None for image in self.selection.images)
        rules = find_protocol("cross-camera" if known else "image-to-image", report_split=self.selection.name)
        report = evaluate_features(Features(vectors), self.selection, rules)
        figures = {"r1": report.r1, "map": report.map}
        return Selection(figures[self.recipe.evaluation.metric], figures)

    def save(self, model: nn.Module, folder: Path, figures: Mapping[str, float]) -> None:
        """Write the context encoder as a checkpoint folder, replacing an earlier one whole."""
        if not isinstance(model, SetsInContext):
            raise CheckpointError(f"a context encoder is saved, found {type(model).__name__}")
        save_model(
            model.encoder,
            folder,
            kind="context",
            **described(self.recipe, self.dataset, self.recipe.data.train_split, figures, "features of "),
        )

    def state(self) -> dict[str, Tensor]:
        """The centers, and by what the features are known again."""
        return {"centers": self.centers.cpu().clone(), "data": self._data_mark}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take back the centers.

        Raises:
            CheckpointError: the run was begun on other features or people.
        """
        refuse_other_data(
            state["data"], self._data_mark, self.dataset, self.recipe.data.train_split, "features or people"
        )
        self.centers = state["centers"].clone()

    def _check_parts(self) -> None:
        processes = process_count()
        parts = processes * self.recipe.optimisation.accumulation
        if self.sets % parts:
            raise ConfigError(
                f"{self.sets} sets of {self.recipe.data.set_size} pictures cannot be shared by {processes} processes "
                f"and {self.recipe.optimisation.accumulation} accumulated parts; set optimisation.batch_size to "
                f"{parts} times data.set_size"
            )


def _named(features: str) -> str:
    if not features:
        raise ConfigError(
            "data.features is empty; name a trained model or a .npy file: --set data.features=runs/reid/checkpoint"
        )
    return features


def _is_file(features: str) -> bool:
    return features.endswith(".npy")


def _features(
    recipe: ContextRecipe, source: Retriever | None, train: Split, progress: Callable[[int, int], None] | None
) -> np.ndarray:
    if source is None:
        return read_features(Path(recipe.data.features), len(train.images)).astype(np.float32)
    return encoded_views(source, train, recipe.data.views, recipe.augmentation, recipe.seed, progress)


def _mark(views: np.ndarray, labels: np.ndarray) -> Tensor:
    """Thirty-two bytes that change with the features and whom they show."""
    digest = hashlib.sha256(np.ascontiguousarray(views).tobytes())
    digest.update(labels.tobytes())
    return torch.frombuffer(bytearray(digest.digest()), dtype=torch.uint8)
