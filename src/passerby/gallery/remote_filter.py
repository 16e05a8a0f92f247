"""A `Filter` in the words of a Qdrant server."""

from __future__ import annotations

from typing import Any

from qdrant_client import models

from passerby.gallery.filters import FIELDS, Between, Every, Filter, Not, OneOf, Some

_NOTHING = models.Filter(must=[models.HasIdCondition(has_id=[])])


def qdrant_filter(where: Filter | None) -> models.Filter | None:
    """The same condition for the server; None for no filter.

    Raises:
        TypeError: the filter is of a kind that this function does not know, which is a defect.
    """
    if where is None:
        return None
    if isinstance(where, Every):
        return models.Filter(must=[_part(part) for part in where.parts])
    if isinstance(where, Some):
        return models.Filter(should=[_part(part) for part in where.parts]) if where.parts else _NOTHING
    if isinstance(where, Not):
        return models.Filter(must_not=[_part(where.part)])
    if isinstance(where, OneOf):
        return _one_of(where)
    if isinstance(where, Between):
        bounds: dict[str, Any] = {}
        if where.low is not None:
            bounds["gt" if where.low_open else "gte"] = where.low
        if where.high is not None:
            bounds["lt" if where.high_open else "lte"] = where.high
        return models.Filter(must=[models.FieldCondition(key=_key(where.field), range=models.Range(**bounds))])
    raise TypeError(f"no server filter for {type(where).__name__}")


def _part(where: Filter) -> Any:
    return qdrant_filter(where)


def _one_of(where: OneOf) -> models.Filter:
    texts = [value for value in where.values if isinstance(value, str)]
    numbers = [value for value in where.values if not isinstance(value, str)]
    key = _key(where.field)
    parts: list[Any] = [models.FieldCondition(key=key, match=models.MatchAny(any=texts))] if texts else []
    # a range is the one comparison in which 3 and 3.0 are the same number
    parts += [models.FieldCondition(key=key, range=models.Range(gte=value, lte=value)) for value in numbers]
    return models.Filter(should=parts) if parts else _NOTHING


def _key(field: str) -> str:
    return field if field in FIELDS else f"metadata.{field}"
