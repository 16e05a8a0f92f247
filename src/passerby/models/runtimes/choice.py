"""Which engine runs a model on this machine, and why: explicit wishes first, then what was measured here.

Where nothing was measured yet (`passerby doctor` does it), a rule of thumb decides: with bf16 instructions OpenVINO was
several times as fast as ONNX Runtime in float32 (benchmarks/inference.py); elsewhere ONNX Runtime, which the base
install has.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from passerby.errors import CheckpointError, ConfigError, MissingExtraError, nearest
from passerby.models.runtimes import RUNTIMES

_EXTRA = {"torch": "train", "openvino": "export", "onnxruntime": "export"}
_FEATURES = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8")
_INT8 = frozenset({"avx_vnni", "avx512_vnni", "amx_int8"})


@dataclass(frozen=True, slots=True)
class Choice:
    """An engine, the device it runs on, and the reason in words."""

    runtime: str
    device: str
    why: str


def choose(
    runtime: str,
    device: str,
    forms: Collection[str],
    has_weights: bool,
    origin: str,
    measured: Mapping[str, float] | None = None,
) -> Choice:
    """Choose the engine.

    Args:
        runtime: "auto" or one of `RUNTIMES`.
        device: "auto", "cpu" or "cuda"; "cuda" needs torch.
        forms: in which forms the model has its exported towers: "onnx", "openvino", both or none.
        has_weights: whether it has what torch needs.
        origin: what the model is called in errors.
        measured: engine -> milliseconds on this machine, where it was measured.

    Raises:
        ConfigError: no such runtime or device, or the two do not go together.
        CheckpointError: the model lacks what the chosen runtime reads.
        MissingExtraError: the runtime is not installed.
    """
    _check_words(runtime, device)
    if runtime == "auto":
        return _automatic(device, forms, has_weights, origin, measured or {})
    if not installed(runtime):
        raise MissingExtraError(runtime, _EXTRA[runtime], f"the runtime {runtime!r}")
    if runtime == "torch":
        if not has_weights:
            raise CheckpointError(f"{origin} has exported towers only; the torch runtime needs its model.safetensors")
        return Choice("torch", device, "asked for")
    if device == "cuda":
        raise ConfigError(f"runtime {runtime!r} runs on the CPU here; for device 'cuda' use runtime 'torch'")
    if not reads(runtime, forms):
        raise CheckpointError(
            f"{origin} has no exported towers, which the runtime {runtime!r} reads; run: passerby export MODEL "
            "--to onnx"
        )
    return Choice(runtime, "cpu", "asked for")


def reads(runtime: str, forms: Collection[str]) -> bool:
    """Whether an engine of exported towers reads one of these forms: OpenVINO both, ONNX Runtime its own."""
    return "onnx" in forms or (runtime == "openvino" and "openvino" in forms)


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


def has_int8() -> bool:
    """Whether the processor multiplies int8 without overflowing half-way."""
    return bool(_INT8 & set(cpu_features()))


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


def _automatic(
    device: str, forms: Collection[str], has_weights: bool, origin: str, measured: Mapping[str, float]
) -> Choice:
    if forms and device != "cuda":
        usable = [name for name in ("onnxruntime", "openvino") if installed(name) and reads(name, forms)]
        timed = sorted((measured[name], name) for name in usable if name in measured)
        if timed:  # an engine that is missing here could not open the model when it was measured
            times = ", ".join(f"{name} {spent:.1f} ms" for spent, name in timed)
            return Choice(timed[0][1], "cpu", f"the fastest as measured here, 32 pictures on one thread: {times}")
        if "openvino" in usable and (has_bf16() or "onnxruntime" not in usable):
            return Choice("openvino", "cpu", "what this processor is expected to be best at; passerby doctor measures")
        if usable:
            return Choice("onnxruntime", "cpu", "it reads exported towers, and OpenVINO in bf16 cannot be used here")
    if not has_weights:
        raise CheckpointError(
            f"{origin} has exported towers only, and no engine that reads them fits device {device!r}"
            f"{_missing_engine(forms)}"
        )
    if not installed("torch"):
        hint = "" if forms else " (it has no exported towers; export it where torch is installed)"
        raise MissingExtraError("torch", "train", f"running {origin}{hint}")
    return Choice("torch", device, "the model has no exported towers" if not forms else "asked for by the device")


def _missing_engine(forms: Collection[str]) -> str:
    if "openvino" in forms and not installed("openvino"):
        return "; OpenVINO is not installed, run: pip install 'passerby[export]'"
    return ""
