"""One entry of an annotation file, field by field: each is checked for its type, and each message says where.

Files of this field are written by many hands: ids arrive as text, captions as one string, splits misspelt. A reader
asks an `Entry` for what it needs and gets a value of the right type or an error with the file, the entry and the field.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from passerby.errors import DataError, nearest


class Entry:
    """A mapping read from a file, and the place it was read from."""

    def __init__(self, value: Any, path: Path, place: str, required: Sequence[str]) -> None:
        """Check that the value is a mapping that has all required keys.

        Args:
            value: what the file holds at that place.
            path: the file.
            place: where in the file: "entry 12", "line 3".
            required: keys it must have.

        Raises:
            DataError: no mapping, or a key is missing.
        """
        self.where = f"{path}, {place}"
        if not isinstance(value, dict):
            raise DataError(f"{self.where} is {type(value).__name__}; expected {{{', '.join(required)}}}")
        for key in required:
            if key not in value:
                keys = ", ".join(map(repr, value)) or "no keys"
                raise DataError(f"{self.where} has no {key!r}; it has {keys}.{nearest(key, map(str, value))}")
        self.value = value

    def named(self, name: str) -> None:
        """Say in later messages which picture the entry is about."""
        self.where = f"{self.where} ({name})"

    def text(self, key: str) -> str:
        """A string that is not blank.

        Raises:
            DataError: anything else.
        """
        found = self.value[key]
        if not isinstance(found, str) or not found.strip():
            raise DataError(f"{self.where}: {key} is {found!r:.80}; expected text")
        return found

    def whole_number(self, key: str, least: int = 0) -> int:
        """A whole number, not as text and not a truth value.

        Raises:
            DataError: anything else, or less than `least`.
        """
        found = self.value[key]
        if isinstance(found, bool) or not isinstance(found, int) or found < least:
            raise DataError(
                f"{self.where}: {key} is {found!r:.80} ({type(found).__name__}); expected a whole number from {least}"
            )
        return found

    def choice(self, key: str, known: Sequence[str], *, any_case: bool = False) -> str:
        """One of a few words.

        Args:
            key: the field.
            known: the words.
            any_case: True where the set's own code does not tell "Train" from "train".

        Raises:
            DataError: anything else; the message names the nearest word.
        """
        found = self.value[key]
        word = found.lower() if any_case and isinstance(found, str) else found
        if word not in known:
            raise DataError(
                f"{self.where}: {key} is {found!r:.80}; expected {', '.join(known)}.{nearest(str(found), known)}"
            )
        return word

    def captions(self, key: str) -> tuple[str, ...]:
        """A list of strings; an empty one or an empty string in it is a defect and kept.

        Raises:
            DataError: no list, or something in it is no string.
        """
        found = self.value[key]
        if not isinstance(found, list):
            raise DataError(f"{self.where}: {key} is {found!r:.80}; expected a list of sentences")
        for caption in found:
            if not isinstance(caption, str):
                raise DataError(f"{self.where}: a caption is {caption!r:.80}; expected a sentence")
        return tuple(found)
