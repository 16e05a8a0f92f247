"""Checksums of files that change rarely: written when a file is closed well, removed before it is changed.

A sealed file whose content differs was damaged by something else than passerby; a file without a seal was being
written when its writer died, and has to be checked by other means.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from passerby.gallery.space import sync_folder, writing

_BLOCK = 1 << 20


def write_seal(path: Path) -> None:
    """Leave the checksum of a file beside it, durably.

    Raises:
        GalleryError: the disk is full or closed to us.
    """
    write_durably(_seal_of(path), f"{sha256_of(path)}\n".encode())


def break_seal(path: Path) -> None:
    """Remove the checksum of a file that is about to change; durable when it returns."""
    seal = _seal_of(path)
    with writing(path.parent):
        if seal.exists():
            seal.unlink()
            sync_folder(path.parent)


def seal_is_broken(path: Path) -> bool | None:
    """Whether a file differs from its checksum; None where it has none, be it since a writer began meanwhile."""
    for _ in range(3):
        try:
            expected = _seal_of(path).read_bytes()
        except FileNotFoundError:
            return None
        if expected == f"{sha256_of(path)}\n".encode():
            return False
    return True


def write_list(path: Path, facts: Mapping[str, object]) -> None:
    """Write a small JSON object with a checksum of itself, durably and whole or not at all.

    Raises:
        GalleryError: the disk is full or closed to us.
    """
    content = json.dumps({**facts, "checksum": _digest(facts)}, indent=2, ensure_ascii=False) + "\n"
    write_durably(path, content.encode())


def read_list(path: Path) -> dict[str, Any] | None:
    """Read what `write_list` wrote; None where it is missing or damaged."""
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        checksum = facts.pop("checksum")
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None
    return facts if checksum == _digest(facts) else None


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def write_durably(path: Path, content: bytes) -> None:
    """Write a small file under another name, flush it and rename it.

    Raises:
        GalleryError: the disk is full or closed to us; what was there before still is.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with writing(path.parent):
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)


def _seal_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _digest(facts: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
