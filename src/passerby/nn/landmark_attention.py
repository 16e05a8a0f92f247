"""Landmark attention with magnitudes (MALAA): affinities of rank p, written as factors and read only along edges.

Each row is compared with p landmark rows instead of with all others; the affinity of two rows is the inner product of
their two short vectors. MagFormer (eq. 1) divides landmarks by their length and lets a learned magnitude weigh each;
NFormer (Wang et al. 2022) does neither.

Axes: N rows, M neighbours, S attention maps, P landmarks, R numbers of a factor (P, or E for exact affinities),
E width of a map, D width of a row, L layers, W rows that a landmark is the mean of.
"""

from __future__ import annotations

import torch
from torch import Tensor

from passerby.errors import ConfigError, nearest
from passerby.nn.neighbour_search import nearest_rows, unit_rows

#: How landmarks are chosen -> what that is.
LANDMARKS = {
    "sampled": "random rows, others in each layer; drawn anew for every set in training, from the seed otherwise",
    "fps": "farthest-point sampling of the input from a random start",
    "mean_k": "the same, each landmark the mean of the chosen row and its nearest neighbours",
    "learned": "parameters of each layer, of the width of a row",
}
#: What a landmark is divided by (the paper writes a matrix norm, the release divides each row by its length).
LANDMARK_NORMS = ("row", "matrix", "none")


def landmark_factors(rows: Tensor, landmarks: Tensor, norm: str = "row") -> Tensor:
    """Similarity of each row with each landmark: ``q~ = q k_p^T / |k_p|`` (MagFormer, section 3.1).

    Args:
        rows: queries or keys.
        landmarks: keys or queries of the landmark rows, the other of the two.
        norm: one of `LANDMARK_NORMS`. The paper's formula divides by a matrix norm, its code by each row's length.

    Shape:
        rows (N, S, E), landmarks (S, P, E) -> (N, S, P).

    Raises:
        ConfigError: the norm is unknown.
    """
    if norm == "row":
        landmarks = landmarks / landmarks.norm(dim=2, keepdim=True).clamp_min(1e-12)
    elif norm == "matrix":
        largest = torch.linalg.matrix_norm(landmarks, ord=2)[:, None, None]  # (S, 1, 1)
        landmarks = landmarks / largest.clamp_min(1e-12)
    elif norm != "none":
        raise ConfigError(f"no landmark norm is called {norm!r}; known: {', '.join(LANDMARK_NORMS)}")
    return torch.einsum("nse,spe->nsp", rows, landmarks)


def edge_affinities(queries: Tensor, keys: Tensor, neighbours: Tensor) -> Tensor:
    """Affinities along edges alone: ``A_ia = <q~_i, k~_j>`` with ``j = neighbours[i, a]``.

    Args:
        queries: factors of the rows that look.
        keys: factors of the rows that are looked at.
        neighbours: whom each row looks at; one list for all maps or one for each.

    Shape:
        queries (n, S, R), keys (N, S, R), neighbours (n, 1 or S, M) -> (n, S, M).
    """
    rows, maps, width = queries.shape
    if neighbours.shape[1] == 1:
        # A look-up in a table, because its gradient is added up faster than that of indexing.
        gathered = torch.nn.functional.embedding(neighbours[:, 0], keys.flatten(1))  # (n, M, S * R)
        return (gathered.view(rows, -1, maps, width) * queries[:, None]).sum(dim=3).transpose(1, 2)
    gathered = keys[neighbours, torch.arange(maps, device=keys.device)[:, None]]  # (n, S, M, R)
    return (gathered * queries[:, :, None]).sum(dim=3)


def choose_landmarks(features: Tensor, layers: int, count: int, mode: str, generator: torch.Generator) -> Tensor:
    """Which rows are landmarks in each layer.

    Args:
        features: the input of the first layer, at least one row.
        layers: L.
        count: P; rows come more than once where there are fewer.
        mode: "sampled", "fps" or "mean_k", see `LANDMARKS`.
        generator: on the CPU; decides everything random.

    Shape:
        features (N, D) -> (L, P, W) int64; a landmark is the mean of its W rows.

    Raises:
        ConfigError: the mode is unknown.
    """
    if mode == "sampled":
        drawn = [torch.randperm(len(features), generator=generator)[:count] for _ in range(layers)]
        return torch.stack([_filled(one, count) for one in drawn])[:, :, None].to(features.device)
    if mode not in ("fps", "mean_k"):
        raise ConfigError(f"no way to choose landmarks is called {mode!r}.{nearest(mode, LANDMARKS)}")
    unit = unit_rows(features.detach())
    chosen = _filled(_farthest(unit, min(count, len(unit)), generator), count)  # (P,)
    if mode == "fps":
        return chosen[:, None].expand(layers, -1, 1)
    around = nearest_rows(unit[chosen], unit, min(_MEAN_OF, len(unit)) - 1, chosen)[1]  # (P, W - 1)
    return torch.cat([chosen[:, None], around], dim=1).expand(layers, -1, -1)


#: Rows that a landmark of "mean_k" is the mean of; the k of the papers' neighbour lists.
_MEAN_OF = 20


def _filled(rows: Tensor, count: int) -> Tensor:
    return rows[torch.arange(count, device=rows.device) % len(rows)]


def _farthest(unit: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Rows each of which is the least similar to those chosen before it: (P,)."""
    chosen = torch.randint(len(unit), (1,), generator=generator).to(unit.device)
    closest = unit @ unit[chosen[0]]  # (N,) similarity to the most similar one chosen so far
    while len(chosen) < count:
        chosen = torch.cat([chosen, closest.argmin()[None]])
        closest = torch.maximum(closest, unit @ unit[chosen[-1]])
    return chosen
