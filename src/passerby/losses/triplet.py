"""Triplet loss with the hardest positive and the hardest negative of each row (Hermans et al. 2017, eq. 5).

Which rows those are is found in blocks and without a gradient; then one distance for each is computed with it. The
value and the gradient are those of the full matrix of distances, which is never held.

Axes: B rows, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from passerby.errors import ConfigError
from passerby.losses.pairs import exact

_BLOCK = 1 << 23
_GROUP = 32


def triplet_loss(features: Tensor, labels: Tensor, margin: float | None = 0.3, squared: bool = False) -> Tensor:
    """``mean_a max(0, max_p d(a, p) - min_n d(a, n) + margin)`` over rows that have a positive and a negative.

    A row without another of its identity, or with nothing but its identity, is left out: with itself as its positive
    it would add the margin and no information.

    Args:
        features: not normalised.
        labels: who each row is.
        margin: at least 0; None for the soft margin ``log(1 + exp(d_p - d_n))``.
        squared: squared distances, as the report on MagFormer writes; the field and its code use plain ones.

    Shape:
        features (B, D), labels (B,) -> scalar; zero where no row has both.

    Raises:
        ConfigError: the shapes disagree or the margin is negative.
    """
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        raise ConfigError(
            f"triplet loss: features {tuple(features.shape)}, labels {tuple(labels.shape)}; expected (B, D) and (B,)"
        )
    if margin is not None and margin < 0:
        raise ConfigError(f"a triplet margin of {margin}; expected 0 or more, or none for the soft margin")
    features = exact(features)
    positive, negative, valid = hardest(features.detach(), labels)
    gap = _distance(features, features[positive], squared) - _distance(features, features[negative], squared)  # (B,)
    each = torch.nn.functional.softplus(gap) if margin is None else (gap + margin).clamp_min(0)
    # Left out by a zero and not by picking rows, whose number a GPU would have to be waited for.
    return torch.where(valid, each, 0).sum() / valid.sum().clamp(min=1)


@torch.no_grad()
def hardest(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The furthest row of the same and the nearest of another identity, in blocks of rows.

    Rows are sorted by identity first, so that those of the same one lie in a narrow band of columns and the rest of a
    block is looked through once.

    Shape:
        features (B, D), labels (B,) -> furthest same (B,), nearest other (B,), whether both exist (B,).
    """
    count = len(features)
    order = labels.argsort(stable=True)
    owners, back = labels[order], order.argsort()
    padding = -count % _GROUP
    rows = torch.nn.functional.pad(features[order], (0, 0, 0, padding))  # (B', D)
    squares = rows.square().sum(dim=1)
    squares[count:] = torch.inf  # rows of the padding are nobody's nearest
    positive, negative = (torch.zeros(count, dtype=torch.long, device=features.device) for _ in range(2))
    valid = torch.zeros(count, dtype=torch.bool, device=features.device)
    step = max(1, _BLOCK // max(1, len(rows)))
    block = rows.new_empty((min(step, count), len(rows)))
    for first in range(0, count, step):
        last = min(first + step, count)
        # The anchor's own square is the same in its whole row, so the order does not need it.
        distances = torch.addmm(squares, rows[first:last], rows.T, alpha=-2, out=block[: last - first])  # (b, B')
        low, high = (0, count) if step >= count else _band(owners, first, last)
        band = distances[:, low:high]
        same = owners[first:last, None] == owners[None, low:high]
        anchors = torch.arange(last - first, device=features.device)
        others = same.clone()
        others[anchors, anchors + first - low] = False
        positive[first:last] = low + band.masked_fill(~others, -torch.inf).argmax(dim=1)
        band.masked_fill_(same, torch.inf)
        negative[first:last] = _smallest(distances)
        valid[first:last] = others.any(dim=1) & (same.sum(dim=1) < count)
    return order[positive][back], order[negative][back], valid[back]


def _band(owners: Tensor, first: int, last: int) -> tuple[int, int]:
    """The columns of the identities that some rows have: from the first to the one after the last."""
    low, high = torch.searchsorted(owners, owners[first]), torch.searchsorted(owners, owners[last - 1], right=True)
    return int(low), int(high)


def _smallest(distances: Tensor) -> Tensor:
    """Where each row is smallest; by the minima of groups first, which is several times as fast as argmin: (b,)."""
    rows, width = distances.shape
    groups = width // _GROUP
    best = distances.view(rows, _GROUP, groups).amin(dim=1).argmin(dim=1)  # (b,)
    candidates = best[:, None] + groups * torch.arange(_GROUP, device=distances.device)  # (b, G)
    within = distances.gather(1, candidates).argmin(dim=1, keepdim=True)
    return candidates.gather(1, within)[:, 0]


def _distance(one: Tensor, other: Tensor, squared: bool) -> Tensor:
    squares = (one - other).square().sum(dim=1)
    # The root of zero has no gradient; copies of one picture are common.
    return squares if squared else squares.clamp_min(1e-12).sqrt()
