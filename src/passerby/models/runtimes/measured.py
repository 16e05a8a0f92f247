"""How fast each engine is on this machine, measured once and remembered, so that the choice rests on a measurement.

`passerby doctor` measures the shipped model and `passerby export` the exported one. A record holds for one processor
and one set of versions; on another it is not found, and the rule of thumb of `choice` decides.

Axes: B pictures, H rows, W columns.
"""

from __future__ import annotations

import json
import logging
import os
import statistics
import time
from collections.abc import Callable, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path

import numpy as np

from passerby.data.cache import cache_root
from passerby.errors import CheckpointError
from passerby.models.checkpoint import EXPORTED, Checkpoint
from passerby.models.runtimes import Runtime
from passerby.models.runtimes.choice import cpu_features, cpu_name, installed

_LOGGER = logging.getLogger(__name__)
#: The record of engines in general, where a model has none of its own.
GENERAL = "general"

_BATCH, _REPEATS = 32, 5
_FILE = "engines.json"
_READERS = {"onnx": ("onnxruntime", "openvino"), "openvino": ("openvino",)}


def measure(checkpoint: Checkpoint, clock: Callable[[], float] = time.process_time) -> dict[str, float]:
    """Milliseconds of processor time for 32 pictures on one thread, the median of five, of each installed engine.

    Args:
        checkpoint: a model with exported towers.
        clock: tells seconds; processor time, so that other work on the machine counts little.

    Raises:
        CheckpointError: no engine can open the towers.
    """
    size = checkpoint.config.pictures.image_size
    pixels = np.random.default_rng(0).integers(0, 256, (_BATCH, *size, 3), dtype=np.uint8)  # (B, H, W, 3)
    found: dict[str, float] = {}
    refused: CheckpointError | None = None
    for name in engines_for(checkpoint):
        engine = _open(name, checkpoint)
        try:
            engine.images(pixels)
        except CheckpointError as error:  # not every engine reads every int8 graph
            refused = error
            continue
        seconds = []
        for _ in range(_REPEATS):
            started = clock()
            engine.images(pixels)
            seconds.append(clock() - started)
        found[name] = 1e3 * statistics.median(seconds)
    if refused is not None and not found:
        raise refused
    return found


def engines_for(checkpoint: Checkpoint) -> list[str]:
    """The installed engines that read the exported towers of a model, sorted."""
    names = {name for form in checkpoint.forms if form in EXPORTED for name in _READERS[form]}
    return sorted(name for name in names if installed(name))


def remember(model: str, times: Mapping[str, float]) -> None:
    """Keep what `measure` found for this machine.

    Args:
        model: a fingerprint, or `GENERAL`.
        times: engine -> milliseconds.
    """
    path = _path()
    kept = {**_records(), f"{_machine()} {model}": dict(times)}
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(kept, indent=1), encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        _LOGGER.warning("%s could not be written (%s); engines are chosen without a measurement", path, error)


def remembered(model: str) -> dict[str, float]:
    """Engine -> milliseconds, of this model or of engines in general; empty where nothing was measured here.

    Args:
        model: a fingerprint, or `GENERAL`.
    """
    records = _records()
    if not records:  # what this machine is called is then not worth the milliseconds of finding out
        return {}
    return records.get(f"{_machine()} {model}") or records.get(f"{_machine()} {GENERAL}") or {}


def _open(name: str, checkpoint: Checkpoint) -> Runtime:
    if name == "openvino":
        from passerby.models.runtimes.openvino_engine import OpenVinoRuntime

        return OpenVinoRuntime(checkpoint, 1)
    from passerby.models.runtimes.onnxruntime_engine import OnnxRuntime

    return OnnxRuntime(checkpoint, 1)


def _records() -> dict[str, dict[str, float]]:
    path = _path()
    if not path.is_file():
        return {}
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        return {
            str(key): {str(name): float(spent) for name, spent in times.items() if spent > 0}
            for key, times in tree.items()
        }
    except (OSError, ValueError, AttributeError, TypeError) as error:
        _LOGGER.warning("%s is damaged (%s); run passerby doctor to measure the engines again", path, error)
        return {}


def _path() -> Path:
    return cache_root() / _FILE


@cache
def _machine() -> str:
    """Processor and versions, so that a home folder on two machines holds two records."""
    versions = [f"{name}-{metadata.version(name)}" for name in ("onnxruntime", "openvino") if installed(name)]
    return " ".join([cpu_name(), *cpu_features(), *versions])
