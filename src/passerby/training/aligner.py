"""A model and its losses as one module, whose forward pass is a whole step.

Data-parallel training follows the forward pass of one module; with the heads of the losses inside it every parameter
is seen, and the losses may gather what they compare from all processes. Losses are computed in float32 whatever the
precision around them: at a temperature of 0.015 half precision has no decimals left.

Axes: B pairs of this process, L tokens, M masked places.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from passerby.errors import ConfigError
from passerby.models.alignment import START, Moment, PairFeatures, pair_features_of, rows_of_groups
from passerby.models.dual_encoder import DualEncoder, unit_rows
from passerby.training.objectives import Branch, MaskedGroup, Step, branch_of


class MaskedWords(NamedTuple):
    """Which words of a group of sentences are to be told; found on the CPU, so that nothing waits for the device.

    Attributes:
        ids: the masked sentences, (R, L) int64; None where the group's own sentences are masked already.
        places: which of the R * L places, (M,) int64.
        labels: the words that stood there, (M,) int64.
    """

    ids: Tensor | None
    places: Tensor
    labels: Tensor


class PairInputs(NamedTuple):
    """One part of a step on the device.

    Attributes:
        images: normalised pictures, (B, 3, H, W).
        groups: token ids in groups of like length, each (R, L of the group).
        place: where each pair's sentence stands among the groups, (B,).
        persons: class of each pair's person, (B,).
        moment: when this is.
        weights: how much each pair counts, (B,); None when all count alike.
        masked: for each group, words to be told; empty without such a loss.
        second: second views of the pictures, (B, 3, H, W).
        strong: two strongly changed views, one after the other, (2B, 3, H, W).
    """

    images: Tensor
    groups: Sequence[Tensor]
    place: Tensor
    persons: Tensor
    moment: Moment = START
    weights: Tensor | None = None
    masked: Sequence[MaskedWords] = ()
    second: Tensor | None = None
    strong: Tensor | None = None


class Aligner(nn.Module):
    """An encoder with its objectives.

    Args:
        encoder: a `DualEncoder` or a model with two branches; what is saved and searched with.
        objectives: name -> `Objective`.
    """

    def __init__(self, encoder: nn.Module, objectives: nn.ModuleDict) -> None:
        super().__init__()
        self.encoder, self.objectives = encoder, objectives

    def forward(self, inputs: PairInputs) -> tuple[Tensor, ...]:
        """The losses in the order of `objectives`, scalars."""
        features = self.features(inputs)
        second = None if inputs.second is None else self._pictures(inputs.second)
        strong = None if inputs.strong is None else self._pictures(inputs.strong)
        masked = tuple(self._masked(inputs, features)) if inputs.masked else ()
        with torch.autocast(inputs.images.device.type, enabled=False):
            step = Step(
                self.branches(features, inputs.persons),
                inputs.persons,
                features.scale.float(),
                inputs.moment.epochs,
                inputs.weights,
                None if features.image_tokens is None else features.image_tokens.float(),
                tuple(group._replace(tokens=group.tokens.float()) for group in masked),
                None if second is None else unit_rows(second),
                None if strong is None else strong.float(),
            )
            return tuple(objective(step) for objective in self.objectives.values())

    def features(self, inputs: PairInputs) -> PairFeatures:
        """What the encoder sees in a batch."""
        tokens = bool(inputs.masked)
        return pair_features_of(self.encoder, inputs.images, inputs.groups, inputs.place, inputs.moment, tokens)

    @staticmethod
    def branches(features: PairFeatures, persons: Tensor, alone: bool = False) -> dict[str, Branch]:
        """The branches that the encoder has, gathered from all processes unless this one is `alone`."""
        found = {"global": branch_of(features.images, features.texts, persons, alone)}
        if features.local_images is not None and features.local_texts is not None:
            found["local"] = branch_of(features.local_images, features.local_texts, persons, alone)
        return found

    def _pictures(self, images: Tensor) -> Tensor:
        if not isinstance(self.encoder, DualEncoder):
            raise ConfigError(f"ss and n_itc.second_view need a dual encoder, not {type(self.encoder).__name__}")
        return self.encoder.project_images(images)[0]

    def _masked(self, inputs: PairInputs, features: PairFeatures) -> list[MaskedGroup]:
        if not isinstance(self.encoder, DualEncoder):
            raise ConfigError(f"mlm needs a dual encoder, not {type(self.encoder).__name__}")
        tower, found = self.encoder.text_tower, []
        rows = rows_of_groups(inputs.groups, inputs.place)
        for index, (ids, words) in enumerate(zip(inputs.groups, inputs.masked, strict=True)):
            if words.ids is None:
                tokens, mask = features.text_tokens[index].tokens, tower.mask(ids)
            else:
                seen, mask = tower.tokens(words.ids), tower.mask(words.ids)
                tokens = self.encoder.text_projection(seen)
            found.append(MaskedGroup(rows[index], tokens, mask, words.places, words.labels))
        return found
