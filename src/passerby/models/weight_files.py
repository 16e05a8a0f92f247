"""Safetensors that another program wrote: in one file or in parts. Pickled weights are named and never opened."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from passerby.errors import CheckpointError


def read_weights(folder: Path, name: str) -> dict[str, Tensor]:
    """Read the weights of a folder that another program wrote, in one file or in the parts that an index lists.

    Args:
        folder: where they lie.
        name: file name of the weights when they are in one file.

    Raises:
        CheckpointError: there are none, only pickled ones, or they are damaged.
    """
    index = folder / f"{name}.index.json"
    if index.is_file():
        files = _listed(index)
    elif (folder / name).is_file():
        files = [name]
    else:
        pickles = sorted(path.name for path in folder.glob("*.bin")) + sorted(path.name for path in folder.glob("*.pt"))
        hint = f" It has {pickles[0]}, but pickles are never opened; convert it to safetensors." if pickles else ""
        raise CheckpointError(f"{folder} has no {name}.{hint}")
    weights: dict[str, Tensor] = {}
    for file in files:
        if Path(file).name != file:
            raise CheckpointError(f"{index} names the file {file!r} outside its folder; do not use this model")
        try:
            weights |= load_file(folder / file)
        except Exception as error:  # the backend raises an error type of its own
            raise CheckpointError(f"{folder / file} cannot be read: {error}; fetch it again") from error
    return weights


def _listed(index: Path) -> list[str]:
    try:
        files = {str(file) for file in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{index} cannot be read: {error!r}") from error
    return sorted(files)
