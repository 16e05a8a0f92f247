"""What the engines of exported towers share: which file is which tower, and a look at its metadata before its use.

The exporter writes the checkpoint's fingerprint into each file, so towers of two models cannot be mixed. Two forms lie
in two folders: ``onnx/`` for ONNX Runtime and OpenVINO, ``openvino/`` for OpenVINO alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from passerby.errors import CheckpointError
from passerby.models.checkpoint import EXPORTED, Checkpoint
from passerby.models.runtimes.choice import cpu_features, has_int8

#: Metadata keys of an exported tower.
META_FORMAT, META_TOWER, META_FINGERPRINT = "passerby_format", "passerby_tower", "passerby_fingerprint"
META_PREPROCESSING, META_CONTEXT = "passerby_preprocessing", "passerby_context_length"
META_PRECISION = "passerby_precision"
#: Raised when the exported graphs change in a way that an older passerby cannot run.
EXPORT_VERSION = 1
#: Names of the graphs' inputs and of their one output.
PIXELS, IDS, VECTORS = "pixels", "ids", "vectors"


def tower_file(checkpoint: Checkpoint, tower: str, form: str = "onnx") -> Path:
    """Path of the exported "image" or "text" tower in one of the forms of `EXPORTED`."""
    return checkpoint.folder / EXPORTED[form][0 if tower == "image" else 1]


def check_metadata(metadata: Mapping[str, str], tower: str, path: Path, fingerprint: str) -> None:
    """Refuse an exported file that is another tower, too new or from another model.

    Raises:
        CheckpointError: with what was found and what was expected.
    """
    if metadata.get(META_TOWER) != tower:
        raise CheckpointError(f"{path} is {metadata.get(META_TOWER, 'no')!r} tower of passerby; expected {tower!r}")
    version = metadata.get(META_FORMAT, "")
    if not version.isdecimal() or int(version) > EXPORT_VERSION:
        raise CheckpointError(
            f"{path} has export version {version or 'none'}, this passerby reads up to {EXPORT_VERSION}; upgrade "
            "passerby or export the model again"
        )
    if metadata.get(META_FINGERPRINT) != fingerprint:
        raise CheckpointError(
            f"{path} was exported from the model {metadata.get(META_FINGERPRINT, '')[:12]}, its folder holds "
            f"{fingerprint[:12]}; export the model again: passerby export MODEL --to onnx"
        )
    if metadata.get(META_PRECISION) == "int8" and cpu_features() and not has_int8():
        raise CheckpointError(
            f"{path} is an int8 model, and this processor has no int8 instructions (AVX-512 VNNI, AVX-VNNI or AMX), "
            "without which sums overflow and vectors are wrong; use the float export of the same model"
        )


def unreadable(path: Path, error: Exception) -> CheckpointError:
    """The error for a file that an engine refuses."""
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return CheckpointError(
        f"{path} cannot be opened: {reason}; export the model again: passerby export MODEL --to {_form(path)}"
    )


def _form(path: Path) -> str:
    return "openvino" if path.suffix == ".xml" else "onnx"
