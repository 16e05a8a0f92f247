"""Cross-attention as what it can honestly be: a second stage that looks at a sentence and a picture together.

A model that sees both at once has no vector for either, so it cannot search; it re-orders the K best of a first stage
that can. What it needs of a picture is a small map of tokens that is computed once and kept, and what a sentence can
say for itself is computed once a sentence, so a query costs K looks, whatever the size of the gallery.

Axes: Q queries, N pictures of the gallery, K candidates, L words, T tokens of a picture, C channels of a tower's
tokens, W channels of the re-ranker, M = 2 * W channels kept of a token (key and value), D width of the shared space.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from passerby.errors import ConfigError, DataError, nearest
from passerby.models.attended import token_shape
from passerby.models.towers.base import ImageTower, TextTower
from passerby.nn.cross_attention import CrossMatch
from passerby.nn.positions import grid_positions, sine_positions
from passerby.nn.transformer import Stack

if TYPE_CHECKING:
    from passerby.models.dual_encoder import DualEncoder

_LOGGER = logging.getLogger(__name__)
#: Pairs of a sentence and a picture that are scored at a time; decides memory, not figures.
_PAIRS = 256


class FusionReranker(nn.Module):
    """Words that look at each other and then at the tokens of a picture, and a logit of how well both fit.

    The logit starts at zero for every pair, so an untrained re-ranker leaves the first stage's order as it is.

    Args:
        image_channels: C of the image tower's tokens.
        text_channels: C of the text tower's tokens.
        grid: (R, S) of the image tokens, any further ones standing in front; None where they have no places.
        width: W, a multiple of 4.
        heads: attention heads.
        layers: how often words look at each other before they look at the picture; 0 for towers whose words already
            know each other.
        mlp_ratio: channels inside the perceptrons of these layers, as a multiple of `width`.
        dropout: share of their residual branches' channels dropped in training.

    Raises:
        ConfigError: there are fewer than no layers, or the width does not fit the heads or the positions.
    """

    def __init__(
        self,
        image_channels: int,
        text_channels: int,
        grid: tuple[int, int] | None,
        *,
        width: int = 256,
        heads: int = 4,
        layers: int = 1,
        mlp_ratio: float = 2.0,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if layers < 0:
            raise ConfigError(f"a re-ranker with {layers} layers; expected 0 or more")
        self.width = width
        self.options: Mapping[str, Any] = {}
        self.picture = nn.Sequential(nn.LayerNorm(image_channels), nn.Linear(image_channels, width))
        self.sentence = nn.Sequential(nn.LayerNorm(text_channels), nn.Linear(text_channels, width))
        places = torch.zeros(0, width) if grid is None else grid_positions(grid, width)
        self.register_buffer("places", places, persistent=False)
        self.layers = Stack(layers, width, heads, round(mlp_ratio * width), dropout=dropout)
        self.match = CrossMatch(width, heads)

    def image_maps(self, tokens: Tensor) -> Tensor:
        """What is kept of each picture: tokens of the image tower (N, T, C) -> (N, T, M)."""
        maps = self.picture(tokens)
        places: Tensor = self.places  # type: ignore[assignment]
        return self.match.keep(maps + nn.functional.pad(places, (0, 0, maps.shape[1] - len(places), 0)).to(maps.dtype))

    def text_states(self, tokens: Tensor) -> Tensor:
        """The words of each sentence where they stand: tokens of the text tower (Q, L, C) -> (Q, L, W)."""
        states = self.sentence(tokens)
        places = torch.arange(states.shape[1], device=states.device)
        return states + sine_positions(places, self.width).to(states.dtype)

    def score(self, states: Tensor, mask: Tensor, maps: Tensor) -> Tensor:
        """Logits of each sentence with each of its candidates.

        Args:
            states: from `text_states`.
            mask: True for words.
            maps: from `image_maps`, K pictures for each sentence.

        Shape:
            states (Q, L, W), mask (Q, L), maps (Q, K, T, M) -> (Q, K).
        """
        # The first place is always looked at, or a row of padding alone would divide by zero.
        mask = mask | (torch.arange(mask.shape[1], device=mask.device) == 0)
        return self.match(self.layers(states, mask), mask, maps)

    def forward(self, tokens: Tensor, sentences: Sequence[tuple[Tensor, Tensor]], places: Tensor) -> Tensor:
        """Logits of sentences with pictures of the same batch, which is what training asks for.

        Args:
            tokens: of the image tower.
            sentences: groups of like length, each the tokens of the text tower and True for words.
            places: the pictures that each sentence is matched with, sentences in the order of the groups.

        Shape:
            tokens (N, T, C), sentences (B, L, C) and (B, L), Q of them in all, places (Q, K) -> (Q, K).
        """
        maps = self.image_maps(tokens)
        chosen = places.split([len(words) for words, _ in sentences])
        return torch.cat(
            [
                self.score(self.text_states(words), mask, maps.index_select(0, rows.flatten()).unflatten(0, rows.shape))
                for (words, mask), rows in zip(sentences, chosen, strict=True)
            ]
        )


@dataclass(frozen=True, slots=True)
class Reranked:
    """The answer of both stages.

    Attributes:
        candidates: places in the gallery, best first, (Q, K).
        scores: the fused logits, descending, (Q, K).
        asked: the K that was asked for; more than the columns where the gallery is smaller.
    """

    candidates: Tensor
    scores: Tensor
    asked: int


def build_reranker(options: Mapping[str, Any], image: ImageTower, text: TextTower) -> FusionReranker:
    """A re-ranker for two towers.

    Args:
        options: keyword arguments of `FusionReranker`.
        image: the image tower.
        text: the text tower.

    Raises:
        ConfigError: no such option, or a value is out of range.
    """
    parameters = inspect.signature(FusionReranker).parameters.values()
    known = {parameter.name: parameter.default for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}
    if not isinstance(options, Mapping):
        raise ConfigError(f"model.reranker is {options!r}; expected a mapping with any of {', '.join(known)}")
    for option in options:
        if option not in known:
            raise ConfigError(
                f"model.reranker.{option}: no such option; known: {', '.join(known)}.{nearest(option, known)}"
            )
    chosen = {**known, **options}  # checkpoints write all of them down
    reranker = FusionReranker(token_shape(image)[1], token_shape(text)[1], image.grid, **chosen)
    reranker.options = chosen
    return reranker


def clamp_candidates(k: int, gallery: int) -> int:
    """K, or the size of a gallery that holds fewer; that is said in the log.

    Raises:
        ConfigError: K is below 1.
        DataError: the gallery is empty.
    """
    if k < 1:
        raise ConfigError(f"{k} candidates are to be re-ranked; expected at least 1")
    if gallery < 1:
        raise DataError("there is nothing to re-rank: the gallery is empty")
    if k > gallery:
        _LOGGER.warning("%d candidates were asked for and the gallery holds %d; all of them are re-ranked", k, gallery)
    return min(k, gallery)


@torch.inference_mode()
def encode_gallery(model: DualEncoder, batches: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Both stages' view of a gallery, computed once: unit vectors (N, D) float32 and token maps (N, T, M) float16.

    Args:
        model: a dual encoder with a re-ranker, in evaluation mode.
        batches: normalised pictures, each (B, 3, H, W).

    Raises:
        ConfigError: the model has no re-ranker.
        DataError: there are no pictures.
    """
    reranker = _reranker_of(model)
    vectors, maps = [], []
    for images in batches:
        projected, tokens = model.project_images(images)
        vectors.append(nn.functional.normalize(projected.float(), dim=-1))
        maps.append(reranker.image_maps(tokens).half())  # 50 KB for a grid of 7x7
    if not vectors:
        raise DataError("there is nothing to encode: no pictures were given")
    return torch.cat(vectors), torch.cat(maps)


