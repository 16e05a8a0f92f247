"""Which engine runs a model on this machine, and why: explicit wishes first, then what the processor is best at.

Where the processor has bf16 matrix instructions, OpenVINO in bf16 was several times as fast as ONNX Runtime in float32
(benchmarks/inference.py). Elsewhere ONNX Runtime is taken, which the base install has; there the two were not compared.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from passerby.errors import CheckpointError, ConfigError, MissingExtraError, nearest
from passerby.models.runtimes import RUNTIMES

_EXTRA = {"torch": "train", "openvino": "export", "onnxruntime": "export"}
_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8")


@dataclass(frozen=True, slots=True)
class Choice:
    """An engine, the device it runs on, and the reason in words."""

    runtime: str
    device: str
    why: str


def choose(runtime: str, device: str, exported: bool, has_weights: bool, origin: str) -> Choice:
    """Choose the engine.

    Args:
        runtime: "auto" or one of `RUNTIMES`.
        device: "auto", "cpu" or "cuda"; "cuda" needs torch.
        exported: whether the model has its ONNX towers.
        has_weights: whether it has what torch needs.
        origin: what the model is called in errors.

    Raises:
        ConfigError: no such runtime or device, or the two do not go together.
        CheckpointError: the model lacks what the chosen runtime reads.
        MissingExtraError: the runtime is not installed.
    """
    _check_words(runtime, device)
    if runtime == "auto":
        return _automatic(device, exported, has_weights, origin)
    if not installed(runtime):
        raise MissingExtraError(runtime, _EXTRA[runtime], f"the runtime {runtime!r}")
    if runtime == "torch":
        if not has_weights:
            raise CheckpointError(f"{origin} has exported towers only; the torch runtime needs its model.safetensors")
        return Choice("torch", device, "asked for")
    if device == "cuda":
        raise ConfigError(f"runtime {runtime!r} runs on the CPU here; for device 'cuda' use runtime 'torch'")
    if not exported:
        raise CheckpointError(
            f"{origin} has no exported towers, which the runtime {runtime!r} reads; run: passerby export MODEL "
            "--to onnx"
        )
    return Choice(runtime, "cpu", "asked for")


def installed(package: str) -> bool:
    """Whether a package can be imported, without importing it."""
    return find_spec(package) is not None


@cache
def cpu_features() -> tuple[str, ...]:
    """The vector and matrix instructions of this processor that matter here; empty where they cannot be read."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ()
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "").split()
    return tuple(feature for feature in _FEATURES if feature in flags)


def has_bf16() -> bool:
    """Whether the processor multiplies bf16 in hardware."""
    return bool({"amx_bf16", "avx512_bf16"} & set(cpu_features()))


def cpu_name() -> str:
    """The processor's name, for reports."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def usable_cores() -> int:
    """Cores that this process may use, which in a container can be fewer than the machine has."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows have no such call
        return os.cpu_count() or 1


def _check_words(runtime: str, device: str) -> None:
    if runtime not in ("auto", *RUNTIMES):
        known = ("auto", *RUNTIMES)
        raise ConfigError(f"runtime {runtime!r}; expected one of {', '.join(known)}.{nearest(runtime, known)}")
    if device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"device {device!r}; expected auto, cpu or cuda.{nearest(device, ('auto', 'cpu', 'cuda'))}")


def _automatic(device: str, exported: bool, has_weights: bool, origin: str) -> Choice:
    if exported and device != "cuda":
        if installed("openvino") and has_bf16():
            return Choice("openvino", "cpu", "OpenVINO is installed and the processor has bf16 instructions")
        if installed("onnxruntime"):
            return Choice("onnxruntime", "cpu", "it reads exported towers, and OpenVINO in bf16 cannot be used here")
    if not has_weights:
        raise CheckpointError(
            f"{origin} has exported towers only, and no engine that reads them fits device {device!r}"
        )
    if not installed("torch"):
        hint = "" if exported else " (it has no exported towers; export it where torch is installed)"
        raise MissingExtraError("torch", "train", f"running {origin}{hint}")
    return Choice("torch", device, "the model has no exported towers" if not exported else "asked for by the device")
