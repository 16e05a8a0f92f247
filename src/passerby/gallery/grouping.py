"""One answer for each person, track or camera instead of one for each picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from passerby.gallery.filters import known_field
from passerby.gallery.records import Hit


def best_of_groups(hits: Sequence[Hit], field: str) -> list[Hit]:
    """The best hit of each group in the given order, with the ids of the group's others.

    Args:
        hits: best first.
        field: what the pictures of one group share, such as "person" or "track"; a picture without it stands alone.
    """
    name = known_field(field)
    groups: dict[object, list[Hit]] = {}
    for hit in hits:
        value = hit.picture.get(name)
        groups.setdefault(("alone", hit.id) if value is None else value, []).append(hit)
    return [replace(first, others=tuple(hit.id for hit in others)) for first, *others in groups.values()]