def candidate_logits(reranker: FusionReranker, words: Tensor, mask: Tensor, maps: Tensor, candidates: Tensor) -> Tensor:
    """What a re-ranker makes of each sentence's candidates, some sentences at a time.

    Args:
        reranker: in evaluation mode.
        words: tokens of the text tower.
        mask: True for words.
        maps: of the whole gallery, from `encode_gallery`.
        candidates: places in the gallery.

    Shape:
        words (Q, L, C), mask (Q, L), maps (N, T, M), candidates (Q, K) -> (Q, K) float32.
    """
    states, step = reranker.text_states(words), max(1, _PAIRS // max(1, candidates.shape[1]))
    parts = [
        reranker.score(states[at : at + step], mask[at : at + step], maps[candidates[at : at + step]]).float()
        for at in range(0, len(states), step)
    ]
    return torch.cat(parts) if parts else torch.zeros(candidates.shape, device=words.device)


@torch.inference_mode()
def rerank(
    model: DualEncoder, ids: Tensor, vectors: Tensor, maps: Tensor, k: int = 64, weight: float = 0.5
) -> Reranked:
    """Search with the first stage, then re-order its K best by ``(1 - a) * scale * cosine + a * logit``.

    Both summands are logits of the same question (which of these is the one?), so no rescaling is needed.

    Args:
        model: a dual encoder with a re-ranker, in evaluation mode.
        ids: token ids of the sentences.
        vectors: of the gallery, from `encode_gallery`.
        maps: likewise.
        k: K, at least 1; a gallery that holds fewer is re-ranked whole, and the log says so.
        weight: a in [0, 1]; 0 keeps the first stage's order, 1 takes the second stage's alone.

    Shape:
        ids (Q, L), vectors (N, D), maps (N, T, M) -> candidates and scores (Q, K).

    Raises:
        ConfigError: the model has no re-ranker, or `k` or `weight` is out of range.
        DataError: the gallery is empty, or vectors and maps are of different pictures.
    """
    reranker = _reranker_of(model)
    if not 0 <= weight <= 1:
        raise ConfigError(f"the second stage is to weigh {weight}; expected a number in [0, 1]")
    if len(vectors) != len(maps):
        raise DataError(f"{len(vectors)} vectors and {len(maps)} token maps; both must be of the same pictures")
    count = clamp_candidates(k, len(vectors))
    projected, tokens, mask = model.project_texts(ids)
    cosines = nn.functional.normalize(projected.float(), dim=-1) @ vectors.T  # (Q, N)
    first, candidates = cosines.topk(count, dim=1)  # (Q, K)
    second = candidate_logits(reranker, tokens, mask, maps, candidates)
    fused = (1 - weight) * model.logit_scale * first + weight * second
    order = fused.argsort(dim=1, descending=True, stable=True)
    return Reranked(candidates.gather(1, order), fused.gather(1, order), k)


def _reranker_of(model: DualEncoder) -> FusionReranker:
    if model.reranker is None:
        raise ConfigError("the model has no re-ranker; train one on it (passerby train reranker), or search without")
    return model.reranker
