"""What a model hands to the losses of alignment: vectors of whole pictures and sentences, of their parts, and tokens.

A dual encoder has a global branch only. A model with a local branch too (selected tokens, as in RDE and ITSELF) brings
a method `pair_features` of its own; whoever trains it asks `pair_features_of` and need not know which it is.

Axes: B pairs, T tokens of a picture, L tokens of a sentence, C channels, D global width, E local width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from passerby.errors import ConfigError
from passerby.models.dual_encoder import DualEncoder


class Moment(NamedTuple):
    """When a step of training happens; schedules go by it, so a run that was killed goes on where it was.

    Attributes:
        step: optimiser steps done since the beginning of the run.
        steps_per_epoch: at least 1.
    """

    step: int = 0
    steps_per_epoch: int = 1

    @property
    def epochs(self) -> float:
        """Epochs done, with the part of the current one."""
        return self.step / self.steps_per_epoch


#: The first step of a run, and the moment of whoever does not train.
START = Moment()


class TextGroup(NamedTuple):
    """The tokens of some of the batch's sentences, all cropped to the longest of them.

    Attributes:
        rows: which pairs they belong to, (R,) int64.
        tokens: projected into the shared space where the model can, (R, L, D).
    """

    rows: Tensor
    tokens: Tensor


class PairFeatures(NamedTuple):
    """A batch of pairs as a model sees it; no vector is normalised.

    Attributes:
        images: global vectors of the pictures, (B, D).
        texts: global vectors of the sentences, (B, D); row i belongs to row i of `images`.
        scale: the learned inverse temperature, a scalar.
        local_images: local vectors of the pictures, (B, E); None without a local branch.
        local_texts: local vectors of the sentences, (B, E).
        image_tokens: all tokens of the pictures in the shared space, (B, T, D); None unless asked for.
        text_tokens: the tokens of the sentences, group by group; empty unless asked for.
    """

    images: Tensor
    texts: Tensor
    scale: Tensor
    local_images: Tensor | None = None
    local_texts: Tensor | None = None
    image_tokens: Tensor | None = None
    text_tokens: tuple[TextGroup, ...] = ()


@runtime_checkable
class TwoBranches(Protocol):
    """A model with a local branch beside the global one."""

    #: E, the width of a local vector.
    local_dim: int

    def pair_features(
        self, images: Tensor, groups: Sequence[Tensor], place: Tensor, moment: Moment, tokens: bool
    ) -> PairFeatures:
        """What `pair_features_of` gives; `moment` may decide how many tokens are kept."""
        ...


def pair_features_of(
    model: nn.Module,
    images: Tensor,
    groups: Sequence[Tensor],
    place: Tensor,
    moment: Moment = START,
    tokens: bool = False,
) -> PairFeatures:
    """Encode a batch of pairs for the losses.

    Args:
        model: a `DualEncoder`, or a model with two branches.
        images: normalised pictures.
        groups: token ids of the sentences in groups of like length, each (R, L of the group) int64.
        place: where each pair's sentence stands among the groups.
        moment: when; schedules of selected tokens go by it.
        tokens: whether the losses look at tokens too.

    Shape:
        images (B, 3, H, W), place (B,).

    Raises:
        ConfigError: the model is neither, or its tokens cannot be brought into the shared space.
    """
    if isinstance(model, TwoBranches):
        return model.pair_features(images, groups, place, moment, tokens)
    if not isinstance(model, DualEncoder):
        raise ConfigError(f"alignment trains a dual encoder or a model with a local branch, not {type(model).__name__}")
    vectors, seen = model.project_images(images)
    parts = [model.project_texts(group) for group in groups]
    texts = torch.cat([part[0] for part in parts])[place]
    if not tokens:
        return PairFeatures(vectors, texts, model.logit_scale)
    return PairFeatures(
        vectors,
        texts,
        model.logit_scale,
        image_tokens=shared_image_tokens(model, seen),
        text_tokens=tuple(
            TextGroup(rows, model.text_projection(part[1]))
            for rows, part in zip(rows_of_groups(groups, place), parts, strict=True)
        ),
    )


def rows_of_groups(groups: Sequence[Tensor], place: Tensor) -> list[Tensor]:
    """Which pairs the sentences of each group belong to: place (B,) -> one (R,) for each group."""
    return list(place.argsort().split([len(group) for group in groups]))


def shared_image_tokens(model: DualEncoder, tokens: Tensor) -> Tensor:
    """Every token of the pictures in the shared space, as CLIP makes the global one: (B, T, C) -> (B, T, D).

    Raises:
        ConfigError: the image tower pools its tokens into something of another width.
    """
    tokens = model.image_tower.dense(tokens)
    if model.image_tower.width != tokens.shape[-1]:
        raise ConfigError(
            f"the image tower {model.image_tower.name} has tokens of {tokens.shape[-1]} channels and vectors of "
            f"{model.image_tower.width}; losses on tokens (mlm) need a vision transformer, such as the tower clip"
        )
    return model.image_projection(tokens)
