"""What pulls the towers of a dual encoder together, and the loss of a whole split.

Axes: B pictures of this process, P processes, D embedding width.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from passerby.data.samplers import Pairs
from passerby.losses.identity_contrastive import identity_contrastive
from passerby.losses.info_nce import info_nce
from passerby.losses.soft_target import soft_target
from passerby.models.dual_encoder import MAX_LOGIT_SCALE
from passerby.training.gather import first_row
from passerby.training.tasks.dual_encoder_recipe import DualEncoderRecipe, ObjectiveConfig

_LOSS_ORDER = 20  # seed of the order in which a split's pairs are put into batches


def keeps_length(objective: ObjectiveConfig) -> bool:
    """Whether the loss wants vectors as the projection gives them, and not of unit length."""
    return objective.name == "soft_target"


def first_temperature(recipe: DualEncoderRecipe) -> float:
    """The temperature of cosines that a model begins with.

    Soft targets compare vectors of squared length D, so that their cosines have D times the scale. Nothing learns it,
    but a re-ranker's logits will be added to those of the first stage.
    """
    if not keeps_length(recipe.objective):
        return recipe.objective.temperature
    return max(1 / MAX_LOGIT_SCALE, recipe.objective.temperature / recipe.model.embedding_dim)


def contrast(
    objective: ObjectiveConfig,
    own: tuple[Tensor, Tensor, Tensor],
    everywhere: tuple[Tensor, Tensor, Tensor],
    scale: Tensor,
) -> Tensor:
    """The recipe's loss between pictures and sentences.

    Args:
        objective: which loss.
        own: pictures (B, D), sentences (B, D) and identities (B,) of this process.
        everywhere: the same of all processes, gathered with gradient.
        scale: inverse temperature, which soft targets do not look at.

    Shape:
        own (B, D), (B, D), (B,), everywhere (P * B, ...) -> scalar.
    """
    images, texts, persons = own
    if objective.name == "soft_target":
        # Every process computes the whole: the targets of a row are spread over all rows.
        return soft_target(everywhere[0], everywhere[1], objective.temperature, objective.legacy)
    if objective.name == "info_nce":
        return info_nce(images, texts, scale, everywhere[0], everywhere[1], first_row(len(images)))
    return identity_contrastive(images, texts, persons, scale, *everywhere)


def split_loss(recipe: DualEncoderRecipe, images: Tensor, texts: Tensor, pairs: Pairs, scale: Tensor) -> float:
    """The recipe's contrast over a split: each picture with its first caption, in batches of a fixed random order.

    Args:
        recipe: names loss and batch size.
        images: vectors of the pictures, of the length that the loss wants.
        texts: vectors of the captions.
        pairs: which caption describes which picture, and whom.
        scale: inverse temperature.

    Shape:
        images (N, D), texts (C, D) -> mean over pairs, the last incomplete batch left out where there is another.
    """
    described, first = np.unique(pairs.image_of, return_index=True)
    order = np.random.default_rng(_LOSS_ORDER).permutation(len(described))
    size = min(recipe.optimisation.batch_size, len(order))
    values = []
    for start in range(0, len(order) - size + 1, size):
        rows = order[start : start + size]
        persons = torch.from_numpy(pairs.person_of[described[rows]]).to(images.device)
        batch = (images[described[rows]], texts[first[rows]], persons)
        values.append(float(contrast(recipe.objective, batch, batch, scale)))
    return float(np.mean(values))
