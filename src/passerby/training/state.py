"""The state of an interrupted run: what is needed to go on as if nothing had happened.

Written to a temporary name, flushed to disk and renamed, so that a kill at any moment leaves the previous state or
the new one, never half of either; the small files of a run are written in the same way. Read back with weights-only
loading: the file can hold tensors and numbers, not code.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch

from passerby.errors import CheckpointError

_NAME = "state.pt"


def write_state(folder: Path, state: dict[str, Any]) -> None:
    """Write the state atomically into the run folder.

    Raises:
        CheckpointError: the disk is full or the folder cannot be written to; the state before is still there.
    """
    with _replacing(folder / _NAME) as stream:
        torch.save(state, stream)


def write_text(path: Path, text: str) -> None:
    """Write a small file of the run atomically.

    Raises:
        CheckpointError: the disk is full or the folder cannot be written to; what was there before still is.
    """
    with _replacing(path) as stream:
        stream.write(text.encode())


def read_state(folder: Path) -> dict[str, Any] | None:
    """Return the last state of a run, or None when it has none.

    Raises:
        CheckpointError: the file is damaged.
    """
    path = folder / _NAME
    if not path.is_file():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, ValueError, KeyError, OSError, pickle.UnpicklingError) as error:
        raise CheckpointError(
            f"the training state {path} is damaged ({type(error).__name__}); delete it to start this run again"
        ) from error


def clear_state(folder: Path) -> None:
    """Remove the state of a finished run."""
    (folder / _NAME).unlink(missing_ok=True)


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A stream whose content takes the file's place when the block ends well."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise CheckpointError(
            f"{path} could not be written: {reason}; make room and give the same command again to go on"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
