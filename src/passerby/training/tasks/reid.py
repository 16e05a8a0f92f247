"""Training an image encoder for re-identification: batches of P people with K pictures, three losses.

Label-smoothed cross-entropy after the neck, the hardest triplets and centers before it (Luo et al. 2019; stage 1 of
MagFormer). Several processes put their vectors together, and each computes the losses of the whole batch: gradients are
those of one process, and so are the statistics of batch normalisations.

Axes: B pictures of this process and part, P people, K pictures of each, D width, C identities.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from passerby.data.cache import cached_images
from passerby.data.pk_sampler import plan_pk_epoch
from passerby.data.records import Dataset, Split
from passerby.errors import CheckpointError, ConfigError, DataError
from passerby.evaluation import Features, evaluate_features, find_protocol
from passerby.losses.center import center_loss, moved_centers
from passerby.losses.triplet import triplet_loss
from passerby.models.reid import ReidModel, build_reid_model
from passerby.models.restore import save_model
from passerby.models.towers.registry import image_tower_names
from passerby.nn.shared_batch_norm import share_batch_statistics
from passerby.training.augment import augment, padded_crop
from passerby.training.gather import gather_with_gradient, process_count
from passerby.training.tasks.base import Selection, described, refuse_other_data
from passerby.training.tasks.dual_encoder import is_pretrained
from passerby.training.tasks.pair_data import data_mark, normalise, unchanged
from passerby.training.tasks.reid_recipe import ReidRecipe

_ENCODED = 256


@dataclass(frozen=True, slots=True)
class ReidBatch:
    """One part of a step: pixels (B, H, W, 3) uint8 and whom they show (B,) int64."""

    pixels: Tensor
    labels: Tensor


class ReidTask:
    """The task of every recipe whose model is an image encoder.

    Args:
        recipe: the resolved recipe.
        dataset: where the training and the selection split come from; a data set without the latter keeps the last
            model.
        progress: called with (done, total) while pictures are decoded for the first time.

    Raises:
        DataError: the data set lacks a split or an identity.
        ConfigError: a tower is unknown, or a batch has more people than the data or cannot be cut into whole people.
    """

    def __init__(
        self, recipe: ReidRecipe, dataset: Dataset, progress: Callable[[int, int], None] | None = None
    ) -> None:
        self.recipe, self.dataset = recipe, dataset
        torch.manual_seed(recipe.seed)
        train = dataset.split(recipe.data.train_split)
        self.labels, self.cameras = labels_and_cameras(train)
        classes = int(self.labels.max()) + 1
        section = recipe.model
        self.model: ReidModel = build_reid_model(
            {"image": section.image.model_dump(), "embedding_dim": section.embedding_dim},
            image_size=recipe.data.image_size,
            classes=classes,
        )
        self.preprocessing = self.model.preprocessing
        if process_count() > 1:  # the neck sees the rows of all processes anyway
            share_batch_statistics(self.model.image_tower)
        self._check_parts()
        self.plan(0)  # a batch that the data cannot fill is refused before anything is decoded
        self.pixels = self._decoded(train, progress)
        selection = recipe.evaluation.selection_split
        self.selection = dataset.splits.get(selection)
        self.selection_pixels = self._decoded(self.selection, progress) if self.selection is not None else None
        self.centers = torch.randn(classes, self.model.embedding_dim)
        self._data_mark = data_mark(train)

    def example(self) -> tuple[Tensor, ...]:
        """Two black pictures; one would have no batch statistics."""
        return (torch.zeros(2, 3, *self.preprocessing.image_size),)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """All with decay under Adam and SGD, as published; matrices alone under AdamW and Muon.

        A pretrained tower moves at `optimisation.tower_rate` times the learning rate, everything new at the full one.
        """
        options = self.recipe.optimisation
        slow = is_pretrained(self.recipe.model.image, image_tower_names())
        all_decay = options.optimiser in ("adam", "sgd")
        groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                rate = options.tower_rate if slow and name.startswith("image_tower.") else 1.0
                groups.setdefault((rate, all_decay or parameter.ndim > 1), []).append(parameter)
        return [
            {"params": parameters, "rate": rate, **({} if decayed else {"weight_decay": 0.0})}
            for (rate, decayed), parameters in groups.items()
        ]

    def plan(self, epoch: int) -> np.ndarray:
        """(S, P, K) rows of pictures; a process that takes some of the P has whole people."""
        data = self.recipe.data
        return plan_pk_epoch(
            self.labels,
            self.recipe.people,
            data.pictures_each,
            np.random.default_rng([self.recipe.seed, epoch]),
            data.cover_all,
            self.cameras if data.camera_balanced else None,
        )

    def fetch(self, rows: np.ndarray) -> ReidBatch:
        """Read the pictures of some people: (P, K) -> B = P * K."""
        flat = rows.reshape(-1)
        return ReidBatch(torch.from_numpy(self.pixels[flat]), torch.from_numpy(self.labels[flat]))

    def losses(
        self, model: nn.Module, batch: ReidBatch, generator: torch.Generator, device: torch.device
    ) -> dict[str, Tensor]:
        """Cross-entropy, triplets and centers of the batch of all processes; moves the centers."""
        changes, objective = self.recipe.augmentation, self.recipe.objective
        pixels = padded_crop(batch.pixels.to(device, non_blocking=True), changes.crop, generator)
        images = augment(pixels, changes, generator, changes.largest_erased)
        vectors, logits = model(normalise(images, self.preprocessing), gather_with_gradient)
        labels = gather_with_gradient(batch.labels.to(device, non_blocking=True))
        losses = {
            "cross_entropy": nn.functional.cross_entropy(logits, labels, label_smoothing=objective.label_smoothing)
        }
        if objective.triplet > 0:
            losses["triplet"] = objective.triplet * triplet_loss(vectors, labels, objective.margin)
        if objective.center > 0:
            self.centers = self.centers.to(device)
            losses["center"] = objective.center * center_loss(vectors, labels, self.centers)
            self.centers = moved_centers(vectors.detach(), labels, self.centers, objective.center_rate)
        return losses

    def validate(self, model: nn.Module) -> Selection | None:
        """Picture-to-picture R@1 and mAP on the selection split, in percent; across cameras where they are known."""
        if self.selection is None or self.selection_pixels is None or not isinstance(model, ReidModel):
            return None
        device = next(model.parameters()).device
        vectors = [
            model.encode_images(unchanged(self.selection_pixels[start : start + _ENCODED], self.preprocessing, device))
            for start in range(0, len(self.selection_pixels), _ENCODED)
        ]
        known = all(image.camera_id is not None for image in self.selection.images)
        rules = find_protocol("cross-camera" if known else "image-to-image", report_split=self.selection.name)
        report = evaluate_features(Features(torch.cat(vectors).cpu().numpy()), self.selection, rules)
        figures = {"r1": report.r1, "map": report.map}
        return Selection(figures[self.recipe.evaluation.metric], figures)

    def save(self, model: nn.Module, folder: Path, figures: Mapping[str, float]) -> None:
        """Write the checkpoint folder, replacing an earlier one whole."""
        if not isinstance(model, ReidModel):
            raise CheckpointError(f"an image encoder is saved, found {type(model).__name__}")
        save_model(
            model,
            folder,
            kind="reid",
            preprocessing=model.preprocessing,
            **described(self.recipe, self.dataset, self.recipe.data.train_split, figures),
        )

    def state(self) -> dict[str, Tensor]:
        """The centers, and by what the data is known again."""
        return {"centers": self.centers.cpu().clone(), "data": self._data_mark}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take back the centers.

        Raises:
            CheckpointError: the run was begun on other pictures or people.
        """
        refuse_other_data(
            state["data"], self._data_mark, self.dataset, self.recipe.data.train_split, "pictures or people"
        )
        self.centers = state["centers"].clone()

    def _decoded(self, split: Split, progress: Callable[[int, int], None] | None) -> np.ndarray:
        wanted = self.preprocessing
        paths = [image.path for image in split.images]
        return cached_images(paths, wanted.image_size, progress=progress, interpolation=wanted.interpolation)

    def _check_parts(self) -> None:
        processes = process_count()
        parts = processes * self.recipe.optimisation.accumulation
        if self.recipe.people % parts or self.recipe.people < 2 * parts:
            raise ConfigError(
                f"{self.recipe.people} people of a batch cannot be shared by {processes} processes and "
                f"{self.recipe.optimisation.accumulation} accumulated parts, two or more to each; change "
                "optimisation.batch_size"
            )


def labels_and_cameras(split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Whom each picture shows, numbered from 0, and by which camera, -1 where that is unknown: (N,) and (N,) int64.

    Raises:
        DataError: a picture has no identity.
    """
    persons = [image.person_id for image in split.images if image.person_id is not None]
    if not persons or len(persons) < len(split.images):
        unknown = next((image.image_id for image in split.images if image.person_id is None), "none at all")
        raise DataError(f"split {split.name!r} has a picture without an identity to train on: {unknown!r}")
    names = sorted({image.camera_id for image in split.images if image.camera_id})
    number = {name: place for place, name in enumerate(names)}
    cameras = [number[image.camera_id] if image.camera_id else -1 for image in split.images]
    return np.unique(persons, return_inverse=True)[1].astype(np.int64), np.array(cameras, np.int64)
