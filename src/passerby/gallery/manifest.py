"""gallery.json: what a gallery is, which model made it, and which version of the format it is written in.

The file is small, carries a checksum of itself and is written before anything else and then left alone; whatever it
says that this version cannot honour is refused in one sentence.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from passerby.errors import GalleryError
from passerby.gallery.seal import write_durably

FORMAT_VERSION = 2
MANIFEST = "gallery.json"


@dataclass(frozen=True, slots=True)
class Manifest:
    """The immutable facts of a gallery.

    Attributes:
        engine: name of the engine that holds the vectors.
        dim: length of the vectors.
        model: what to load to get the model again.
        fingerprint: the model's fingerprint; no other model may add or search.
        created: when, ISO 8601 in UTC.
        format_version: version of the folder's layout.
    """

    engine: str
    dim: int
    model: str
    fingerprint: str
    created: str
    format_version: int = FORMAT_VERSION


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write gallery.json durably."""
    values = asdict(manifest)
    content = json.dumps(values | {"checksum": _checksum(values)}, indent=2, ensure_ascii=False) + "\n"
    write_durably(folder / MANIFEST, content.encode())


def read_manifest(folder: Path) -> Manifest:
    """Read gallery.json and check that this version of passerby can honour it.

    Raises:
        GalleryError: there is no gallery, its manifest is damaged, or a newer version wrote it.
    """
    path = folder / MANIFEST
    if not path.is_file():
        found = "there is no such folder" if not folder.exists() else f"the folder has no {MANIFEST}"
        raise GalleryError(
            f"{folder} is not a gallery: {found}; make one with: passerby index PICTURES --gallery {folder}"
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise GalleryError(f"{path} cannot be read: {error.strerror}; check its permissions") from error
    except ValueError as error:
        raise _damaged(path, "it is not valid JSON") from error
    checksum = values.pop("checksum", None) if isinstance(values, dict) else None
    _check_version(values, str(folder), path)
    if checksum != _checksum(values):
        raise _damaged(path, "its checksum does not match its content")
    return manifest_from(values, str(folder))


def manifest_from(values: object, gallery: str) -> Manifest:
    """A manifest out of its JSON values, checked.

    Raises:
        GalleryError: the values are no manifest, or of a version that cannot be honoured.
    """
    _check_version(values, gallery, gallery)
    if not isinstance(values, dict) or set(values) != {field.name for field in fields(Manifest)}:
        raise _damaged(gallery, "its manifest is not complete")
    return Manifest(**values)


def _check_version(values: object, gallery: str, place: Path | str) -> None:
    version = values.get("format_version") if isinstance(values, dict) else None
    if not isinstance(version, int):
        raise _damaged(place, "it names no format version")
    if version > FORMAT_VERSION:
        raise GalleryError(
            f"the gallery {gallery} has format {version}; this passerby reads formats up to {FORMAT_VERSION}; upgrade "
            "with: pip install --upgrade passerby"
        )
    if version < FORMAT_VERSION:
        raise GalleryError(
            f"the gallery {gallery} has format {version}, from before the first release; delete it and index again"
        )


def _checksum(values: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _damaged(path: Path | str, reason: str) -> GalleryError:
    return GalleryError(
        f"{path} is damaged: {reason}; restore it from a backup, or delete the gallery folder and index again"
    )
