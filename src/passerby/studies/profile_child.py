"""One model measured in a process of its own, so that its peak memory is its own and threads are as many as asked for.

The request comes as JSON on standard input, the profile goes as JSON to standard output. `profile` starts it.

Axes: B pictures or sentences, H rows, W columns, L token ids.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from passerby.errors import PasserbyError
from passerby.models.runtimes import Runtime

#: Batch sizes that are timed.
BATCHES = (1, 32)

_WARM_UP = 2


def main() -> None:
    """Read a request, measure, write the profile; an error of ours becomes an ``error`` in the answer."""
    request = json.loads(sys.stdin.read())
    try:
        answer: Mapping[str, Any] = measure(request)
    except PasserbyError as error:
        answer = {"error": str(error)}
    sys.stdout.write(json.dumps(answer))


def measure(request: Mapping[str, Any]) -> dict[str, Any]:
    """Everything about one model.

    Args:
        request: ``model``, ``runtime``, ``device``, ``threads``, ``tokens``, ``repeats`` (0: nothing is timed).

    Raises:
        PasserbyError: the model cannot be opened, or not in this runtime.
    """
    import torch

    torch.set_num_threads(request["threads"])
    from passerby.studies.profile_counts import COUNTER, count
    from passerby.studies.profile_subject import open_subject

    before = peak_memory()
    subject = open_subject(request["model"])
    model, size = subject.model, subject.model.preprocessing.image_size
    tokens = min(request["tokens"], subject.context_length)
    profile: dict[str, Any] = {
        "model": subject.name,
        "image_tower": _tower(model.image_tower),
        "text_tower": _tower(model.text_tower),
        "image_size": list(size),
        "tokens": tokens,
        "context_length": subject.context_length,
        "counter": COUNTER,
        **count(model, tokens, subject.context_length),
        "checkpoint_bytes": subject.bytes,
        "index_bytes": 4 * model.embedding_dim,
    }
    if request["repeats"]:
        runtime = _runtime(subject, request)
        profile |= {"runtime": runtime.name, "detail": runtime.detail, "threads": request["threads"]}
        rng = np.random.default_rng(0)
        for batch in BATCHES:
            pixels = rng.integers(0, 256, (batch, *size, 3), dtype=np.uint8)
            ids = np.ones((batch, tokens), dtype=np.int64)
            for kind, act, rows in (("image", runtime.images, pixels), ("text", runtime.texts, ids)):
                profile[f"{kind}_batch{batch}"] = latency(lambda a=act, r=rows: a(r), request["repeats"])
        profile["images_per_s"] = 1e3 * BATCHES[-1] / profile[f"image_batch{BATCHES[-1]}"]["p50_ms"]
        profile["texts_per_s"] = 1e3 * BATCHES[-1] / profile[f"text_batch{BATCHES[-1]}"]["p50_ms"]
        profile["peak_rss_bytes"] = peak_memory()
        profile["rss_bytes_before"] = before
        profile["peak_gpu_bytes"] = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None
    return profile


def latency(act: Callable[[], Any], repeats: int, clock: Callable[[], float] = time.perf_counter) -> dict[str, float]:
    """Milliseconds of a call after a warm-up: median and 95th percentile by the clock, median of processor time.

    Args:
        act: the call; it must return only when its result is there, as a copy to the CPU does.
        repeats: timed calls, 1 or more.
        clock: tells seconds.
    """
    for _ in range(_WARM_UP):
        act()
    wall, processor = [], []
    for _ in range(repeats):
        started, spent = clock(), time.process_time()
        act()
        wall.append(1e3 * (clock() - started))
        processor.append(1e3 * (time.process_time() - spent))
    return {
        "p50_ms": float(np.percentile(wall, 50)),
        "p95_ms": float(np.percentile(wall, 95)),
        "cpu_ms": float(np.percentile(processor, 50)),
    }


def peak_memory() -> int:
    """Most bytes that this process had in memory so far."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _runtime(subject: Any, request: Mapping[str, Any]) -> Runtime:
    if request["runtime"] == "torch":
        from passerby.models.runtimes.torch_engine import TorchRuntime

        return TorchRuntime(subject.model, request["device"])
    from passerby.models.runtimes.choice import choose

    forms = subject.checkpoint.forms if subject.checkpoint else ()
    choose(request["runtime"], request["device"], forms, True, subject.name)  # says what is missing
    if request["runtime"] == "openvino":
        from passerby.models.runtimes.openvino_engine import OpenVinoRuntime

        return OpenVinoRuntime(subject.checkpoint, request["threads"])
    from passerby.models.runtimes.onnxruntime_engine import OnnxRuntime

    return OnnxRuntime(subject.checkpoint, request["threads"])


def _tower(tower: Any) -> str:
    source = tower.options.get("source")
    return f"{tower.name}:{source}" if source else tower.name


if __name__ == "__main__":
    main()
