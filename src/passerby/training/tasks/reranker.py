"""Training a re-ranker on a finished first stage, which does not move.

The first stage's tokens and vectors are computed once (`passerby.training.first_stage`), so a step costs the re-ranker
alone, and what the first stage confuses is known before anything is learned: people whom it finds alike stand in one
batch, and each sentence's own picture is told from pictures of other people that its scores draw from that batch. The
whole batch is planned in one place, so any number of processes sees the same negatives. The checkpoint is that of the
first stage, bit for bit, with the re-ranker in it.

Axes: V versions of a picture, N pictures, S steps, B sentences of a batch, M negatives of each, P pictures of a part, T
tokens of a picture, L words, C channels of a token, K candidates, Q sentences of the selection split.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from passerby.data.records import Dataset
from passerby.data.samplers import sample_epoch
from passerby.errors import CheckpointError, ConfigError
from passerby.losses.matching import draw_hard_negatives, matching_loss
from passerby.metrics.positions import rank_scores
from passerby.metrics.precision import average_precision
from passerby.metrics.ranking import hits_at, mean_over_queries
from passerby.metrics.relevance import Relevance, relevance_from_labels
from passerby.metrics.second_stage import WEIGHTS, second_stage_scores
from passerby.models.attended import token_shape
from passerby.models.checkpoint import Checkpoint, read_checkpoint
from passerby.models.dual_encoder import DualEncoder
from passerby.models.reranker import FusionReranker, build_reranker, candidate_logits
from passerby.models.restore import restore_dual_encoder, save_dual_encoder
from passerby.models.sources import is_clip_folder, locate
from passerby.training.first_stage import FirstStage, first_stage
from passerby.training.precision import choose_precision
from passerby.training.tasks.base import Selection, described, refuse_other_data
from passerby.training.tasks.pair_data import Prepared, data_mark, prepare
from passerby.training.tasks.reranker_recipe import RerankerRecipe

_GROUPS, _CHUNK = 4, 256


@dataclass(frozen=True, slots=True)
class MatchBatch:
    """One part of a step.

    Attributes:
        tokens: (P, T, C) float16, of the pictures that the part needs, each once.
        sentences: the part's sentences in groups of like length, tokens (rows, L, C) float16 and mask (rows, L).
        places: (B, 1 + M), for each sentence in the order of the groups its own picture and its negatives.
    """

    tokens: Tensor
    sentences: list[tuple[Tensor, Tensor]]
    places: Tensor


class RerankerTask:
    """The task of recipes that train a re-ranker.

    Args:
        recipe: the resolved recipe.
        dataset: where the training and the selection split come from.
        progress: called with (done, total) while pictures are decoded, and read by the first stage, for the first time.

    Raises:
        ConfigError: no first stage is named, or the re-ranker's size is out of range.
        CheckpointError: the first stage cannot be had, or is no dual encoder.
        DataError: the data set lacks a split, an identity or captions.
    """

    def __init__(
        self, recipe: RerankerRecipe, dataset: Dataset, progress: Callable[[int, int], None] | None = None
    ) -> None:
        self.recipe, self.dataset = recipe, dataset
        checkpoint = _open(recipe.start.checkpoint)
        self.first: DualEncoder = restore_dual_encoder(checkpoint).requires_grad_(False)
        self.first.reranker = None  # one that it may have brought is trained anew
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.first.to(device)
        if device.type == "cpu":
            self.first.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.tokenizer, self.fingerprint = checkpoint.tokenizer(), checkpoint.config.fingerprint
        torch.manual_seed(recipe.seed)
        self.model: FusionReranker = build_reranker(
            recipe.model.model_dump(), self.first.image_tower, self.first.text_tower
        )
        train = dataset.split(recipe.data.train_split)
        self.train = prepare(train, self.tokenizer, self.first.preprocessing, progress)
        self.seen = first_stage(
            self.first,
            self.fingerprint,
            train,
            self.train,
            views=recipe.start.views,
            changes=recipe.augmentation,
            seed=recipe.seed,
            precision=choose_precision(recipe.optimisation.precision, device),
            progress=progress,
        )
        self.selection = self._selection(progress)
        self.people = _people(self.train, self.seen)
        self._data_mark = data_mark(train)

    def _selection(self, progress: Callable[[int, int], None] | None) -> _Judge | None:
        name = self.recipe.evaluation.selection_split
        if name not in self.dataset.splits:
            return None
        split = self.dataset.split(name)
        prepared = prepare(split, self.tokenizer, self.first.preprocessing, progress)
        seen = first_stage(self.first, self.fingerprint, split, prepared)
        return _Judge(prepared, seen, float(self.first.logit_scale), self.recipe.evaluation.candidates)

    def example(self) -> tuple[Any, ...]:
        """One picture, one sentence of four words, and that they are matched."""
        (count, channels), words = token_shape(self.first.image_tower), token_shape(self.first.text_tower)[1]
        sentence = torch.zeros(1, 4, words), torch.ones(1, 4, dtype=torch.bool)
        return torch.zeros(1, count, channels), [sentence], torch.zeros(1, 1, dtype=torch.int64)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Matrices with decay, biases and normalisations without."""
        matrices = [one for one in self.model.parameters() if one.ndim > 1]
        rest = [one for one in self.model.parameters() if one.ndim <= 1]
        return [{"params": matrices}, {"params": rest, "weight_decay": 0.0}]

    def plan(self, epoch: int) -> np.ndarray:
        """(S, B, 2 + M) rows: a caption, its picture and pictures of others, each the place of one of its versions."""
        rng = np.random.default_rng([self.recipe.seed, epoch])
        data = self.recipe.data
        size, pairs = self.recipe.optimisation.batch_size, self.train.pairs
        rows = sample_epoch("neighbours", pairs, size, rng, self.people, data.neighbours, data.captions_of)
        generator = torch.Generator().manual_seed(int(rng.integers(1 << 62)))
        others = [self._negatives(step, generator) for step in rows]
        fewest = min(drawn.shape[1] for drawn in others)
        versions, count = self.seen.pictures.shape[:2]
        version = rng.integers(versions, size=count) * count
        planned = [
            np.concatenate([step[:, 1:], step[:, :1] + version[step[:, :1]], drawn + version[drawn]], axis=1)
            for step, drawn in zip(rows, (drawn[:, :fewest] for drawn in others), strict=True)
        ]
        return np.stack(planned)

    def _negatives(self, step: np.ndarray, generator: torch.Generator) -> np.ndarray:
        """Pictures of other people for each caption of a batch, what the first stage confuses more often: (B, M)."""
        pictures, captions = step[:, 0], step[:, 1]
        persons = torch.from_numpy(self.train.pairs.person_of[pictures])
        logits = self.first.logit_scale.cpu() * torch.from_numpy(
            self.seen.texts[captions] @ self.seen.images[pictures].T
        )
        drawn = draw_hard_negatives(logits, persons, persons, self.recipe.objective.negatives, generator)
        return pictures[drawn.numpy()]

    def fetch(self, rows: np.ndarray) -> MatchBatch:
        """Read the tokens of each picture once, and those of the sentences in groups of like length."""
        order, sentences = self.seen.sentences(rows[:, 0], 1 if torch.cuda.is_available() else _GROUPS)
        wanted, places = np.unique(rows[order, 1:], return_inverse=True)
        versions = self.seen.pictures.reshape(-1, *self.seen.pictures.shape[2:])
        return MatchBatch(
            torch.from_numpy(versions[wanted]),
            sentences,
            torch.from_numpy(places.reshape(len(order), -1)),
        )

    def losses(
        self, model: nn.Module, batch: MatchBatch, generator: torch.Generator, device: torch.device
    ) -> dict[str, Tensor]:
        """Each sentence's own picture among its negatives; nothing is left to chance here."""
        del generator
        sentences = [
            (words.to(device, non_blocking=True).float(), mask.to(device, non_blocking=True))
            for words, mask in batch.sentences
        ]
        tokens, places = (one.to(device, non_blocking=True) for one in (batch.tokens, batch.places))
        logits = model(tokens.float(), sentences, places)  # (B, 1 + M)
        return {"matching": matching_loss(logits[:, 0], logits[:, 1:])}

    def validate(self, model: nn.Module) -> Selection | None:
        """R@1 and mAP of both stages on the selection split, in percent, at the weight with the best mAP."""
        if self.selection is None or not isinstance(model, FusionReranker):
            return None
        figures = self.selection.figures(model)
        return Selection(figures[self.recipe.evaluation.metric], figures)

    def save(self, model: nn.Module, folder: Path, figures: Mapping[str, float]) -> None:
        """Write the first stage with the re-ranker as a checkpoint folder, replacing an earlier one whole."""
        if not isinstance(model, FusionReranker):
            raise CheckpointError(f"a re-ranker is saved, found {type(model).__name__}")
        self.first.reranker = model
        try:
            save_dual_encoder(
                self.first,
                self.tokenizer,
                folder,
                **described(self.recipe, self.dataset, self.recipe.data.train_split, figures),
            )
        finally:
            self.first.reranker = None

    def state(self) -> dict[str, Tensor]:
        """By what the data and the first stage are known again."""
        return {"data": self._data_mark, "first": _mark(self.fingerprint)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Check that the run goes on with what it began with.

        Raises:
            CheckpointError: it was begun on other pictures or captions, or on another first stage.
        """
        refuse_other_data(state["data"], self._data_mark, self.dataset, self.recipe.data.train_split)
        if not torch.equal(state["first"], _mark(self.fingerprint)):
            raise CheckpointError(
                f"{self.recipe.start.checkpoint} is another model than the run was begun on; put it back to go on, or "
                "give another folder with --out"
            )


class _Judge:
    """Both stages on the selection split, of which the first is computed once."""

    def __init__(self, prepared: Prepared, seen: FirstStage, scale: float, candidates: int) -> None:
        persons = prepared.pairs.person_of
        self._relevance: Relevance = relevance_from_labels(persons[prepared.pairs.image_of], persons)
        self._seen = seen
        self._logits: NDArray[np.floating] = scale * (seen.texts @ seen.images.T)  # (Q, N)
        count = min(candidates, len(seen.images))
        self._candidates = np.argsort(-self._logits, axis=1, kind="stable")[:, :count]  # (Q, K)

    def figures(self, reranker: FusionReranker) -> dict[str, float]:
        """``r1`` and ``map`` at the best weight, that ``weight``, and both figures of the first stage alone."""
        second = self._second(reranker)
        first = np.take_along_axis(self._logits, self._candidates, axis=1)
        tried = {0.0: self._judged(self._logits)}
        for weight in WEIGHTS:
            fused = (1 - weight) * first + weight * second
            tried[weight] = self._judged(second_stage_scores(self._logits, self._candidates, fused))
        best = max(tried, key=lambda weight: tried[weight]["map"])
        alone = {f"first_{name}": value for name, value in tried[0.0].items()}
        return {**tried[best], "weight": best, **alone}

    def _judged(self, scores: NDArray[np.floating]) -> dict[str, float]:
        groups = rank_scores(scores, self._relevance)
        return {
            "r1": 100 * mean_over_queries(hits_at(groups, 1)),
            "map": 100 * mean_over_queries(average_precision(groups)),
        }

    @torch.inference_mode()
    def _second(self, reranker: FusionReranker) -> NDArray[np.floating]:
        """(Q, K) logits of the re-ranker."""
        device, pictures = next(reranker.parameters()).device, self._seen.pictures[0]
        blocks = [
            torch.from_numpy(np.array(pictures[at : at + _CHUNK])).to(device) for at in range(0, len(pictures), _CHUNK)
        ]
        maps = torch.cat([reranker.image_maps(block.float()).half() for block in blocks])  # (N, T, M)
        found = np.empty(self._candidates.shape, np.float32)
        for at in range(0, len(found), _CHUNK):
            order, sentences = self._seen.sentences(np.arange(at, min(at + _CHUNK, len(found))), _GROUPS)
            rows = at + order
            parts = np.split(rows, np.cumsum([len(words) for words, _ in sentences])[:-1])
            for (words, mask), part in zip(sentences, parts, strict=True):
                places = torch.from_numpy(self._candidates[part]).to(device)
                logits = candidate_logits(reranker, words.to(device).float(), mask.to(device), maps, places)
                found[part] = logits.cpu().numpy()
        return found


def _open(name: str) -> Checkpoint:
    """The checkpoint of a first stage."""
    if not name:
        raise ConfigError(
            "start.checkpoint names no first stage; give a finished run, as in: --set start.checkpoint=runs/first"
        )
    folder = locate(name).folder
    if is_clip_folder(folder):
        raise ConfigError(
            f"{name} is a CLIP of another library; train it with: passerby train clip-ft, then re-rank that"
        )
    return read_checkpoint(folder)


def _people(prepared: Prepared, seen: FirstStage) -> np.ndarray:
    """A vector of each person, mean of the pictures' beside mean of the captions', each of unit length: (P, 2 D)."""
    persons = prepared.pairs.person_of
    sides = []
    for vectors, owner in ((seen.images, persons), (seen.texts, persons[prepared.pairs.image_of])):
        total = np.zeros((int(persons.max()) + 1, vectors.shape[1]), np.float32)
        np.add.at(total, owner, vectors)
        sides.append(total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12))
    return np.concatenate(sides, axis=1)


def _mark(fingerprint: str) -> Tensor:
    return torch.frombuffer(bytearray(fingerprint.encode()), dtype=torch.uint8)
