"""Telling videos and streams from pictures among what a user names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from passerby.errors import DataError, nearest
from passerby.gallery.manifest import MANIFEST
from passerby.gallery.sources import holds_pictures
from passerby.ingest.ledger import STATE, TABLE

#: Endings of files that are read as videos.
VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv", ".3gp"}
)
#: What the address of a stream begins with.
STREAM_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "udp", "srt")


@dataclass(frozen=True, slots=True)
class Footage:
    """Sources by their kind, each in the order given; `pictures` are folders, files, globs and tables."""

    videos: tuple[Path, ...] = ()
    streams: tuple[str, ...] = ()
    pictures: tuple[str, ...] = ()


def sort_sources(sources: Sequence[str]) -> Footage:
    """Sort what a user named into videos, streams and the rest; folders are searched for videos too.

    A folder stays among the pictures unless it holds videos and no pictures. Hidden folders, galleries and folders of
    crops are not entered.

    Raises:
        DataError: an address is of a kind that is not read, or a video file does not exist.
    """
    videos: dict[Path, None] = {}
    streams: dict[str, None] = {}
    pictures: list[str] = []
    for source in sources:
        path = Path(source).expanduser()
        if "://" in source and not path.exists():
            _check_scheme(source)
            streams[source] = None
        elif path.is_dir():
            found = list(_videos_below(path.absolute()))
            videos.update(dict.fromkeys(found))
            if not found or holds_pictures(path):
                pictures.append(source)
        elif path.suffix.lower() in VIDEO_SUFFIXES and not any(letter in source for letter in "*?["):
            if not path.exists():
                raise DataError(f"there is no video file {source}; check the path")
            videos[path.absolute()] = None
        else:
            pictures.append(source)
    return Footage(tuple(videos), tuple(streams), tuple(pictures))


def _check_scheme(source: str) -> None:
    scheme = source.partition("://")[0].lower()
    if scheme not in STREAM_SCHEMES:
        raise DataError(
            f"addresses of the kind {scheme}:// are not read; known: {', '.join(STREAM_SCHEMES)}."
            f"{nearest(scheme, STREAM_SCHEMES)}"
        )


def _videos_below(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):
        if MANIFEST in files or {STATE, TABLE} <= set(files):
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if Path(name).suffix.lower() in VIDEO_SUFFIXES and not name.startswith("."):
                yield Path(root, name)
