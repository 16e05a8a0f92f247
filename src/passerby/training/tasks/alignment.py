"""Training the alignment of pictures and sentences by any of the losses that text-based person search has brought.

One task for IRRA, RDE, TBPS-CLIP, ITSELF and what lies between them: they differ in a recipe's lines. Captions are
tokenised once and pictures decoded once; every random change happens on tensors, and nothing in a step waits for the
device.

Axes: B pairs of this process and part, C captions, K pairs of each person, L tokens.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from passerby.data.pk_sampler import plan_pk_epoch
from passerby.data.records import Dataset
from passerby.data.samplers import Pairs, sample_epoch
from passerby.errors import CheckpointError, ConfigError
from passerby.losses.id import check_identities
from passerby.models.alignment import Moment, TwoBranches
from passerby.models.dual_encoder import DualEncoder
from passerby.models.itself import Itself
from passerby.models.restore import save_model
from passerby.nn.pair_head import PairHead
from passerby.training.aligner import Aligner, MaskedWords, PairInputs
from passerby.training.augment import augment, padded_crop
from passerby.training.captions import ChangedCaptions, change_captions, vocabulary_of
from passerby.training.consensus import divide
from passerby.training.mixing import mixed_figures
from passerby.training.objectives import Shape, Tal, build_objectives
from passerby.training.tasks.alignment_encoder import build_encoder, freeze_patches, set_text_dropout
from passerby.training.tasks.alignment_recipe import AlignmentRecipe, PairDataConfig
from passerby.training.tasks.base import Selection, described, refuse_other_data
from passerby.training.tasks.dual_encoder import group_by_length, retrieval_figures
from passerby.training.tasks.pair_data import data_mark, normalise, prepare, unchanged
from passerby.training.views import drawn_views, strong_views

_LOGGER = logging.getLogger(__name__)
_TEXT_GROUPS = 4


@dataclass(frozen=True, slots=True)
class AlignmentBatch:
    """One part of a step on the CPU.

    Attributes:
        pixels: (B, H, W, 3) uint8.
        token_ids: the captions in groups of like length, each (R, L of the group) int64.
        place: where each pair's caption stands among the groups, (B,) int64.
        persons: (B,) int64.
        captions: which captions these are, (B,) int64.
    """

    pixels: Tensor
    token_ids: tuple[Tensor, ...]
    place: Tensor
    persons: Tensor
    captions: Tensor


class AlignmentTask:
    """The task of every recipe that aligns pictures and sentences.

    Args:
        recipe: the resolved recipe.
        dataset: where the training and the selection split come from.
        progress: called with (done, total) while pictures are decoded for the first time.

    Raises:
        DataError: the data set lacks a split, an identity or captions.
        ConfigError: a tower, a loss or a size does not fit the others.
        CheckpointError: a pretrained model cannot be had.
    """

    def __init__(
        self, recipe: AlignmentRecipe, dataset: Dataset, progress: Callable[[int, int], None] | None = None
    ) -> None:
        self.recipe, self.dataset = recipe, dataset
        torch.manual_seed(recipe.seed)
        train = dataset.split(recipe.data.train_split)
        encoder, self.tokenizer = build_encoder(
            recipe.model, recipe.data.image_size, [caption.text for caption in train.captions]
        )
        self.preprocessing = encoder.preprocessing
        self.train = prepare(train, self.tokenizer, self.preprocessing, progress)
        selection = recipe.evaluation.selection_split
        self.selection = (
            prepare(dataset.split(selection), self.tokenizer, self.preprocessing, progress)
            if selection in dataset.splits
            else None
        )
        persons = self.train.pairs.person_of
        people = len(np.unique(persons))
        check_identities(people, int(persons.min()), int(persons.max()))
        widths = {"global": int(getattr(encoder, "global_dim", encoder.embedding_dim))}
        if isinstance(encoder, TwoBranches):
            widths["local"] = encoder.local_dim
        objectives = build_objectives(recipe.objectives, Shape(widths, people, self.tokenizer.vocabulary_size))
        set_text_dropout(encoder, recipe.model.text_dropout)
        if recipe.model.freeze_patches:
            freeze_patches(encoder)
        self.model = Aligner(encoder, objectives)
        self.vocabulary = vocabulary_of(self.tokenizer)
        self.text_groups = 1 if torch.cuda.is_available() else _TEXT_GROUPS
        self.parts = 0  # forward passes done; accumulated parts of a step count each
        self.steps = 1
        self.weights = torch.ones(len(self.train.token_ids))
        self._data_mark = data_mark(train)

    # -- what the loop asks for ------------------------------------------------------------------------------------

    def example(self) -> tuple[Any, ...]:
        """Two black pictures of two people with their captions."""
        pixels = torch.zeros(2, *self.preprocessing.image_size, 3, dtype=torch.uint8)
        ids = torch.from_numpy(self.train.token_ids[:2].repeat(2, axis=0)[:2])
        batch = AlignmentBatch(pixels, (ids,), torch.arange(2), torch.arange(2) % len(self.train.pairs.person_of), ids)
        return (self._inputs(batch, torch.Generator().manual_seed(0), torch.device("cpu"), weighted=False),)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Weights with decay; biases, normalisations, embeddings and the temperature without.

        Heads of losses, the local branch and biases have factors of their own; a pretrained encoder's is
        `optimisation.tower_rate`. What the head of pairs has before its classifier moves like the encoder's new layers,
        as in the release of ITSELF.
        """
        options = self.recipe.optimisation
        trained = self.recipe.model.clip is not None or self.recipe.model.start is not None
        pretrained = options.tower_rate if trained else 1.0
        heads = [part for part in self.model.modules() if isinstance(part, PairHead)]
        joining = {id(one) for head in heads for part in (head.join, head.norm) for one in part.parameters()}
        groups: defaultdict[tuple[float, bool], list[nn.Parameter]] = defaultdict(list)
        for name, parameter in self.model.named_parameters():
            if not parameter.requires_grad:
                continue
            of_bias = options.bias_rate if name.endswith("bias") else 1.0
            if id(parameter) in joining:
                rate = of_bias
            elif name.startswith("objectives."):
                rate = options.head_rate
            elif "_local." in name:
                rate = options.local_rate
            else:
                rate = pretrained * of_bias
            groups[rate, parameter.ndim > 1 and "embedding" not in name].append(parameter)
        # A group may carry what is its optimiser's own, which the others do not look at.
        own = {"eps": options.epsilon, "betas": options.betas}
        return [
            {"params": parameters, "rate": rate, **own, **({} if decayed else {"weight_decay": 0.0})}
            for (rate, decayed), parameters in groups.items()
        ]

    def plan(self, epoch: int) -> np.ndarray:
        """(S, B, 2) rows of a picture and its caption; divides the pairs first where the recipe asks for it."""
        consensus = self.recipe.consensus
        if consensus is not None and epoch >= consensus.first and (epoch - consensus.first) % consensus.every == 0:
            self._divide(epoch)
        rng = np.random.default_rng([self.recipe.seed, epoch])
        rows = plan_pairs(self.train.pairs, self.recipe.data, self.recipe.optimisation.batch_size, rng)
        self.steps = len(rows)
        return rows

    def fetch(self, rows: np.ndarray) -> AlignmentBatch:
        """Read pictures and captions; the captions come in groups of like length, each cropped to its longest."""
        images, captions = rows[:, 0], rows[:, 1]
        groups, place = group_by_length(self.train.token_ids[captions], self.text_groups)
        return AlignmentBatch(
            torch.from_numpy(self.train.pixels[images]),
            tuple(torch.from_numpy(group) for group in groups),
            torch.from_numpy(place),
            torch.from_numpy(self.train.pairs.person_of[images]),
            torch.from_numpy(np.ascontiguousarray(captions)),
        )

    def losses(
        self, model: nn.Module, batch: AlignmentBatch, generator: torch.Generator, device: torch.device
    ) -> dict[str, Tensor]:
        """The recipe's objectives, weighted."""
        values = model(self._inputs(batch, generator, device, weighted=self.recipe.consensus is not None))
        self.parts += 1
        return dict(zip(self.model.objectives, values, strict=True))

    def validate(self, model: nn.Module) -> Selection | None:
        """Text-to-image R@1 and mAP on the selection split, in percent."""
        if self.selection is None or not isinstance(model, Aligner):
            return None
        device = next(model.parameters()).device
        if isinstance(model.encoder, Itself):
            mix, figures = mixed_figures(model.encoder, self.selection, device, self.recipe.evaluation.metric)
            model.encoder.set_mix(mix)  # stored with the checkpoint, if this validation is the best
        else:
            figures = retrieval_figures(model.encoder, self.selection, device)  # type: ignore[arg-type]
        if self.recipe.consensus is not None:
            figures["believed"] = 100 * float(self.weights.mean())
        return Selection(figures[self.recipe.evaluation.metric], figures)

    def save(self, model: nn.Module, folder: Path, figures: Mapping[str, float]) -> None:
        """Write the encoder without the heads of its losses as a checkpoint folder."""
        encoder = model.encoder if isinstance(model, Aligner) else model
        if not isinstance(encoder, DualEncoder):
            raise CheckpointError(f"an encoder of pictures and sentences is saved, found {type(encoder).__name__}")
        save_model(
            encoder,
            folder,
            kind="itself" if isinstance(encoder, TwoBranches) else "dual_encoder",
            preprocessing=encoder.preprocessing,
            tokenizer=self.tokenizer,
            **described(self.recipe, self.dataset, self.recipe.data.train_split, figures),
        )

    def state(self) -> dict[str, Tensor]:
        """How far schedules are, how much each pair counts, and by what the data is known again."""
        return {"parts": torch.tensor(self.parts), "weights": self.weights.clone(), "data": self._data_mark}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `state` gave.

        Raises:
            CheckpointError: the run was begun on other pictures or captions.
        """
        refuse_other_data(state["data"], self._data_mark, self.dataset, self.recipe.data.train_split)
        self.parts, self.weights = int(state["parts"]), state["weights"].clone()

    # -- one step --------------------------------------------------------------------------------------------------

    def _inputs(
        self, batch: AlignmentBatch, generator: torch.Generator, device: torch.device, weighted: bool
    ) -> PairInputs:
        changed = [self._changed(group, generator) for group in batch.token_ids]
        pixels = batch.pixels.to(device, non_blocking=True)
        objectives = self.recipe.objectives
        second = objectives.n_itc is not None and objectives.n_itc.second_view
        strong = None
        if objectives.ss is not None:
            plain = pixels.permute(0, 3, 1, 2).float().div_(255)
            strong = torch.cat([strong_views(plain, generator) for _ in range(2)])
        moment = Moment(self.parts // self.recipe.optimisation.accumulation, self.steps)
        return PairInputs(
            normalise(self._view(pixels, generator), self.preprocessing),
            [one.ids.to(device, non_blocking=True) for one in changed],
            batch.place.to(device, non_blocking=True),
            batch.persons.to(device, non_blocking=True),
            moment,
            self.weights[batch.captions].to(device, non_blocking=True) if weighted else None,
            self._masked(batch, changed, generator, device),
            normalise(self._view(pixels, generator), self.preprocessing) if second else None,
            None if strong is None else normalise(strong, self.preprocessing),
        )

    def _view(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        """Randomly changed pictures in [0, 1]: (B, H, W, 3) uint8 -> (B, 3, H, W)."""
        chosen = self.recipe.pictures
        moved = padded_crop(pixels, chosen.pad, generator)
        images = augment(moved, self.recipe.augmentation, generator, chosen.largest_erased)
        return drawn_views(images, chosen.drawn, generator) if chosen.drawn else images

    def _changed(self, ids: Tensor, generator: torch.Generator) -> ChangedCaptions:
        chosen = self.recipe.captions
        if chosen.touch == 0:
            return ChangedCaptions(ids, torch.zeros_like(ids))
        return change_captions(ids, self.vocabulary, generator, **chosen.model_dump())

    def _masked(
        self, batch: AlignmentBatch, changed: list[ChangedCaptions], generator: torch.Generator, device: torch.device
    ) -> list[MaskedWords]:
        mlm, found = self.recipe.objectives.mlm, []
        if mlm is None:
            return []
        for ids, shared in zip(batch.token_ids, changed, strict=True):
            own = shared
            if mlm.words == "own":
                chance = mlm.probability
                own = change_captions(ids, self.vocabulary, generator, chance, 0.8, 0.1, 0.0, at_least_one=True)
            labels = own.labels.flatten()
            places = labels.nonzero()[:, 0]
            found.append(
                MaskedWords(
                    own.ids.to(device, non_blocking=True) if mlm.words == "own" else None,
                    places.to(device, non_blocking=True),
                    labels[places].to(device, non_blocking=True),
                )
            )
        return found

    # -- noisy pairs -----------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _divide(self, epoch: int) -> None:
        """Ask both branches how badly each pair fits, without random changes and in an order that the seed decides."""
        rng = np.random.default_rng([self.recipe.seed, epoch, 1])
        order, size = rng.permutation(len(self.train.token_ids)), self.recipe.optimisation.batch_size
        device, training = next(self.model.parameters()).device, self.model.training
        tal = self.model.objectives["tal"]
        if not isinstance(tal, Tal):
            raise ConfigError("consensus goes by objectives.tal; add it")
        found = np.zeros((2, len(order)))
        self.model.eval()
        for start in range(0, len(order), size):
            captions = order[start : start + size]
            features = self.model.features(self._plain_inputs(captions, device))
            persons = torch.from_numpy(self.train.pairs.person_of[self.train.pairs.image_of[captions]]).to(device)
            branches = self.model.branches(features, persons, alone=True)
            found[:, captions] = [
                tal.of_pairs(branches[name], persons).double().cpu().numpy() for name in ("global", "local")
            ]
        self.model.train(training)
        self.weights = torch.from_numpy(divide(found[0], found[1], rng))
        _LOGGER.info("epoch %d: %.1f %% of the pairs are believed", epoch, 100 * float(self.weights.mean()))

    def _plain_inputs(self, captions: np.ndarray, device: torch.device) -> PairInputs:
        images = self.train.pairs.image_of[captions]
        groups, place = group_by_length(self.train.token_ids[captions], self.text_groups)
        return PairInputs(
            unchanged(self.train.pixels[images], self.preprocessing, device),
            [torch.from_numpy(group).to(device) for group in groups],
            torch.from_numpy(place).to(device),
            torch.from_numpy(self.train.pairs.person_of[images]).to(device),
        )


def plan_pairs(pairs: Pairs, data: PairDataConfig, batch_size: int, rng: np.random.Generator) -> np.ndarray:
    """Plan an epoch of pairs of a picture and a caption.

    Args:
        pairs: which caption describes which picture, and whom.
        data: the recipe's section.
        batch_size: pairs of a batch.
        rng: decides everything.

    Shape:
        (S, B, 2) int64; under `identity` the K pairs of a person stand side by side, so that processes that take whole
        rows take whole people.

    Raises:
        ConfigError: there are fewer people than a batch of the sampler `identity` holds.
    """
    if data.sampler == "identity":
        persons = pairs.person_of[pairs.image_of]  # (C,)
        present, dense = np.unique(persons, return_inverse=True)
        people = batch_size // data.pairs_each
        if people > len(present):
            raise ConfigError(
                f"optimisation.batch_size={batch_size} with data.pairs_each={data.pairs_each} needs {people} people in "
                f"a batch, and the split has {len(present)}; lower the batch size to at most "
                f"{len(present) * data.pairs_each}"
            )
        captions = plan_pk_epoch(dense, people, data.pairs_each, rng, cover_all=False).reshape(-1, batch_size)
        return np.stack([pairs.image_of[captions], captions], axis=2)
    if data.sampler == "pairs":
        order = rng.permutation(len(pairs.image_of))
        size = min(batch_size, len(order))
        captions = order[: len(order) // size * size].reshape(-1, size)
        return np.stack([pairs.image_of[captions], captions], axis=2)
    return sample_epoch(data.sampler, pairs, batch_size, rng)
