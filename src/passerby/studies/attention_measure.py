"""What is measured on a trained model of the attention study: losses, honest retrieval, re-ranking, cost of queries.

The gallery lists each picture once, every figure is a `Report` with its protocol, and how much the second stage
weighs is chosen on the validation split. Paired-batch figures are kept apart (`attention_paired`).

Axes: Q queries, N pictures of the gallery, K candidates, L token ids, D embedding width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from passerby.data.records import Split
from passerby.errors import DataError
from passerby.evaluation.evaluate import evaluate_features
from passerby.evaluation.features import Features
from passerby.evaluation.leaks import refuse_equal_rows
from passerby.evaluation.protocol import Protocol
from passerby.evaluation.report import Report
from passerby.evaluation.scoring import Scoring
from passerby.metrics.second_stage import WEIGHTS, second_stage_scores
from passerby.models.dual_encoder import DualEncoder, unit_rows
from passerby.models.reranker import clamp_candidates, encode_gallery, rerank
from passerby.studies.profile_child import latency
from passerby.training.tasks.dual_encoder import encode
from passerby.training.tasks.pair_data import Prepared, unchanged

_QUERIES, _PICTURES, _REPEATS = 64, 128, 40


@dataclass(frozen=True, slots=True)
class Encoded:
    """A split as a model sees it.

    Attributes:
        split: the records.
        prepared: pixels and token ids.
        images: (N, D) as the projection gives them.
        texts: (Q, D) likewise.
        maps: (N, T, M) float16 for the re-ranker; None where there is none.
    """

    split: Split
    prepared: Prepared
    images: Tensor
    texts: Tensor
    maps: Tensor | None

    @property
    def features(self) -> Features:
        """Unit vectors as NumPy arrays."""
        return Features(unit_rows(self.images).cpu().numpy(), unit_rows(self.texts).cpu().numpy())


@dataclass(frozen=True, slots=True)
class Second:
    """What the re-ranker makes of each query's candidates, which stand in the first stage's order, best first.

    Attributes:
        candidates: (Q, K) places in the gallery.
        first: (Q, K) logits of the first stage.
        second: (Q, K) logits of the re-ranker.
    """

    candidates: NDArray[np.int64]
    first: NDArray[np.float32]
    second: NDArray[np.float32]

    def fused(self, weight: float, k: int) -> NDArray[np.floating]:
        """``(1 - a) * first + a * second`` of the first k candidates: (Q, k)."""
        return (1 - weight) * self.first[:, :k] + weight * self.second[:, :k]


@torch.inference_mode()
def encode_prepared(model: DualEncoder, split: Split, prepared: Prepared) -> Encoded:
    """Encode a split once; equal rows of the gallery are refused.

    Raises:
        DataError: two pictures have the same vector.
    """
    images, texts = encode(model, prepared, unit=False)
    refuse_equal_rows(unit_rows(images).cpu().numpy(), [image.image_id for image in split.images])
    maps = encode_gallery(model, picture_batches(model, prepared.pixels))[1] if model.reranker is not None else None
    return Encoded(split, prepared, images, texts, maps)


def picture_batches(model: DualEncoder, pixels: np.ndarray) -> Iterator[Tensor]:
    """Normalised pictures, some at a time: (N, H, W, 3) uint8 -> (B, 3, H, W)."""
    device = next(model.parameters()).device
    for start in range(0, len(pixels), _PICTURES):
        yield unchanged(pixels[start : start + _PICTURES], model.preprocessing, device)


def look_twice(model: DualEncoder, encoded: Encoded, k: int) -> Second:
    """Let the re-ranker look at each query's K best; a smaller gallery is looked at whole, and the log says so.

    Raises:
        DataError: the model has no token maps of this split.
    """
    if encoded.maps is None:
        raise DataError("there are no token maps to look at; the model has no re-ranker")
    device, vectors = encoded.images.device, unit_rows(encoded.images)
    k = clamp_candidates(k, len(vectors))
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    ids = encoded.prepared.token_ids
    for start in range(0, len(ids), _QUERIES):
        rows = torch.from_numpy(trimmed(ids[start : start + _QUERIES])).to(device)
        found = rerank(model, rows, vectors, encoded.maps, k, weight=1.0)
        texts = unit_rows(encoded.texts[start : start + _QUERIES])
        first = model.logit_scale * (texts @ vectors.T).gather(1, found.candidates)  # (B, K)
        order = first.argsort(dim=1, descending=True, stable=True)
        parts.append((found.candidates.gather(1, order), first.gather(1, order), found.scores.gather(1, order)))
    candidates, first, second = (torch.cat(side).detach().cpu().numpy() for side in zip(*parts, strict=True))
    return Second(candidates, first, second)


def trimmed(ids: np.ndarray) -> np.ndarray:
    """Token ids without the columns that are padding in every row: (Q, L) -> (Q, longest)."""
    used = np.flatnonzero((ids != 0).any(axis=0))
    return np.ascontiguousarray(ids[:, : int(used[-1]) + 1 if used.size else 1])


def report(encoded: Encoded, protocol: Protocol, name: str, dataset: str, scoring: Scoring | None = None) -> Report:
    """Judge a split under the honest protocol."""
    return evaluate_features(encoded.features, encoded.split, protocol, name=name, dataset=dataset, scoring=scoring)


def two_stages(second: Second, weight: float, k: int) -> Scoring:
    """Scores of both stages as an evaluation takes them; queries and gallery must be those that were looked at.

    Args:
        second: of the split that is judged, in its order.
        weight: of the second stage.
        k: candidates; no more than were looked at are used.
    """
    k = min(k, second.candidates.shape[1])
    fused = second.fused(weight, k)

    def blocks(queries: NDArray, gallery: NDArray, own: NDArray) -> Iterator[NDArray]:
        del own
        if len(queries) != len(fused):
            raise DataError(f"{len(queries)} queries are judged and {len(fused)} were re-ranked; expected the same")
        for start in range(0, len(queries), _QUERIES):
            rows = slice(start, start + _QUERIES)
            first = queries[rows].astype(np.float64) @ gallery.T.astype(np.float64)
            yield second_stage_scores(first, second.candidates[rows, :k], fused[rows])

    return Scoring(f"re-ranked (K {k}, weight {weight:g})", blocks)


def choose_weight(second: Second, encoded: Encoded, protocol: Protocol, k: int) -> float:
    """The weight of the second stage with the highest mAP on a split that is not reported; 0 is among them."""
    tried = {0.0: report(encoded, protocol, "first stage", "").map}
    for weight in WEIGHTS:
        tried[weight] = report(encoded, protocol, "both", "", two_stages(second, weight, k)).map
    return max(tried, key=tried.__getitem__)


def query_latency(
    model: DualEncoder, encoded: Encoded, k: int = 0, weight: float = 0.5, copies: int = 1
) -> dict[str, float]:
    """Milliseconds from token ids to the ten best pictures, vectors and token maps being there already.

    Args:
        model: in evaluation mode.
        encoded: whose sentences ask and whose pictures are searched.
        k: candidates that are re-ranked; 0 for the first stage alone.
        weight: of the second stage.
        copies: the gallery is searched as often as this side by side, to see what its size costs.
    """
    device = encoded.images.device
    vectors = unit_rows(encoded.images).repeat(copies, 1)
    maps = encoded.maps.repeat(copies, 1, 1) if k and encoded.maps is not None else None
    ids = encoded.prepared.token_ids
    chosen = [trimmed(ids[row : row + 1]) for row in np.linspace(0, len(ids) - 1, min(20, len(ids))).astype(int)]
    asked = cycle([torch.from_numpy(row).to(device) for row in chosen])

    @torch.inference_mode()
    def act() -> Tensor:
        if maps is not None:
            return rerank(model, next(asked), vectors, maps, min(k, len(vectors)), weight).candidates[:, :10].cpu()
        scores = model.encode_texts(next(asked)) @ vectors.T
        return scores.topk(min(10, scores.shape[1])).indices.cpu()  # the copy waits for the device

    return latency(act, _REPEATS)


def rerank_table(
    model: DualEncoder, encoded: Encoded, second: Second, protocol: Protocol, weight: float, ks: Sequence[int]
) -> list[dict[str, Any]]:
    """Figures, ceiling and cost for each K; the ceiling is the share of queries with a hit among the candidates."""
    rows = []
    for k in ks:
        used = min(k, second.candidates.shape[1])
        judged = report(encoded, protocol, f"K {k}", "", two_stages(second, weight, k))
        perfect = Second(second.candidates, second.first, _hits(encoded, protocol, second))
        ceiling = report(encoded, protocol, f"K {k}", "", two_stages(perfect, 1.0, k)).r1
        rows.append(
            {
                "k": k,
                "used": used,
                **{key: judged.figures[key] for key in ("r1", "r5", "r10", "map")},
                "ceiling": ceiling,
                **query_latency(model, encoded, used, weight),
                "four_galleries": query_latency(model, encoded, used, weight, copies=4),
            }
        )
    return rows


def _hits(encoded: Encoded, protocol: Protocol, second: Second) -> NDArray[np.float32]:
    """What a re-ranker that knows the answer would say: 1 for hits, 0 for the rest, (Q, K)."""
    pairs, people = encoded.prepared.pairs, encoded.prepared.pairs.person_of
    if protocol.relevance == "picture":
        people = np.arange(len(people))
    return (people[pairs.image_of][:, None] == people[second.candidates]).astype(np.float32)
