"""Where a data set's files are: its root when somebody named the folder above or below, and its lists when found.

People unpack archives one level too deep and point one level too high; every message here names the folder that would
have been right.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from passerby.data.images import is_image_file
from passerby.errors import DataError

#: A street that was never finished holds this folder.
_UNFINISHED_STREET = ".unfinished"
#: Longest cell of a table that is read: a caption, not a book.
_LONGEST_CELL = 1_000_000


def find_root(root: Path, marks: Sequence[str], expected: str, *, inside: Sequence[str] = ()) -> Path:
    """Return the folder that holds the data set.

    Args:
        root: the folder that was named.
        marks: files or folders, each of which lies in the right folder; one of them is enough.
        expected: what belongs there, for the message: "the unpacked archive of RSTPReid".
        inside: names of folders below the named one that are entered without a word, such as the archive's own.

    Raises:
        DataError: no folder there, or nothing of the data set in it; the message names the right folder where it is
            one or two levels up or down.
    """
    if not root.exists():
        raise DataError(f"no such folder: {root}; expected {expected}")
    if not root.is_dir():
        raise DataError(f"{root} is a file; expected the folder with {expected}")
    for folder in (root, *(root / name for name in inside)):
        if _is_marked(folder, marks):
            return folder
    named = " or ".join(marks)
    for folder in root.resolve().parents[:2]:
        if _is_marked(folder, marks):
            raise DataError(f"{root} has no {named}; it is further up: give {_as_given(root, folder)}")
    for folder in _below(root):
        if _is_marked(folder, marks):
            raise DataError(f"{root} has no {named}; it is further down: give {folder}")
    if (root / _UNFINISHED_STREET).is_dir():
        raise DataError(f"{root} is a street that was never finished; run the same `passerby world make` again")
    raise DataError(f"{root} has no {named}; expected {expected}")


def _is_marked(folder: Path, marks: Sequence[str]) -> bool:
    return any((folder / mark).exists() for mark in marks)


def _as_given(root: Path, folder: Path) -> Path:
    """The folder above in the user's own spelling where that is shorter than the whole path."""
    return next((above for above in root.parents[:2] if above.resolve() == folder and above != Path()), folder)


def _below(root: Path) -> Iterator[Path]:
    """Folders one level down, then two; of a set with a folder for each person only some are entered."""
    first = _folders_in(root)
    yield from first
    for folder in first[:20]:
        yield from _folders_in(folder)[:20]


def _folders_in(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir())
    except OSError:
        return []


def list_images(folder: Path, *, deep: bool = False) -> list[str]:
    """Paths of the pictures in a folder, relative to it, with forward slashes, sorted.

    What has no ending of a picture, such as `Thumbs.db`, and what is hidden is left out.

    Args:
        folder: where to look.
        deep: also in folders below it.

    Raises:
        DataError: there is no such folder, or it cannot be read.
    """
    found: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if deep and entry.is_dir():
                    found += (f"{entry.name}/{name}" for name in list_images(Path(entry.path), deep=True))
                elif is_image_file(Path(entry.name)):
                    found.append(entry.name)
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror or error}; expected a folder of pictures") from error
    return sorted(found)


def read_text(path: Path) -> str:
    """Read a text file in UTF-8, with or without a byte order mark.

    Raises:
        DataError: it is missing, unreadable or not UTF-8.
    """
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not text in UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from error
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror or error}; check the path and its permissions"
        ) from error


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: it is missing, or not JSON in UTF-8.
    """
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON in UTF-8 ({error}); download it again") from error


def read_entries(path: Path, fields: str) -> list[Any]:
    """Read a JSON file that holds one list of entries.

    Args:
        path: the file.
        fields: what an entry looks like, for the message: "{id, img_path, captions, split}".

    Raises:
        DataError: it is missing, not JSON, not a list, or empty.
    """
    entries = read_json(path)
    if not isinstance(entries, list) or not entries:
        found = "an empty list" if entries == [] else type(entries).__name__
        raise DataError(f"{path} holds {found}; expected a list of {fields}")
    return entries


def read_lines(path: Path) -> list[tuple[int, str]]:
    """Lines that hold something, each with its number from 1.

    Raises:
        DataError: it is missing, unreadable or not UTF-8.
    """
    # Not splitlines(): a caption may hold a form feed or a line separator of Unicode.
    lines = read_text(path).replace("\r\n", "\n").split("\n")
    return [(number, line) for number, line in enumerate(lines, 1) if line.strip()]


def read_table(path: Path, delimiter: str = ",") -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Read a table with a heading, such as a CSV file.

    Returns:
        The heading, and each row with the number of the line it ends on; blanks around names and empty rows go.

    Raises:
        DataError: it is missing, not UTF-8, empty, or no table.
    """
    limit = csv.field_size_limit(_LONGEST_CELL)
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, delimiter=delimiter, strict=True)
            rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not text in UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from error
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror or error}; check the path and its permissions"
        ) from error
    except csv.Error as error:
        raise DataError(f"{path} is no table of values ({error}); is a quote left open?") from error
    finally:
        csv.field_size_limit(limit)
    if not rows:
        raise DataError(f"{path} is empty; expected a line of column names and a line for each picture")
    return [name.strip() for name in rows[0][1]], rows[1:]
