"""Between a torch model and its checkpoint folder: save it, and build it again with every weight in its place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from passerby.errors import CheckpointError
from passerby.models.checkpoint import Checkpoint, CheckpointConfig, write_checkpoint
from passerby.models.dual_encoder import DualEncoder, build_dual_encoder
from passerby.models.tokenizer import Tokenizer


def save_dual_encoder(
    model: DualEncoder,
    tokenizer: Tokenizer,
    folder: Path,
    *,
    name: str,
    trained_on: str = "unknown",
    licence: str = "unknown",
    metrics: Mapping[str, float] | None = None,
    about: str = "",
    weights_dtype: str = "float32",
) -> Checkpoint:
    """Write a dual encoder as a checkpoint folder; see `write_checkpoint`.

    Raises:
        CheckpointError: a weight is not finite, or the folder is something else.
    """
    config = CheckpointConfig(
        model=model.config,
        preprocessing=model.preprocessing,
        context_length=tokenizer.context_length,
        name=name,
        licence=licence,
        trained_on=trained_on,
        metrics=metrics or {},
        about=about,
    )
    tensors = {key: _as_array(value) for key, value in model.state_dict().items()}
    return write_checkpoint(folder, config, tensors, tokenizer, weights_dtype)


def restore_dual_encoder(checkpoint: Checkpoint) -> DualEncoder:
    """Build the model of a checkpoint, in evaluation mode, on the CPU.

    Raises:
        CheckpointError: a weight is missing, too many or of another shape; both shapes are named.
        ConfigError: the configuration names an unknown tower.
    """
    model = build_dual_encoder(checkpoint.config.model)
    model.image_tower.preprocessing = checkpoint.config.preprocessing
    load_tensors(model, checkpoint.tensors(), str(checkpoint.folder))
    return model.eval()


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
