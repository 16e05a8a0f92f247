"""Who counts whom among its nearest, both ways: the sets that k-reciprocal re-ranking is made of.

Two pictures are k-reciprocal neighbours when each is among the k nearest of the other. A set is then widened by the
sets of its members, where these agree with it (Zhong et al., "Re-ranking person re-identification with k-reciprocal
encoding", CVPR 2017, equations 2 to 4). Everything works on lists of neighbours; nothing here looks at a feature.

Axes: N pictures, K neighbours in a list, H neighbours in a half list, B rows of one block, M members of all sets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from passerby.metrics.neighbours import Indices, Integers

Truths: TypeAlias = "NDArray[np.bool_]"

#: Truth values that are held at a time.
_BLOCK = 2**25


@dataclass(frozen=True, slots=True)
class ReciprocalLists:
    """Lists of neighbours, and which entries see their owner in their own list.

    Attributes:
        index: (N, K) neighbours, the owner first.
        mutual: (N, K) whether the owner is among the K nearest of the neighbour.
    """

    index: Indices
    mutual: Truths


def reciprocal_lists(index: Indices, k: int) -> ReciprocalLists:
    """Cut lists of neighbours to their k nearest and tell which of these are mutual: R(i, k) of equation 2.

    Args:
        index: neighbours of every picture, best first and itself included.
        k: length that the lists are cut to, itself included.

    Shape:
        index: (N, L).
    """
    near = index[:, :k]
    mutual = np.empty(near.shape, bool)
    step = max(1, _BLOCK // max(1, near.shape[1] ** 2))
    for first in range(0, len(near), step):
        mine = near[first : first + step]  # (B, K)
        owner = np.arange(first, first + len(mine))[:, None, None]
        mutual[first : first + step] = (near[mine] == owner).any(axis=2)
    return ReciprocalLists(near, mutual)


def widened_sets(members: Indices, is_member: Truths, halves: ReciprocalLists) -> tuple[Integers, Integers]:
    """Widen reciprocal sets by the half sets of their members: R*(i, k) of equation 3.

    The half set of a member joins where more than two thirds of it are in the set already.

    Args:
        members: lists that hold the sets.
        is_member: which entries of the lists are in the sets.
        halves: the sets R(c, k / 2) of all pictures.

    Shape:
        members, is_member: (B, K); returns the row, 0 to B - 1, and the picture of each of the M members, ordered.
    """
    rows, columns = len(members), len(halves.index)
    step = max(1, _BLOCK // max(1, columns))
    found: list[tuple[Integers, Integers]] = []
    for first in range(0, rows, step):
        row, place = np.nonzero(is_member[first : first + step])
        member = members[first + row, place]
        inside = np.zeros((min(step, rows - first), columns), bool)
        inside[row, member] = True
        half, in_half = halves.index[member], halves.mutual[member]  # (members, H)
        agreeing = (inside[row[:, None], half] & in_half).sum(axis=1)
        joins = in_half & (3 * agreeing > 2 * in_half.sum(axis=1))[:, None]
        which, slot = np.nonzero(joins)
        inside[row[which], half[which, slot]] = True
        row, picture = np.nonzero(inside)
        found.append((row + first, picture))
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    return np.concatenate([row for row, _ in found]), np.concatenate([picture for _, picture in found])
