"""Rows that are almost everywhere zero, and the three things that re-ranking does with them.

Neighbourhoods touch a hundred of a hundred thousand pictures, so their weights are kept as ragged rows. They are
averaged over neighbours (`mean_of_rows`), turned around (`transposed`), and compared by the mass that they share
(`shared_mass`). Sums run in a fixed order, so that a row's result does not depend on the rows computed beside it.

Axes: N rows, C columns, E entries that are stored.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from passerby.metrics.neighbours import Indices, Integers, Singles

#: Entries that are gathered at a time.
_ENTRIES = 2**20


@dataclass(frozen=True, slots=True)
class SparseRows:
    """Row `i` holds `values[start[i]:start[i + 1]]` in `columns[start[i]:start[i + 1]]`, which ascend.

    Attributes:
        start: (N + 1,) offsets.
        columns: (E,) the column of each entry.
        values: (E,) above zero.
        width: number of columns, C.
    """

    start: Integers
    columns: Indices
    values: Singles
    width: int

    def __len__(self) -> int:
        return len(self.start) - 1

    def part(self, first: int, last: int) -> SparseRows:
        """The rows from `first` up to and without `last`, without a copy."""
        low, high = self.start[first], self.start[last]
        return SparseRows(self.start[first : last + 1] - low, self.columns[low:high], self.values[low:high], self.width)

    def take(self, chosen: NDArray[np.integer]) -> SparseRows:
        """Chosen rows, in any order and with repeats."""
        place, _ = entries_of(self, chosen)
        counts = self.start[chosen + 1] - self.start[chosen]
        return SparseRows(offsets(counts), self.columns[place], self.values[place], self.width)


def stacked(parts: list[SparseRows], width: int) -> SparseRows:
    """Rows below each other.

    Args:
        parts: with `width` columns each; none at all gives no rows.
        width: number of columns.
    """
    counts = [np.diff(part.start) for part in parts]
    return SparseRows(
        offsets(np.concatenate([*counts, np.zeros(0, np.int64)])),
        np.concatenate([*(part.columns for part in parts), np.zeros(0, np.int32)]),
        np.concatenate([*(part.values for part in parts), np.zeros(0, np.float32)]),
        width,
    )


def offsets(counts: Integers) -> Integers:
    """Where each row begins, and at the end where the last one ends: (N,) -> (N + 1,)."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def entries_of(rows: SparseRows, chosen: NDArray[np.integer]) -> tuple[Integers, Integers]:
    """Places of all entries of chosen rows, one row after the other.

    Args:
        rows: to be looked up in.
        chosen: (M,) row numbers, in any order and with repeats.

    Returns:
        The place of each entry in `rows.columns`, and which of the chosen it belongs to, 0 to M - 1.
    """
    counts = rows.start[chosen + 1] - rows.start[chosen]
    owner = np.repeat(np.arange(len(chosen)), counts)
    place = np.arange(len(owner)) + np.repeat(rows.start[chosen] - (np.cumsum(counts) - counts), counts)
    return place, owner


def mean_of_rows(rows: SparseRows, groups: Indices, own: SparseRows | None = None) -> SparseRows:
    """The mean over groups of rows, `sum_r rows[groups[i, r]] / K`.

    Args:
        rows: what is averaged.
        groups: (M, K) row numbers.
        own: M rows that join their group, which then has K + 1 members.

    Shape:
        returns M rows.
    """
    members = groups.shape[1] + (own is not None)
    step = max(1, _ENTRIES // max(1, members * (len(rows.columns) // max(1, len(rows)) + 1)))
    parts = []
    for first in range(0, len(groups), step):
        chosen = groups[first : first + step]
        place, owner = entries_of(rows, chosen.reshape(-1))
        owner //= max(1, chosen.shape[1])
        columns, values = rows.columns[place], rows.values[place]
        if own is not None:
            mine = own.part(first, first + len(chosen))
            owner = np.concatenate([np.repeat(np.arange(len(mine)), np.diff(mine.start)), owner])
            columns, values = np.concatenate([mine.columns, columns]), np.concatenate([mine.values, values])
        parts.append(_summed(owner, columns, values / np.float32(members), len(chosen), rows.width))
    return stacked(parts, rows.width)


def transposed(rows: SparseRows) -> SparseRows:
    """Columns as rows: row `c` of the result lists the rows that have an entry in column `c`."""
    order = np.argsort(rows.columns, kind="stable")
    owner = np.repeat(np.arange(len(rows), dtype=np.int32), np.diff(rows.start))
    counts = np.bincount(rows.columns, minlength=rows.width)
    return SparseRows(offsets(counts), owner[order], rows.values[order], len(rows))


def shared_mass(rows: SparseRows, turned: SparseRows) -> NDArray[np.float64]:
    """`sum_c min(rows[i, c], others[j, c])` for each pair of a row and one of the others.

    Args:
        rows: M rows of C columns.
        turned: the others, `transposed`: C rows of J columns.

    Shape:
        returns (M, J).
    """
    mass = np.zeros((len(rows), turned.width))
    weight = offsets(np.diff(turned.start)[rows.columns])[rows.start]  # entries that come before each row
    first = 0
    while first < len(rows):
        last = max(first + 1, int(np.searchsorted(weight, weight[first] + _ENTRIES, "right")) - 1)
        part = rows.part(first, last)
        place, entry = entries_of(turned, part.columns)
        shared = np.minimum(part.values[entry], turned.values[place])
        target = np.repeat(np.arange(len(part)) * turned.width, np.diff(part.start))[entry] + turned.columns[place]
        mass[first:last] = np.bincount(target, weights=shared, minlength=mass[first:last].size).reshape(
            -1, turned.width
        )
        first = last
    return mass


def _summed(row: Integers, columns: Indices, values: Singles, rows: int, width: int) -> SparseRows:
    """Rows from entries in any order, where entries of one place are added up in the order given."""
    key = row * width + columns
    order = np.argsort(key, kind="stable")
    key, values = key[order], values[order]
    opens = np.flatnonzero(np.diff(key, prepend=-1))
    sums = np.add.reduceat(values, opens) if len(opens) else values
    counts = np.bincount(key[opens] // width, minlength=rows)
    return SparseRows(offsets(counts), (key[opens] % width).astype(np.int32), sums.astype(np.float32), width)
