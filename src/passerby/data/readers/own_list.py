"""One's own data as a list: a CSV or JSONL file with a line for each picture, or for each sentence about it.

Columns are image (required), caption, identity, camera, time, split, junk and query; JSONL may also hold `captions`,
a list. Paths start from the list's folder. A picture on several lines is one picture with several sentences.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from passerby.data.readers.places import read_lines, read_table
from passerby.data.readers.source import Source, SourceRow, assemble
from passerby.data.records import Dataset, Split
from passerby.errors import DataError, nearest

COLUMNS = ("image", "caption", "identity", "camera", "time", "split", "junk", "query")
#: Split of what names none.
UNSPLIT = "all"

_TRUE, _FALSE = ("1", "true", "yes"), ("", "0", "false", "no")


def read(path: Path, *, form: str = "jsonl") -> Dataset:
    """Open a list of one's own pictures.

    Args:
        path: the file.
        form: "csv" or "jsonl".

    Raises:
        DataError: a line is not what it should be; the message says which and what to do.
    """
    return assemble(source(path, form=form))


def source(path: Path, *, form: str = "jsonl") -> Source:
    """What a list of one's own pictures says, defects included.

    Raises:
        DataError: the file cannot be read, or a line is not what it should be.
    """
    lines = _table_lines(path) if form == "csv" else _json_lines(path)
    rows, notes = gather(lines, path, (*COLUMNS, "captions") if form == "jsonl" else COLUMNS)
    return Source(
        name=form,
        title="your list",
        root=path,
        pictures=path.parent,
        listing=path,
        rows=rows,
        licence="your own data",
        own=True,
        notes=notes,
    )


def gather(
    lines: Sequence[tuple[int, Mapping[str, Any]]], path: Path, known: Sequence[str]
) -> tuple[tuple[SourceRow, ...], tuple[str, ...]]:
    """Turn lines of named values into rows, one for each picture.

    Args:
        lines: number of the line and its values by column; what a line leaves out is not in it.
        path: the file, for messages.
        known: the columns that may occur; one that is spelt almost like them is refused, others are not read.

    Returns:
        The rows, and what the user should know about them.

    Raises:
        DataError: a line is not what it should be, or contradicts another about the same picture.
    """
    unread: set[str] = set()
    for number, line in lines:
        if "image" not in line:
            raise DataError(
                f"{path}, line {number} has no 'image'; it has {', '.join(map(repr, line)) or 'nothing'}."
                f"{nearest('image', line)}"
            )
        for name in line.keys() - set(known) - unread:
            if nearest(name, known):
                raise DataError(f"{path}, line {number}: unknown column {name!r}.{nearest(name, known)}")
            unread.add(name)
    persons = _persons(lines, path)
    rows: dict[str, SourceRow] = {}
    for number, line in lines:
        row = _Line(line, path, number).row(persons)
        rows[row.image] = _merged(rows[row.image], row, f"{path}, line {number}") if row.image in rows else row
    return tuple(rows.values()), _notes(persons, unread)


def _notes(persons: Mapping[str, int], unread: Collection[str]) -> tuple[str, ...]:
    notes = []
    if not all(map(is_whole, persons)):
        notes.append("People have names instead of numbers; they are numbered in the order of their names.")
    if unread:
        notes.append(f"Columns that are not read: {', '.join(sorted(unread))}.")
    return tuple(notes)


def _table_lines(path: Path) -> list[tuple[int, dict[str, Any]]]:
    heading, rows = read_table(path)
    twice = next((name for name in heading if heading.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path} has two columns named {twice!r}; expected each once")
    lines = []
    for number, cells in rows:
        if len(cells) != len(heading):
            raise DataError(
                f"{path}, line {number} has {len(cells)} columns; expected {len(heading)} ({', '.join(heading)}). A "
                f"sentence with a comma stands in quotes"
            )
        lines.append((number, {name: cell.strip() for name, cell in zip(heading, cells, strict=True) if cell.strip()}))
    return lines


def _json_lines(path: Path) -> list[tuple[int, dict[str, Any]]]:
    lines = []
    for number, text in read_lines(path):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}, line {number} is not JSON ({error}); expected one object on each line") from error
        if not isinstance(value, dict):
            raise DataError(
                f'{path}, line {number} is {type(value).__name__}; expected an object such as {{"image": ...}}'
            )
        lines.append((number, {key: one for key, one in value.items() if one is not None}))
    if not lines:
        raise DataError(f'{path} is empty; expected one object on each line, such as {{"image": ...}}')
    return lines


def is_whole(name: str) -> bool:
    """Whether an identity is written as a whole number from 0."""
    return name.isdecimal() and name.isascii()


def _persons(lines: Sequence[tuple[int, Mapping[str, Any]]], path: Path) -> dict[str, int]:
    """Identity as written -> its number: its own where all are whole numbers, else by the order of the names."""
    first: dict[str, int] = {}
    for number, line in lines:
        identity = line.get("identity")
        if identity is None:
            continue
        if isinstance(identity, bool) or not isinstance(identity, int | str) or not str(identity).strip():
            raise DataError(f"{path}, line {number}: identity is {identity!r:.80}; expected a whole number or a name")
        first.setdefault(str(identity), number)
    whole = [name for name in first if is_whole(name)]
    if len(whole) == len(first):
        return {name: int(name) for name in first}
    if whole:
        odd = next(name for name in first if not is_whole(name))
        raise DataError(
            f"{path}, line {first[odd]}: identity is {odd!r:.80}, while line {first[whole[0]]} has {whole[0]}; "
            f"expected whole numbers from 0 throughout, or names throughout"
        )
    return {name: number for number, name in enumerate(sorted(first))}


class _Line:
    """One line of a list, whose fields are read with its number at hand."""

    def __init__(self, values: Mapping[str, Any], path: Path, number: int) -> None:
        self.values, self.where = values, f"{path}, line {number}"

    def row(self, persons: Mapping[str, int]) -> SourceRow:
        """The picture that the line is about.

        Raises:
            DataError: a field is not what it should be.
        """
        identity = self.values.get("identity")
        return SourceRow(
            image=self._text("image") or self._refuse("image", "the path of a picture"),
            split=self._text("split") or UNSPLIT,
            person_id=None if identity is None else persons[str(identity)],
            captions=self._captions(),
            camera_id=self._text("camera"),
            time=self._time(),
            junk=self._truth("junk"),
            asks=self._truth("query"),
        )

    def _refuse(self, key: str, expected: str) -> NoReturn:
        raise DataError(f"{self.where}: {key} is {self.values[key]!r:.80}; expected {expected}")

    def _text(self, key: str) -> str | None:
        found = self.values.get(key)
        if isinstance(found, int) and not isinstance(found, bool) and key == "camera":
            return str(found)
        if found is None or isinstance(found, str):
            return found and found.strip()
        return self._refuse(key, "text")

    def _captions(self) -> tuple[str, ...]:
        found = self.values.get("captions", [])
        if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
            self._refuse("captions", "a list of sentences")
        one = self.values.get("caption")
        if one is not None and not isinstance(one, str):
            self._refuse("caption", "a sentence")
        return (*([] if one is None else [one]), *found)

    def _truth(self, key: str) -> bool:
        word = str(self.values.get(key, "")).lower()
        if word not in _TRUE + _FALSE:
            self._refuse(key, "true or false")
        return word in _TRUE

    def _time(self) -> float | None:
        found = self.values.get("time")
        if found is None:
            return None
        if isinstance(found, bool) or not isinstance(found, int | float | str):
            return self._refuse("time", _TIME)
        with suppress(ValueError, OverflowError):
            seconds = float(found)
            return seconds if math.isfinite(seconds) else self._refuse("time", _TIME)
        try:
            moment = datetime.fromisoformat(str(found))
        except ValueError:
            return self._refuse("time", _TIME)
        # A time without a zone is taken as UTC, so that it does not depend on the machine.
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


_TIME = "seconds since 1970 or a date such as 2024-05-01T12:30:00"


def _merged(first: SourceRow, again: SourceRow, where: str) -> SourceRow:
    """A picture that another line has too: its sentences are added, the rest must agree."""
    for name, label in {"person_id": "identity", "camera_id": "camera", "split": "split", "time": "time",
                        "junk": "junk", "asks": "query"}.items():  # fmt: skip
        before, now = getattr(first, name), getattr(again, name)
        if before != now:
            raise DataError(f"{where}: {label} of {again.image} is {now}, on an earlier line {before}; expected one")
    captions = first.captions + again.captions
    if not again.captions:
        raise DataError(f"{where} lists {again.image} again without another caption; remove the line")
    return SourceRow(
        first.image, first.split, first.person_id, captions, first.camera_id, first.time, first.junk, first.asks
    )


def write_list(dataset: Dataset, path: Path) -> Path:
    """Write a data set as a JSONL list that `read` reads back, whole or not at all.

    Paths are relative to the list where the pictures lie below its folder, and absolute elsewhere.

    Raises:
        DataError: the file cannot be written.
    """
    lines = [line for split in dataset.splits.values() for line in _written(split, path.parent.resolve())]
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise DataError(f"{path} cannot be written: {error.strerror or error}; choose another place") from error
    return path


def _written(split: Split, folder: Path) -> list[str]:
    sentences: dict[str, list[str]] = {}
    for caption in split.captions:
        sentences.setdefault(caption.image_id, []).append(caption.text)
    queries = set(split.query_ids)
    lines = []
    for image in split.images:
        place = image.path.absolute()
        inside = place.relative_to(folder) if place.is_relative_to(folder) else place
        line = {
            "image": inside.as_posix(),
            "identity": image.person_id,
            "camera": image.camera_id,
            "time": image.time,
            "split": split.name,
            "captions": sentences.get(image.image_id),
            "junk": image.junk or None,
            "query": image.image_id in queries or None,
        }
        lines.append(json.dumps({key: value for key, value in line.items() if value is not None}, ensure_ascii=False))
    return lines
