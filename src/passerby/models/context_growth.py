"""New rows in a gallery that is in context: who changes his neighbours, and who must be computed again.

A new row enters the lists of those whose last neighbour is less similar. Beyond these and the neighbours they drop,
a layer spreads a change to reciprocal neighbours, one step a layer; all other rows keep what they have. The result
is that of putting the larger gallery into context from the start with the same landmarks.

Axes: N rows there are, n rows that are new, M neighbours beside the row itself, P pairs, J rows whose list changes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from passerby.models.context import ROWS
from passerby.models.context_layer import Memory
from passerby.models.context_state import ContextState
from passerby.nn.neighbour_search import RowSearch, nearest_rows, unit_rows
from passerby.nn.reciprocal_neighbours import reciprocal_mask


@torch.no_grad()
def insert(state: ContextState, features: Tensor, prepared: Tensor, search: RowSearch) -> Tensor:
    """Add rows and compute again what they change.

    Args:
        state: is changed in place.
        features: vectors of the new rows, finite.
        prepared: the same as the first layer takes them.
        search: over the rows there are.

    Shape:
        features (n, D), prepared (n, D) -> rows whose last level was computed, the new ones among them, sorted (r,).
    """
    state.reserve(len(features))
    old, unit = state.size, unit_rows(features)
    thresholds = state.thresholds
    state.size = old + len(features)
    new = torch.arange(old, state.size, device=unit.device)
    state.unit[new], state.levels[0][new] = unit, prepared
    _list_new_rows(state, new, search)
    touched, before = _enter_old_lists(state, new, search.above(unit, thresholds))
    dirty = _settle_reciprocity(state, torch.cat([new, touched]), before, old)
    return _recompute(state, new, dirty)


def undo(state: ContextState, size: int) -> None:
    """Take back what was put since `state.undone` was an empty list, and the rows beyond `size`."""
    for array, rows, values in reversed(state.undone or []):
        array[rows] = values
    state.undone, state.size = None, size


def _list_new_rows(state: ContextState, new: Tensor, search: RowSearch) -> None:
    """The lists of the new rows, from the old rows and from each other."""
    unit, width = state.unit[new], state.neighbours.shape[1]
    scores, neighbours = search.nearest(unit, min(width, len(search.rows)))
    own = torch.arange(len(new), device=unit.device)
    among, others = nearest_rows(unit, unit, min(width, len(new) - 1), own)
    scores = torch.cat([scores, among, scores.new_full((len(new), width), -torch.inf)], dim=1)
    neighbours = torch.cat([neighbours, others + new[0], new[:, None].expand(-1, width)], dim=1)
    # Stable, and old rows come first: of two equal ones the incumbent stays, as in a fit from the start.
    scores, order = scores.sort(dim=1, descending=True, stable=True)
    state.scores[new], state.neighbours[new] = scores[:, :width], neighbours.gather(1, order[:, :width])


def _enter_old_lists(state: ContextState, new: Tensor, pairs: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Put new rows into the lists they belong into: rows whose list changed (J,), and their lists before (J, M)."""
    asking, row, score = pairs
    width = state.neighbours.shape[1]
    order = (-score).argsort(stable=True)
    order = order[row[order].argsort(stable=True)]  # by row, best first, equal ones by number
    row, score, entering = row[order], score[order], new[asking[order]]
    touched, counts = row.unique_consecutive(return_counts=True)
    before = state.neighbours[touched]
    if len(touched) == 0:
        return touched, before
    starts = counts.cumsum(0) - counts
    place = torch.arange(len(row), device=row.device) - starts.repeat_interleave(counts)
    group = torch.arange(len(touched), device=row.device).repeat_interleave(counts)
    kept = place < width  # of those that enter one list, no more than it has places can stay
    deepest = int(place[kept].max()) + 1
    scores = score.new_full((len(touched), deepest), -torch.inf)
    neighbours = touched[:, None].repeat(1, deepest)
    scores[group[kept], place[kept]], neighbours[group[kept], place[kept]] = score[kept], entering[kept]
    scores = torch.cat([state.scores[touched], scores], dim=1)
    neighbours = torch.cat([before, neighbours], dim=1)
    scores, order = scores.sort(dim=1, descending=True, stable=True)
    state.put(state.scores, touched, scores[:, :width])
    state.put(state.neighbours, touched, neighbours.gather(1, order[:, :width]))
    return touched, before


def _settle_reciprocity(state: ContextState, changed: Tensor, before: Tensor, old: int) -> Tensor:
    """Say anew who is reciprocal around changed lists; the rows that look at others than before, new ones too."""
    around = torch.cat([changed, state.neighbours[changed].flatten(), before.flatten()]).unique()
    theirs = state.neighbours[around]
    reciprocal = reciprocal_mask(theirs, around, state.neighbours) & (state.scores[around] > -torch.inf)
    # Lists that changed are compared as what they were: the same people in other places are no change.
    position = torch.full((state.size,), -1, device=around.device)
    touched = changed[changed < old]
    position[touched] = torch.arange(len(touched), device=around.device)
    was = position[around]
    former = torch.where((was >= 0)[:, None], before[was.clamp_min(0)], theirs) if len(before) else theirs
    looked_at = _effective(former, state.reciprocal[around])
    differs = (looked_at != _effective(theirs, reciprocal)).any(dim=1) | (around >= old)
    state.put(state.reciprocal, around, reciprocal)
    return around[differs]


def _effective(neighbours: Tensor, reciprocal: Tensor) -> Tensor:
    return neighbours.masked_fill(~reciprocal, -1).sort(dim=1).values


def _recompute(state: ContextState, new: Tensor, dirty: Tensor) -> Tensor:
    """Run the layers over the rows that differ, layer by layer further out."""
    changed = new
    for index, (layer, frame) in enumerate(zip(state.layers, state.frames, strict=True)):
        level = state.levels[index]
        for part in changed.split(ROWS):
            state.put_memory(index, part, layer.remember(level[part], frame))
        reached = state.neighbours[changed][state.reciprocal[changed]]
        changed = torch.cat([changed, reached, dirty]).unique()
        memory = state.memory(index)
        for part in changed.split(ROWS):
            own = Memory(memory.keys[part], memory.values[:, part])
            state.put(state.levels[index + 1], part, layer(level[part], frame, own, memory, state.lists(part)))
    return changed
