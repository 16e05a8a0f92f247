"""Tables of pictures: CSV with a header or JSON lines, one picture each, with whatever is known about it.

The column ``path`` is the picture, below the table's own folder unless it is absolute. ``camera``, ``time``,
``person`` (or ``identity``), ``track`` and ``source`` are passerby's; every other column is metadata to filter by.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from passerby.data.records import PersonImage
from passerby.errors import ConfigError, DataError, nearest
from passerby.gallery.filters import ALIASES, FIELDS, Value, checked_value, known_field
from passerby.gallery.records import Sighting
from passerby.gallery.where import seconds_of

TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".jsonl"})
#: A number as a cell writes it; 007 and 1_000 stay text, because they are names more often than numbers.
_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,15})(?:\.\d+)?(?:[eE][-+]?\d{1,2})?")


def read_table(path: Path) -> Iterator[Sighting]:
    """Read the pictures of a table, in its order.

    Raises:
        DataError: the table cannot be read, has no column ``path``, or a cell is wrong; the message names its line.
    """
    try:
        rows = _json_lines(path) if path.suffix.lower() == ".jsonl" else _cells(path)
        for line, row in rows:
            try:
                yield _sighting(row, path)
            except (ConfigError, ValueError) as error:
                raise DataError(f"{path}, line {line}: {error}") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"the table {path} cannot be read: {error}; expected CSV or JSON lines in UTF-8") from error


def _cells(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
        _check_columns(reader.fieldnames or [], path)
        for row in reader:
            if None in row or None in row.values():
                raise DataError(f"{path}, line {reader.line_num}: the row has not as many cells as the header")
            yield reader.line_num, {name: _cell(value) for name, value in row.items() if value != ""}


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig") as file:
        for line, text in enumerate(file, start=1):
            if not text.strip():
                continue
            try:
                row = json.loads(text)
            except ValueError as error:
                raise DataError(f"{path}, line {line}: {error}; expected one JSON object on each line") from error
            if not isinstance(row, dict):
                raise DataError(f'{path}, line {line}: expected a JSON object such as {{"path": "a.jpg"}}')
            _check_columns(row, path)
            yield line, {name: value for name, value in row.items() if value is not None}


def _check_columns(names: Any, path: Path) -> None:
    if "path" not in names:
        raise DataError(f"{path} has no column 'path'; it has {', '.join(names) or 'none'}.{nearest('path', names)}")


def _cell(text: str) -> Value:
    if _NUMBER.fullmatch(text):
        number = float(text)
        return int(number) if number == int(number) else number
    return text


def _sighting(row: Mapping[str, Any], table: Path) -> Sighting:
    values = {ALIASES.get(name, name): value for name, value in row.items()}
    named = values.pop("path", None)
    if not isinstance(named, str | int) or not str(named).strip():
        raise ConfigError("there is no path")
    picture = table.parent / str(named)
    known = {name: _of_kind(name, values.pop(name)) for name in FIELDS if name in values}
    metadata = {known_field(name): checked_value(value, name) for name, value in values.items()}
    person = known.get("person")
    if person is not None and person != int(person):
        raise ConfigError(f"person is {person}; expected a whole number")
    image = PersonImage(
        str(picture), picture, None if person is None else int(person), known.get("camera"), known.get("time")
    )
    return Sighting(image, known.get("track"), known.get("source") or str(table), metadata)


def _of_kind(name: str, value: Any) -> Any:
    """A cell of one of passerby's own columns: 12 may be a camera's name, and a time may be written as ISO 8601."""
    if FIELDS[name] is str and isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if name == "time" and isinstance(value, str):
        try:
            value = seconds_of(value)
        except ValueError as error:
            raise ConfigError(f"time is {value!r}; expected seconds since the epoch or ISO 8601") from error
    return checked_value(value, name)
