"""Training a dual encoder: pictures and captions into one space, pulled together by identity.

Captions are tokenised once, pictures decoded once (memory-mapped), and every random change happens on tensors. A
pretrained text tower brings its own tokenizer, any other gets one trained on the captions. When the sampler asks for
hard negatives, the latest sentence vector of each person is remembered; the next epoch then puts people side by side
whose descriptions the model itself finds alike.

Axes: B pictures of this process and part, K captions of each, L tokens, D embedding width.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from passerby.data.records import Dataset
from passerby.data.samplers import sample_epoch
from passerby.errors import CheckpointError, ConfigError
from passerby.losses.identity_contrastive import identity_contrastive
from passerby.metrics.positions import rank_features
from passerby.metrics.precision import average_precision
from passerby.metrics.ranking import hits_at, mean_over_queries
from passerby.metrics.relevance import relevance_from_labels
from passerby.models.attended import tower_weights_at
from passerby.models.dual_encoder import DualEncoder, build_dual_encoder, unit_rows
from passerby.models.preprocessing import Preprocessing
from passerby.models.restore import save_dual_encoder
from passerby.models.tokenizer import Tokenizer
from passerby.models.towers.registry import image_tower_names, text_tower_names, text_tower_tokenizer
from passerby.training.augment import augment
from passerby.training.gather import gather_with_gradient
from passerby.training.tasks.base import Selection, described, refuse_other_data
from passerby.training.tasks.dual_encoder_losses import (
    contrast,
    first_temperature,
    keeps_length,
    split_loss,
)
from passerby.training.tasks.dual_encoder_recipe import (
    DualEncoderRecipe,
    ModelConfig,
    ObjectiveConfig,
    TowerConfig,
)
from passerby.training.tasks.pair_data import Prepared, data_mark, encode, normalise, prepare, unchanged

_TEXT_GROUPS, _SMALLEST_GROUP = 4, 16


@dataclass(frozen=True, slots=True)
class PairBatch:
    """One part of a step.

    Attributes:
        pixels: (B, H, W, 3) uint8.
        token_ids: the K * B captions in groups of like length, each (rows, L of the group) int64.
        place: (K * B,) int64, where each caption stands among the groups; captions in the order first of all pictures,
            second of all pictures, and so on.
        persons: (B,) int64.
    """

    pixels: Tensor
    token_ids: tuple[Tensor, ...]
    place: Tensor
    persons: Tensor


class DualEncoderTask:
    """The task of every recipe whose model is a dual encoder.

    Args:
        recipe: the resolved recipe.
        dataset: where the training and the selection split come from.
        progress: called with (done, total) while pictures are decoded for the first time.

    Raises:
        DataError: the data set lacks a split, an identity or captions.
        ConfigError: a tower is unknown, or cannot take the picture size or such long sentences.
        CheckpointError: a pretrained tower cannot be had.
    """

    def __init__(
        self, recipe: DualEncoderRecipe, dataset: Dataset, progress: Callable[[int, int], None] | None = None
    ) -> None:
        self.recipe = recipe
        self.dataset = dataset
        torch.manual_seed(recipe.seed)
        train = dataset.split(recipe.data.train_split)
        self.tokenizer = choose_tokenizer(recipe.model, [caption.text for caption in train.captions])
        self.model: DualEncoder = build_dual_encoder(
            recipe.model.model_dump(),
            image_size=recipe.data.image_size,
            vocabulary_size=self.tokenizer.vocabulary_size,
            context_length=recipe.model.tokenizer.context_length,
            temperature=first_temperature(recipe),
        )
        self.model.use_ghost_batches(recipe.optimisation.ghost_batches)
        # Nothing learns the scale of soft targets; without this, several processes would wait for its gradient.
        self.model.log_scale.requires_grad_(not keeps_length(recipe.objective))
        _check_length(self.model, recipe)
        self.preprocessing = self.model.preprocessing
        self.size = self.preprocessing.image_size
        self.train = prepare(train, self.tokenizer, self.preprocessing, progress)
        selection = recipe.evaluation.selection_split
        self.selection = (
            prepare(dataset.split(selection), self.tokenizer, self.preprocessing, progress)
            if selection in dataset.splits
            else None
        )
        # Padding is half of the work of a text tower; a GPU would rather have one large group.
        self.text_groups = 1 if torch.cuda.is_available() else _TEXT_GROUPS
        people = int(self.train.pairs.person_of.max()) + 1
        self.memory = torch.zeros(people, recipe.model.embedding_dim)
        self._data_mark = data_mark(train)

    def example(self) -> tuple[Tensor, ...]:
        """One black picture and one sentence of four tokens."""
        return torch.zeros(1, 3, *self.size), torch.ones(1, 4, dtype=torch.int64)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Weights with decay; biases, normalisations, embeddings and the temperature without (Loshchilov 2019).

        Pretrained towers move at `optimisation.tower_rate` and `text_tower_rate` times the learning rate, everything
        new, attention mechanisms among it, at the full one.
        """
        config, options = self.recipe.model, self.recipe.optimisation
        towers: dict[str, float] = {}  # prefix of pretrained weights -> factor of the learning rate
        if is_pretrained(config.image, image_tower_names()):
            towers[tower_weights_at(self.model.image_tower, "image")] = options.tower_rate
        if is_pretrained(config.text, text_tower_names()):
            rate = options.tower_rate if options.text_tower_rate is None else options.text_tower_rate
            towers[tower_weights_at(self.model.text_tower, "text")] = rate
        groups: defaultdict[tuple[float, float | None], list[nn.Parameter]] = defaultdict(list)
        for name, parameter in self.model.named_parameters():
            prefix = next((prefix for prefix in towers if name.startswith(prefix)), None)
            decay = options.tower_decay if prefix else None
            if parameter.ndim <= 1 or "embedding" in name:
                decay = 0.0
            groups[towers[prefix] if prefix else 1.0, decay].append(parameter)
        return [
            {"params": parameters, "rate": rate, **({} if decay is None else {"weight_decay": decay})}
            for (rate, decay), parameters in groups.items()
        ]

    def plan(self, epoch: int) -> np.ndarray:
        """(S, B, 1 + K) rows of a picture and its captions."""
        data = self.recipe.data
        remembered = self.memory.any(dim=1).all()
        return sample_epoch(
            data.sampler,
            self.train.pairs,
            self.recipe.optimisation.batch_size,
            np.random.default_rng([self.recipe.seed, epoch]),
            self.memory.cpu().numpy() if remembered else None,
            data.neighbours,
            data.captions_of,
            data.captions,
            data.epoch_of,
            epoch,
        )

    def fetch(self, rows: np.ndarray) -> PairBatch:
        """Read pictures and captions; the captions come in groups of like length, each cropped to its longest."""
        images, captions = rows[:, 0], rows[:, 1:].T.reshape(-1)  # (B,), (K * B,)
        groups, place = group_by_length(self.train.token_ids[captions], self.text_groups)
        return PairBatch(
            torch.from_numpy(self.train.pixels[images]),
            tuple(torch.from_numpy(group) for group in groups),
            torch.from_numpy(place),
            torch.from_numpy(self.train.pairs.person_of[images]),
        )

    def losses(
        self, model: nn.Module, batch: PairBatch, generator: torch.Generator, device: torch.device
    ) -> dict[str, Tensor]:
        """Identity-aware contrast of each picture with each of its captions, and of the captions with each other.

        Two narrators put the same coat into different words; their contrast teaches synonyms without any picture
        (the intra-modal idea of TBPS-CLIP's SS and C-ITC, Cao et al. 2024, on captions instead of augmentations).
        """
        pixels = augment(batch.pixels.to(device, non_blocking=True), self.recipe.augmentation, generator)
        ids = [group.to(device, non_blocking=True) for group in batch.token_ids]
        place, persons = batch.place.to(device, non_blocking=True), batch.persons.to(device, non_blocking=True)
        objective = self.recipe.objective
        images, grouped, scale = model(normalise(pixels, self.preprocessing), ids, not keeps_length(objective))
        texts = grouped[place]  # (K * B, D)
        narrations = texts.chunk(self.recipe.data.captions)  # K of (B, D)
        everywhere = [gather_with_gradient(narration) for narration in narrations]
        all_images, all_persons = gather_with_gradient(images), gather_with_gradient(persons)
        if self.recipe.data.sampler == "neighbours":
            self.memory = self.memory.to(device)  # once; nothing here waits for the device
            self.memory[all_persons] = _unit_where_not(everywhere[0].detach(), objective)
        across = [
            contrast(objective, (images, narration, persons), (all_images, gathered, all_persons), scale)
            for narration, gathered in zip(narrations, everywhere, strict=True)
        ]
        losses = {"contrastive": torch.stack(across).mean()}
        if objective.text_to_text > 0:
            pairs = [_unit_where_not(part, objective) for part in (*narrations[:2], *everywhere[:2])]
            between = identity_contrastive(pairs[0], pairs[1], persons, scale, pairs[2], pairs[3], all_persons)
            losses["text_to_text"] = objective.text_to_text * between
        return losses

    def validate(self, model: nn.Module) -> Selection | None:
        """Text-to-image R@1 and mAP on the selection split, in percent, and the loss where that chooses."""
        if self.selection is None or not isinstance(model, DualEncoder):
            return None
        figures = retrieval_figures(model, self.selection, next(model.parameters()).device)
        if self.recipe.evaluation.metric == "loss":
            vectors = encode(model, self.selection, unit=not keeps_length(self.recipe.objective))
            figures["loss"] = split_loss(self.recipe, *vectors, self.selection.pairs, model.logit_scale)
            return Selection(-figures["loss"], figures)
        return Selection(figures[self.recipe.evaluation.metric], figures)

    def save(self, model: nn.Module, folder: Path, figures: Mapping[str, float]) -> None:
        """Write the checkpoint folder, replacing an earlier one whole."""
        if not isinstance(model, DualEncoder):
            raise CheckpointError(f"a dual encoder is saved, found {type(model).__name__}")
        save_dual_encoder(
            model,
            self.tokenizer,
            folder,
            **described(self.recipe, self.dataset, self.recipe.data.train_split, figures),
        )

    def state(self) -> dict[str, Tensor]:
        """The remembered sentence vectors, and by what the data is known again."""
        return {"memory": self.memory.clone(), "data": self._data_mark}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take back the remembered sentence vectors.

        Raises:
            CheckpointError: the run was begun on other pictures or captions.
        """
        refuse_other_data(state["data"], self._data_mark, self.dataset, self.recipe.data.train_split)
        self.memory = state["memory"].clone()


def group_by_length(ids: np.ndarray, groups: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Sort sentences by length into groups and cut each group to its longest, which changes no vector.

    Args:
        ids: (C, L) token ids, 0 is padding.
        groups: how many groups at most; none has fewer than 16 sentences unless there is only one.

    Returns:
        The groups, (rows, their longest) each, and (C,) int64: where each sentence stands when they are put in a row.
    """
    lengths = ids.shape[1] - (ids[:, ::-1] != 0).argmax(axis=1)  # id 0 may also be a word, so counting would not do
    lengths[~(ids != 0).any(axis=1)] = 1
    order = np.argsort(lengths, kind="stable")
    parts = np.array_split(order, max(1, min(groups, len(ids) // _SMALLEST_GROUP)))
    cut = [np.ascontiguousarray(ids[part, : lengths[part].max()]) for part in parts]
    return cut, np.argsort(order, kind="stable")


def choose_tokenizer(config: ModelConfig, captions: Sequence[str]) -> Tokenizer:
    """The tokenizer that belongs to a pretrained text tower's weights, or else a new one, trained on the captions."""
    length = config.tokenizer.context_length
    brought = text_tower_tokenizer(config.text.name, length, **config.text.options)
    return Tokenizer.train(captions, config.tokenizer.vocabulary, length) if brought is None else brought


def is_pretrained(tower: TowerConfig, registered: Collection[str]) -> bool:
    """Whether a tower starts from somebody's weights: it names a source, and does not ask for random weights."""
    named = "source" in tower.options or tower.name not in registered
    return named and tower.options.get("weights") != "random"


def _check_length(model: DualEncoder, recipe: DualEncoderRecipe) -> None:
    most, asked = model.text_tower.options.get("context_length"), recipe.model.tokenizer.context_length
    if isinstance(most, int) and asked > most:
        raise ConfigError(
            f"model.tokenizer.context_length is {asked}; the text tower {recipe.model.text.name} takes at most {most}"
        )


class PairEncoder(Protocol):
    """What can be asked for vectors of pictures and of sentences."""

    @property
    def preprocessing(self) -> Preprocessing:
        """What the pictures must look like."""
        ...

    def encode_images(self, images: Tensor) -> Tensor:
        """Normalised pictures (B, 3, H, W) -> unit vectors (B, D)."""
        ...

    def encode_texts(self, ids: Tensor) -> Tensor:
        """Token ids (B, L) -> unit vectors (B, D)."""
        ...


def retrieval_figures(model: PairEncoder, split: Prepared, device: torch.device) -> dict[str, float]:
    """Text-to-image R@1 and mAP of a model on a prepared split, in percent: ``r1`` and ``map``."""
    images = [
        model.encode_images(unchanged(split.pixels[start : start + 256], model.preprocessing, device))
        for start in range(0, len(split.pixels), 256)
    ]
    texts = [
        model.encode_texts(torch.from_numpy(split.token_ids[start : start + 256]).to(device))
        for start in range(0, len(split.token_ids), 256)
    ]
    persons = split.pairs.person_of
    groups = rank_features(
        torch.cat(texts).float().cpu().numpy(),
        torch.cat(images).float().cpu().numpy(),
        relevance_from_labels(persons[split.pairs.image_of], persons),
    )
    return {
        "r1": 100 * mean_over_queries(hits_at(groups, 1)),
        "map": 100 * mean_over_queries(average_precision(groups)),
    }


def _unit_where_not(vectors: Tensor, objective: ObjectiveConfig) -> Tensor:
    return unit_rows(vectors) if keeps_length(objective) else vectors.float()
