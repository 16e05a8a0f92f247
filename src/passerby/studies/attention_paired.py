"""The reports' own protocol on our models, kept apart from every honest figure, and the reports' tables beside it.

Axes: C captions, D embedding width.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from passerby.evaluation.paired import paired_report
from passerby.losses.soft_target import soft_target
from passerby.models.dual_encoder import unit_rows
from passerby.studies.attention_measure import Encoded
from passerby.training.tasks.dual_encoder_losses import keeps_length
from passerby.training.tasks.dual_encoder_recipe import DualEncoderRecipe

#: What a text encoder finds that is shown its own row's picture: it has only to copy it.
COPY = "copies its own picture"

_KEYS = ("backbone", "mechanism", "split", "loss", "r1", "r5", "r10")
#: Title -> rows as printed, recalls as shares. Source: the two reports' tables, as read in their text.
PUBLISHED: Mapping[str, tuple[Mapping[str, Any], ...]] = MappingProxyType(
    {
        "Final report, Table II, Flickr30k": tuple(
            dict(zip(_KEYS, row, strict=True))
            for row in (
                ("ResNet-50", "self", "val", 2.57, 0.1659, 0.7753, 0.9036),
                ("ResNet-50", "cross", "val", 1.66, 0.2083, 0.9998, 1.0000),
                ("ResNet-50", "sparse", "val", 2.12, 0.1820, 0.8075, 0.8994),
                ("FastViT-T8", "self", "val", 2.58, 0.1629, 0.7581, 0.8925),
                ("FastViT-T8", "cross", "val", 1.64, 0.2083, 0.9998, 1.0000),
                ("FastViT-T8", "sparse", "val", 2.16, 0.1625, 0.7305, 0.8906),
            )
        ),
        "Final report, Table III, RSTPReid": tuple(
            dict(zip(_KEYS, row, strict=True))
            for row in (
                ("ResNet-50", "self", "val", 3.23, 0.0578, 0.2475, 0.4335),
                ("ResNet-50", "cross", "val", 0.81, 0.4850, 0.9978, 1.0000),
                ("ResNet-50", "sparse", "val", 2.31, 0.1013, 0.4497, 0.7708),
                ("ResNet-50", "self", "test", 3.05, 0.0658, 0.2803, 0.4730),
                ("ResNet-50", "cross", "test", 0.82, 0.4795, 0.9973, 1.0000),
                ("ResNet-50", "sparse", "test", 2.12, 0.1120, 0.4840, 0.8042),
                ("FastViT-T8", "self", "val", 3.23, 0.0575, 0.2625, 0.4625),
                ("FastViT-T8", "cross", "val", 0.80, 0.4743, 0.9960, 0.9995),
                ("FastViT-T8", "sparse", "val", 2.19, 0.0870, 0.4065, 0.7265),
                ("FastViT-T8", "self", "test", 2.92, 0.0705, 0.3158, 0.5373),
                ("FastViT-T8", "cross", "test", 0.78, 0.4765, 0.9980, 1.0000),
                ("FastViT-T8", "sparse", "test", 2.08, 0.0910, 0.4225, 0.7472),
            )
        ),
        "First report, Table III, Flickr30k": tuple(
            dict(zip(_KEYS, row, strict=True))
            for row in (
                ("ResNet-50", "self, epoch 1", "val", 2.39, None, None, None),
                ("ResNet-50", "self, epoch 2", "val", 2.43, None, None, None),
                ("ResNet-50", "cross, epoch 1", "val", 1.66, None, None, None),
                ("ResNet-50", "cross, epoch 2", "val", 1.67, None, None, None),
            )
        ),
    }
)
#: Captions of a picture and rows of a batch at which each table was made; 96 is inferred from its ceiling.
ROWS_OF_PUBLISHED: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "Final report, Table II, Flickr30k": (5, 96),
        "Final report, Table III, RSTPReid": (2, 48),
        "First report, Table III, Flickr30k": (5, 64),
    }
)


def paired_figures(encoded: Encoded, recipe: DualEncoderRecipe, batch: int, name: str) -> list[dict[str, Any]]:
    """Paired-batch reports of a model, and of one that merely copies each row's own picture.

    Args:
        encoded: a split; its captions are taken in file order.
        recipe: whose loss is measured where it is the reports' own.
        batch: rows of a batch.
        name: of the model.
    """
    rows = encoded.prepared.pairs.image_of
    pictures, features = encoded.images[torch.from_numpy(rows).to(encoded.images.device)], encoded.features
    captions = features.captions if features.captions is not None else np.zeros((0, 0), np.float32)
    unit = unit_rows(pictures).cpu().numpy()
    losses: list[float | None] = [None, None]
    if keeps_length(recipe.objective):
        losses = [_loss(pictures, texts, batch, recipe.objective.temperature) for texts in (encoded.texts, pictures)]
    return [
        paired_report(captions, unit, rows, batch, name=name, loss=losses[0]).as_dict(),
        paired_report(unit, unit, rows, batch, name=COPY, loss=losses[1]).as_dict(),
    ]


def _loss(images: torch.Tensor, texts: torch.Tensor, batch: int, temperature: float) -> float:
    """Mean over rows of the soft-target loss within batches in file order."""
    starts = range(0, len(images), batch)
    parts = [(images[start : start + batch], texts[start : start + batch]) for start in starts]
    total = sum(len(left) * float(soft_target(left, right, temperature)) for left, right in parts)
    return total / len(images)
