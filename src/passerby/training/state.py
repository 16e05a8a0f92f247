"""The state of an interrupted run: what is needed to go on as if nothing had happened.

Written to a temporary name, flushed to disk and renamed, so that a kill at any moment leaves the previous state or
the new one, never half of either. Read back with weights-only loading: the file can hold tensors and numbers, not code.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from passerby.errors import CheckpointError

_NAME = "state.pt"


def write_state(folder: Path, state: dict[str, Any]) -> None:
    """Write the state atomically into the run folder."""
    temporary = folder / f"{_NAME}.{os.getpid()}.tmp"
    try:
        with temporary.open("wb") as stream:
            torch.save(state, stream)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(folder / _NAME)
    finally:
        temporary.unlink(missing_ok=True)


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
