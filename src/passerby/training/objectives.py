"""The losses that a recipe of alignment names, with the heads that some of them need.

Each is a module that looks at one step and returns one number. Heads live here and not in the model: what is trained
to be searched with never contains them. Adding a loss is one class here, one line in `OBJECTIVES` and one section in
the recipe.

Axes: Q pairs of this process, N pairs of all processes, D width of a branch, C people, V words of the vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from passerby.errors import ConfigError
from passerby.losses.c_itc import c_itc
from passerby.losses.cid import cross_modal_identity, instance_identity
from passerby.losses.id import identity_classification
from passerby.losses.identity_contrastive import identity_contrastive
from passerby.losses.mlm import masked_words
from passerby.losses.n_itc import n_itc
from passerby.losses.pairs import Candidates
from passerby.losses.r_itc import r_itc
from passerby.losses.sdm import sdm
from passerby.losses.ss import self_supervision
from passerby.losses.tal import tal
from passerby.nn.masked_word_head import MaskedWordHead
from passerby.nn.pair_head import PairHead
from passerby.training.gather import first_row, gather_with_gradient, process_count
from passerby.training.tasks import alignment_recipe as options


@dataclass(frozen=True, slots=True)
class Branch:
    """The vectors of one branch of the model, as they are and at unit length.

    Attributes:
        images: (Q, D) float32.
        texts: (Q, D) float32.
        everywhere: those of all processes, gathered with gradient; None when there is one.
        unit_images: (Q, D).
        unit_texts: (Q, D).
        unit_everywhere: likewise of unit length.
    """

    images: Tensor
    texts: Tensor
    everywhere: Candidates | None
    unit_images: Tensor
    unit_texts: Tensor
    unit_everywhere: Candidates | None


class MaskedGroup(NamedTuple):
    """Masked sentences of like length, ready to be told.

    Attributes:
        rows: which pairs they belong to, (R,) int64.
        tokens: (R, L, D).
        mask: True where there is a word, (R, L).
        places: the masked of the R * L places, (M,) int64.
        labels: the words that stood there, (M,) int64.
    """

    rows: Tensor
    tokens: Tensor
    mask: Tensor
    places: Tensor
    labels: Tensor


@dataclass(frozen=True, slots=True)
class Step:
    """What the losses of one step look at.

    Attributes:
        branches: "global", and "local" where the model has it.
        ids: class of each pair's person, (Q,) int64.
        scale: learned inverse temperature.
        epoch: epochs done, with the part of the current one.
        weights: how much each pair counts, (Q,); None when all count alike.
        image_tokens: (Q, T, D), for losses on tokens.
        masked: masked sentences, for `mlm`.
        second_images: unit vectors of a second view of each picture, (Q, D), for `n_itc`.
        strong_images: vectors of two strongly changed views, one after the other, (2Q, D), for `ss`.
    """

    branches: Mapping[str, Branch]
    ids: Tensor
    scale: Tensor
    epoch: float = 0.0
    weights: Tensor | None = None
    image_tokens: Tensor | None = None
    masked: tuple[MaskedGroup, ...] = ()
    second_images: Tensor | None = None
    strong_images: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Shape:
    """What heads are built for: the width of each branch, the number of people, and of words."""

    widths: Mapping[str, int]
    people: int
    words: int


def branch_of(images: Tensor, texts: Tensor, ids: Tensor, alone: bool = False) -> Branch:
    """Gather the vectors of all processes and bring them to unit length: (Q, D), (Q, D), (Q,).

    A process that is `alone` gathers nothing, as where all processes do the same.
    """
    images, texts = images.float(), texts.float()
    everywhere = unit_everywhere = None
    if not alone and process_count() > 1:
        everywhere = Candidates(gather_with_gradient(images), gather_with_gradient(texts), gather_with_gradient(ids))
        unit_everywhere = Candidates(normalize(everywhere.images), normalize(everywhere.texts), everywhere.ids)
    return Branch(images, texts, everywhere, normalize(images), normalize(texts), unit_everywhere)


class Objective(nn.Module, ABC):
    """A loss of a recipe.

    Args:
        chosen: the recipe's section.
        shape: what its heads are built for.

    Raises:
        ConfigError: the loss asks for a branch that the model does not have.
    """

    def __init__(self, chosen: Any, shape: Shape) -> None:
        super().__init__()
        self.chosen = chosen
        self.branches = list(shape.widths) if chosen.branches == "all" else [chosen.branches]
        if not set(self.branches) <= set(shape.widths):
            raise ConfigError(
                f"an objective has branches={chosen.branches}, and the model has {', '.join(shape.widths)} only; give "
                "it model.local, or take branches=all"
            )

    def forward(self, step: Step) -> Tensor:
        """The weighted loss, a scalar; its mean over processes is that of the whole batch."""
        parts = [self.of_branch(name, step.branches[name], step) for name in self.branches]
        return self.chosen.weight * torch.stack(parts).sum()

    @abstractmethod
    def of_branch(self, name: str, branch: Branch, step: Step) -> Tensor:
        """The loss of one branch, a scalar."""


class Contrastive(Objective):
    """Contrast by identity with the learned temperature."""

    def of_branch(self, name: str, branch: Branch, step: Step) -> Tensor:
        """See `identity_contrastive`."""
        everywhere = branch.unit_everywhere or (None, None, None)
        return identity_contrastive(branch.unit_images, branch.unit_texts, step.ids, step.scale, *everywhere)


class Sdm(Objective):
    """Similarity distribution matching."""

    chosen: options.SdmObjective

    def of_branch(self, name: str, branch: Branch, step: Step) -> Tensor:
        """See `sdm`."""
        scale = 1 / self.chosen.temperature
        pair = branch.unit_images, branch.unit_texts
        return sdm(*pair, step.ids, scale, branch.unit_everywhere, self.chosen.epsilon)


class Tal(Objective):
    """Triplet alignment; pairs count as much as the step says."""

    chosen: options.TalObjective

    def of_branch(self, name: str, branch: Branch, step: Step) -> Tensor:
        """See `tal`."""
        values = self.of_pairs(branch, step.ids)
        if step.weights is not None:
            values = values * step.weights
        # Processes are averaged afterwards, and a sum over the batch is a sum over them too.
        return values.mean() if self.chosen.reduction == "mean" else values.sum() * process_count()

    def of_pairs(self, branch: Branch, ids: Tensor) -> Tensor:
        """The loss of each pair, (Q,)."""
        pair = branch.unit_images, branch.unit_texts
        return tal(*pair, ids, branch.unit_everywhere, self.chosen.temperature, self.chosen.margin)


class Cid(Objective):
    """Cross-modal identity with a head for each branch."""

    chosen: options.CidObjective

    def __init__(self, chosen: options.CidObjective, shape: Shape) -> None:
        super().__init__(chosen, shape)
        self.mismatch = shape.people
        self.pairs = nn.ModuleDict({name: PairHead(shape.widths[name], shape.people + 1) for name in self.branches})
        alone = {name: _classifier(shape.widths[name], shape.people + 1) for name in self.branches}
        self.alone = nn.ModuleDict(alone if chosen.instance else {})

    def of_branch(self, name: str, branch: Branch, step: Step) -> Tensor:
        """See `cross_modal_identity` and `instance_identity`."""
        head = self.pairs[name]
        loss = cross_modal_identity(
            branch.images,
            branch.texts,
            step.ids,
            head.project,  # type: ignore[arg-type]
            head,
            self.mismatch,
            branch.everywhere,
            self.chosen.batch_max,
        )
        if self.chosen.instance:
            alone = self.alone[name]
            loss = loss + instance_identity(alone(branch.images), alone(branch.texts), step.ids)
        return loss


class Id(Objective):
    """Identity classification with one classifier for each branch."""

    def __init__(self, chosen: options.IdObjective, shape: Shape) -> None:
        super().__init__(chosen, shape)
        self.heads = nn.ModuleDict({name: _classifier(shape.widths[name], shape.people) for name in self.branches})

    def of_branch(self, name: str, branch: Branch, step: Step) -> Tensor:
        """See `identity_classification`."""
        head = self.heads[name]
        return identity_classification(head(branch.images), head(branch.texts), step.ids)


class Mlm(Objective):
    """Masked words, told from sentence and picture."""

    chosen: options.MlmObjective

    def __init__(self, chosen: options.MlmObjective, shape: Shape) -> None:
        super().__init__(chosen, shape)
        self.head = MaskedWordHead(shape.widths["global"], shape.words, chosen.layers, chosen.heads)

    def of_branch(self, name: str, branch: Branch, step: Step) -> Tensor:
        """See `masked_words`; places are averaged over all processes."""
        if step.image_tokens is None:
            raise ConfigError("mlm looks at tokens, and this step has none")
        logits = [
            self.head(group.tokens, group.mask, step.image_tokens[group.rows], group.places) for group in step.masked
        ]
        labels = torch.cat([group.labels for group in step.masked])
        count = gather_with_gradient(torch.tensor([len(labels)], device=labels.device)).sum()
        return masked_words(torch.cat(logits), labels, count.clamp(min=1) / process_count())


class NItc(Objective):
    """Contrast with soft labels that grow softer over the first epochs."""

    chosen: options.NItcObjective

    def of_branch(self, name: str, branch: Branch, step: Step) -> Tensor:
        """See `n_itc`."""
        ramp = min(1.0, step.epoch / self.chosen.ramp) if self.chosen.ramp else 1.0
        softness = self.chosen.softness * ramp
        everywhere = branch.unit_everywhere
        loss = n_itc(branch.unit_images, branch.unit_texts, step.ids, step.scale, everywhere, softness)
        if step.second_images is None or name != "global":
            return loss
        second = step.second_images
        if everywhere is not None:
            everywhere = everywhere._replace(images=gather_with_gradient(second))
        return (loss + n_itc(second, branch.unit_texts, step.ids, step.scale, everywhere, softness)) / 2


class RItc(Objective):
    """Reversed contrast."""

    chosen: options.RItcObjective

    def of_branch(self, name: str, branch: Branch, step: Step) -> Tensor:
        """See `r_itc`."""
        pair = branch.unit_images, branch.unit_texts
        return r_itc(*pair, step.ids, step.scale, branch.unit_everywhere, self.chosen.epsilon)


class CItc(Objective):
    """Cyclic contrast."""

    def of_branch(self, name: str, branch: Branch, step: Step) -> Tensor:
        """See `c_itc`."""
        return c_itc(branch.unit_images, branch.unit_texts, step.ids, branch.unit_everywhere)


class Ss(Objective):
    """Self-supervision of pictures through a perceptron of its own, of which TBPS-CLIP's has no normalisation."""

    chosen: options.SsObjective

    def __init__(self, chosen: options.SsObjective, shape: Shape) -> None:
        super().__init__(chosen, shape)
        width = shape.widths["global"]
        self.head = nn.Sequential(nn.Linear(width, chosen.width), nn.ReLU(), nn.Linear(chosen.width, chosen.out))

    def of_branch(self, name: str, branch: Branch, step: Step) -> Tensor:
        """See `self_supervision`."""
        if step.strong_images is None:
            raise ConfigError("ss looks at two strongly changed views, and this step has none")
        first, second = normalize(self.head(step.strong_images).float()).chunk(2)
        gathered = gather_with_gradient(first), gather_with_gradient(second)
        return self_supervision(first, second, self.chosen.temperature, *gathered, first_row(len(first)))


def _classifier(width: int, classes: int) -> nn.Linear:
    layer = nn.Linear(width, classes)
    nn.init.normal_(layer.weight, std=0.001)
    nn.init.zeros_(layer.bias)
    return layer


#: Every loss by the name that a recipe's section `objectives` uses.
OBJECTIVES: Mapping[str, type[Objective]] = MappingProxyType(
    {
        "contrastive": Contrastive,
        "sdm": Sdm,
        "tal": Tal,
        "cid": Cid,
        "id": Id,
        "mlm": Mlm,
        "n_itc": NItc,
        "r_itc": RItc,
        "c_itc": CItc,
        "ss": Ss,
    }
)


def build_objectives(chosen: options.ObjectivesConfig, shape: Shape) -> nn.ModuleDict:
    """The losses of a recipe, in the order of the table.

    Raises:
        ConfigError: a loss does not fit the model.
    """
    return nn.ModuleDict({name: OBJECTIVES[name](section, shape) for name, section in chosen.chosen.items()})
