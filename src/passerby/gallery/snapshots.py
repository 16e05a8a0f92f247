"""A gallery folder as it is at one moment, and back: a copy that is complete and checked, or not there at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from passerby.errors import GalleryError
from passerby.gallery.local import LocalStore
from passerby.gallery.lock import LOCKS
from passerby.gallery.manifest import read_manifest
from passerby.gallery.space import require_space, writing
from passerby.gallery.store import Address


def copy_folder(source: Path, target: Path) -> int:
    """Copy a gallery's folder while nobody writes to it, check the copy byte by byte, and return its pictures.

    Args:
        source: a gallery's folder.
        target: a folder that does not exist or is empty.

    Raises:
        GalleryError: the source is damaged or being written, the target is taken, or the disk is full.
    """
    manifest = read_manifest(source)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise GalleryError(f"{target} exists and is not an empty folder; name a new one")
    nursery = target.with_name(f".{target.name}.{os.getpid()}.new")
    store = LocalStore(source, manifest)
    try:
        with store.writing():
            with writing(target.parent):
                target.parent.mkdir(parents=True, exist_ok=True)
            require_space(target.parent, store.size)
            with writing(target.parent):
                shutil.copytree(source, nursery, ignore=shutil.ignore_patterns(*LOCKS, "*.tmp"))
        copy = LocalStore.open(Address(None, nursery))
        try:
            found = next(copy.problems(), None)
            pictures = len(copy)
        finally:
            copy.close()
        if found is not None:
            raise GalleryError(f"nothing was copied, because {source} is damaged: {found}")
        for name in LOCKS:
            (nursery / name).unlink(missing_ok=True)
        with writing(target.parent):
            nursery.replace(target)
    finally:
        store.close()
        shutil.rmtree(nursery, ignore_errors=True)
    return pictures
