"""What a source is called, which camera it is of, and when it began."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from passerby.errors import ConfigError, DataError
from passerby.gallery.where import seconds_of

#: The camera in a file's name, as data sets of this field write it: c2, c03, cam4 between separators.
_CAMERA = re.compile(r"(?:^|[_\-. ])(c(?:am(?:era)?)?[_-]?\d{1,3})(?=s\d|[_\-. ]|$)", re.IGNORECASE)
_BLOCK = 1 << 20
_LONGEST_SLUG = 40


def file_key(path: Path, made_with: Mapping[str, Any]) -> str:
    """A name for a file's folder of crops that stays when the file is moved and changes with content or settings.

    Args:
        path: of the file, of which size, beginning, middle and end are read.
        made_with: settings, as JSON values.

    Raises:
        DataError: the file cannot be read.
    """
    digest = hashlib.sha256(repr(sorted(made_with.items())).encode())
    try:
        size = path.stat().st_size
        digest.update(str(size).encode())
        with path.open("rb") as file:
            for start in (0, max(0, size // 2 - _BLOCK // 2), max(0, size - _BLOCK)):
                file.seek(start)
                digest.update(file.read(_BLOCK))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; check the path and its permissions") from error
    return f"{slug(path.stem)}-{digest.hexdigest()[:10]}"


def stream_key(shown: str, made_with: Mapping[str, Any]) -> str:
    """A name for a stream's folder of crops; `shown` is its address without secrets."""
    digest = hashlib.sha256(repr((shown, sorted(made_with.items()))).encode())
    return f"{slug(shown.partition('://')[2])}-{digest.hexdigest()[:10]}"


def slug(text: str) -> str:
    """Letters, digits and dashes of a text, so that it can be part of a file's name everywhere."""
    plain = re.sub(r"[^a-z0-9]+", "-", text.encode("ascii", "ignore").decode().lower()).strip("-")
    return plain[:_LONGEST_SLUG].strip("-") or "source"


def camera_of(path: Path) -> str | None:
    """The camera that a file's name gives, such as c03 in ``entrance_c03_monday.mp4``, or None."""
    found = _CAMERA.search(path.stem)
    return found[1].lower() if found else None


def start_of(path: Path, seconds: float | None) -> float:
    """When a video began, by its file: the time of its last change, less its length where that is known.

    A recorder closes its file when it stops; a copy that does not keep times makes this wrong, so a start that is known
    is better given.
    """
    return path.stat().st_mtime - (seconds or 0.0)


def parse_start(text: str) -> float:
    """Seconds since the epoch of a start time that a user typed: ISO 8601, UTC without an offset.

    Raises:
        ConfigError: the text is no time.
    """
    try:
        moment = seconds_of(text)
    except (ValueError, OverflowError):
        moment = math.nan
    if not math.isfinite(moment):
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
        raise ConfigError(f"the start time is {text!r}; expected ISO 8601 such as '{now}' (UTC) or '{now}+01:00'")
    return moment
