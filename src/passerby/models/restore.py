"""Between a torch model and its checkpoint folder: save it, and build it again with every weight in its place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from passerby.errors import CheckpointError
from passerby.models.checkpoint import Checkpoint, CheckpointConfig, write_checkpoint
from passerby.models.dual_encoder import DualEncoder
from passerby.models.kinds import find_kind
from passerby.models.preprocessing import Preprocessing
from passerby.models.reid import ReidModel
from passerby.models.tokenizer import Tokenizer


class Storable(Protocol):
    """A module that can say what it is made of."""

    @property
    def config(self) -> dict[str, Any]:
        """The ``model`` section that its kind's builder makes it from again."""
        ...

    def state_dict(self) -> Mapping[str, torch.Tensor]:
        """Its weights."""
        ...


def save_model(
    model: Storable,
    folder: Path,
    *,
    kind: str,
    name: str,
    preprocessing: Preprocessing | None = None,
    tokenizer: Tokenizer | None = None,
    trained_on: str = "unknown",
    licence: str = "unknown",
    metrics: Mapping[str, float] | None = None,
    about: str = "",
    weights_dtype: str = "float32",
) -> Checkpoint:
    """Write a model of any kind as a checkpoint folder; see `write_checkpoint`.

    Raises:
        ConfigError: no such kind.
        CheckpointError: a weight is not finite, or the folder is something else.
    """
    find_kind(kind)
    config = CheckpointConfig(
        kind=kind,
        model=model.config,
        preprocessing=preprocessing,
        context_length=tokenizer.context_length if tokenizer else None,
        name=name,
        licence=licence,
        trained_on=trained_on,
        metrics=metrics or {},
        about=about,
    )
    tensors = {key: _as_array(value) for key, value in model.state_dict().items()}
    return write_checkpoint(folder, config, tensors, tokenizer, weights_dtype)


def save_dual_encoder(model: DualEncoder, tokenizer: Tokenizer, folder: Path, **described: Any) -> Checkpoint:
    """Write a dual encoder as a checkpoint folder; see `save_model` for the rest of the arguments."""
    return save_model(
        model, folder, kind="dual_encoder", preprocessing=model.preprocessing, tokenizer=tokenizer, **described
    )


def restore_model(checkpoint: Checkpoint) -> torch.nn.Module:
    """Build the model of a checkpoint, in evaluation mode, on the CPU.

    Raises:
        CheckpointError: a weight is missing, too many or of another shape; both shapes are named.
        ConfigError: the configuration names something unknown, such as a tower.
    """
    model = find_kind(checkpoint.config.kind).build(checkpoint.config.model)
    load_tensors(model, checkpoint.tensors(), str(checkpoint.folder))
    return model.eval()


def restore_dual_encoder(checkpoint: Checkpoint) -> DualEncoder:
    """Build the dual encoder of a checkpoint, in evaluation mode, on the CPU.

    Raises:
        CheckpointError: the folder holds another kind of model, or as in `restore_model`.
        ConfigError: the configuration names an unknown tower.
    """
    model = restore_model(checkpoint)
    if not isinstance(model, DualEncoder):
        raise CheckpointError(f"{checkpoint.folder} holds a {checkpoint.config.kind} model; expected a dual encoder")
    if checkpoint.config.preprocessing is not None:
        model.image_tower.preprocessing = checkpoint.config.preprocessing
    return model


def restore_encoder(checkpoint: Checkpoint) -> DualEncoder | ReidModel:
    """Build the model of a checkpoint that reads pictures, in evaluation mode, on the CPU.

    Raises:
        CheckpointError: the model reads no pictures, or as in `restore_model`.
        ConfigError: the configuration names an unknown tower.
    """
    pictures = checkpoint.config.pictures
    model = restore_model(checkpoint)
    if not isinstance(model, DualEncoder | ReidModel):
        raise CheckpointError(f"{checkpoint.folder} holds a {checkpoint.config.kind} model; expected one for pictures")
    model.image_tower.preprocessing = pictures
    return model


def load_tensors(model: torch.nn.Module, tensors: Mapping[str, np.ndarray], origin: str) -> None:
    """Put arrays into a module's parameters and buffers, all of them and no others.

    Args:
        model: the module.
        tensors: name -> values.
        origin: where they come from, for the error.

    Raises:
        CheckpointError: a name is missing or unknown, or a shape differs.
    """
    expected = model.state_dict()
    missing, unknown = sorted(set(expected) - set(tensors)), sorted(set(tensors) - set(expected))
    if missing or unknown:
        lacks = f"lacks {len(missing)} weights (first: {missing[0]})" if missing else ""
        brings = f"brings {len(unknown)} unknown ones (first: {unknown[0]})" if unknown else ""
        found = " and ".join(part for part in (lacks, brings) if part)
        raise CheckpointError(f"{origin} {found}; its configuration describes another model than its weights")
    for name, tensor in tensors.items():
        if tuple(expected[name].shape) != tensor.shape:
            raise CheckpointError(
                f"{origin}: the weight {name!r} has shape {tensor.shape}, the configuration asks for "
                f"{tuple(expected[name].shape)}"
            )
    model.load_state_dict({name: torch.from_numpy(np.array(tensor)) for name, tensor in tensors.items()})


def _as_array(tensor: torch.Tensor) -> np.ndarray:
    wide = tensor.detach().cpu()
    return (wide.float() if wide.is_floating_point() else wide).contiguous().numpy()
