"""A folder that is written whole or not at all, with a manifest that finds every flipped byte in it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from passerby.errors import CheckpointError

#: The file that lists the SHA-256 of all others.
MANIFEST = "manifest.json"

_BLOCK = 1 << 20


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A temporary sibling that takes the folder's place when the block ends well and vanishes when it does not.

    Raises:
        CheckpointError: the disk is full, or the place may not be written to; what was there before is still there.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".new", dir=folder.parent))
    except OSError as error:
        raise _unwritable(folder, error) from error
    retired = temporary.with_suffix(".old")
    try:
        yield temporary
        temporary.chmod(0o755)
        if folder.exists():
            folder.rename(retired)
        temporary.rename(folder)
        _sync(folder.parent)
    except BaseException as error:
        if retired.exists() and not folder.exists():
            retired.rename(folder)
        if isinstance(error, OSError):
            raise _unwritable(folder, error) from error
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(retired, ignore_errors=True)


@contextmanager
def extended(folder: Path, without: Collection[str] = ()) -> Iterator[Path]:
    """A copy of a folder to add files to; with a new manifest it takes the folder's place when the block ends well.

    Args:
        folder: a folder with a manifest.
        without: paths below the folder that are about to be written anew, and so are not copied.
    """
    with replacing(folder) as temporary:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder)
            if path.is_file() and name.as_posix() not in without:
                (temporary / name).parent.mkdir(parents=True, exist_ok=True)
                _link_or_copy(path, temporary / name)
        yield temporary
        write_manifest(temporary)


def _link_or_copy(source: Path, target: Path) -> None:
    # Weights can be gigabytes; a second name for the same bytes is enough, as files are
    # replaced and never written into.
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copy2(source, target)


def write_manifest(folder: Path) -> None:
    """Hash every file of a folder into its ``manifest.json``; everything is on the disk when this returns."""
    names = sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST
    )
    manifest = {"algorithm": "sha256", "files": {name: _sha256(folder / name) for name in names}}
    for name in names:
        _sync(folder / name)
    temporary = folder / f".{MANIFEST}.{os.getpid()}"
    temporary.write_text(dump_json(manifest), encoding="utf-8")
    _sync(temporary)
    temporary.replace(folder / MANIFEST)
    _sync(folder)


def checked_files(folder: Path) -> dict[str, str]:
    """Compare every file with the manifest; return path below the folder -> SHA-256.

    Raises:
        CheckpointError: the manifest is missing or damaged, or a file is missing or differs.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise CheckpointError(f"{folder} has no {MANIFEST}; it is no checkpoint of passerby, or it was copied in part")
    try:
        expected = json.loads(path.read_text(encoding="utf-8"))["files"]
        entries = {str(name): str(digest) for name, digest in expected.items()}
    except (ValueError, KeyError, AttributeError, TypeError, OSError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); restore the folder from its origin") from error
    for name, digest in entries.items():
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise CheckpointError(f"{path} names the file {name!r} outside its folder; do not use this checkpoint")
        if not (folder / name).is_file():
            raise CheckpointError(
                f"{folder} lacks {name}, which its manifest lists; restore the folder from its origin"
            )
        found = _sha256(folder / name)
        if found != digest:
            raise CheckpointError(
                f"{folder / name} is damaged: its SHA-256 is {found[:12]}, expected {digest[:12]}; restore the folder "
                "from its origin"
            )
    return entries


def dump_json(tree: Mapping[str, Any]) -> str:
    """JSON as it is written into the folder: indented, readable, with a final line break."""
    return json.dumps(tree, indent=2, ensure_ascii=False) + "\n"


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _sync(path: Path) -> None:
    """Ask the system to put a file, or a folder's list of names, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _unwritable(folder: Path, error: OSError) -> CheckpointError:
    reason = error.strerror or str(error)
    return CheckpointError(
        f"{folder} could not be written: {reason}; make room or choose another place. Nothing was lost"
    )
