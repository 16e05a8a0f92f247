"""A `Filter` as a condition of SQLite, with every value as a parameter and nothing of the user's in the text."""

from __future__ import annotations

import json

from passerby.gallery.filters import FIELDS, Between, Every, Filter, Not, OneOf, Some

_HELD = {name: name for name in FIELDS}


def sql_condition(where: Filter) -> tuple[str, list[object]]:
    """The text of a condition over the table of pictures, and the values of its placeholders.

    Raises:
        TypeError: the filter is of a kind that this function does not know, which is a defect.
    """
    if isinstance(where, Every | Some):
        found = [sql_condition(part) for part in where.parts]
        word, empty = (" AND ", "1") if isinstance(where, Every) else (" OR ", "0")
        return f"({word.join(text for text, _ in found) or empty})", [value for _, values in found for value in values]
    if isinstance(where, Not):
        text, values = sql_condition(where.part)
        return f"(NOT COALESCE({text}, 0))", values  # a missing field makes a condition NULL, and its negation true
    if isinstance(where, OneOf):
        texts = [value for value in where.values if isinstance(value, str)]
        numbers = [value for value in where.values if not isinstance(value, str)]
        parts = [_among(where.field, kind, values) for kind, values in (("text", texts), ("number", numbers)) if values]
        return f"({' OR '.join(text for text, _ in parts) or '0'})", [value for _, values in parts for value in values]
    if isinstance(where, Between):
        return _between(where)
    raise TypeError(f"no SQL for {type(where).__name__}")


def _among(field: str, kind: str, values: list) -> tuple[str, list[object]]:
    held, guard, names = _access(field, kind)
    return f"({guard}{held} IN (SELECT value FROM json_each(?)))", [*names, json.dumps(values)]  # noqa: S608


def _between(where: Between) -> tuple[str, list[object]]:
    parts, values = [], []
    for bound, sign in ((where.low, ">" if where.low_open else ">="), (where.high, "<" if where.high_open else "<=")):
        if bound is not None:
            held, guard, names = _access(where.field, "number")
            parts.append(f"({guard}{held} {sign} ?)")
            values += [*names, bound]
    return f"({' AND '.join(parts)})", values


def _access(field: str, kind: str) -> tuple[str, str, list[object]]:
    """How to read a field, a guard that it is of the wanted kind, and the parameters of both, in their order."""
    if field in _HELD:
        return _HELD[field], "", []
    path = f"$.{field}"
    kinds = "= 'text'" if kind == "text" else "IN ('integer', 'real')"
    return "json_extract(metadata, ?)", f"json_type(metadata, ?) {kinds} AND ", [path, path]
