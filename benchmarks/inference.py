"""Times a model's two towers on every engine, one thread, beside eager float32 PyTorch in the same run.

CPU time of the process, so that other work on the machine inflates the figures little; each is the median of several
repeats after a warm-up. Weights decide no time, so the model is made here with random ones unless a folder is named.
Run: python benchmarks/inference.py [MODEL]  (about half a minute)
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

import passerby
from passerby.models.runtimes.choice import cpu_features, cpu_name, installed, usable_cores

RESULTS = Path(__file__).parent / "results" / "inference.json"
SENTENCE = "a woman in a red coat with a black backpack and blue jeans, seen from behind"
REPEATS = 7


def make_model(folder: Path) -> Path:
    """A model of the shipped one's shape, exported."""
    from passerby.export.onnx import export_onnx
    from passerby.models.dual_encoder import build_dual_encoder
    from passerby.models.restore import save_dual_encoder
    from passerby.models.tokenizer import Tokenizer

    tokenizer = Tokenizer.train([SENTENCE] * 5, vocabulary=800, context_length=80)
    config = {"image": {"name": "stripe_conv"}, "text": {"name": "conv"}, "embedding_dim": 256}
    model = build_dual_encoder(config, image_size=(96, 48), vocabulary_size=800).eval()
    save_dual_encoder(model, tokenizer, folder, name="benchmark")
    export_onnx(folder)
    return folder


def milliseconds(act, calls: int) -> float:
    """Median CPU milliseconds of one call."""
    act()
    times = []
    for _ in range(REPEATS):
        started = time.process_time()
        for _ in range(calls):
            act()
        times.append((time.process_time() - started) / calls)
    return 1e3 * statistics.median(times)


def measure(model: str, runtime: str) -> dict[str, float]:
    retriever = passerby.load(model, runtime=runtime, device="cpu", threads=1)
    random = np.random.default_rng(0)
    size = retriever.preprocessing.image_size
    batches = {count: random.integers(0, 256, (count, *size, 3), dtype=np.uint8) for count in (1, 32)}
    pictures = list(random.integers(0, 256, (1024, *size, 3), dtype=np.uint8))
    tower = {
        count: milliseconds(lambda b=batch: retriever.runtime.images(b), 64 // count + 3)
        for count, batch in batches.items()
    }
    return {
        "image_batch1_ms": tower[1],
        "image_batch32_ms": tower[32],
        "images_per_s": 32e3 / tower[32],
        "retriever_images_per_s": 1024e3 / milliseconds(lambda: retriever.encode_images(pictures), 1),
        "text_query_ms": milliseconds(lambda: retriever.encode_texts([SENTENCE]), 50),
        "text_batch256_ms": milliseconds(lambda: retriever.encode_texts([SENTENCE] * 256), 2),
    }


def first_answer(model: str) -> float:
    """CPU seconds from starting Python to the first sentence's vector, in a process of its own."""
    code = f"import time, passerby\npasserby.load({model!r}).encode_texts(['a red coat'])\nprint(time.process_time())"
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    return float(output)


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        model = sys.argv[1] if len(sys.argv) > 1 else str(make_model(Path(temporary) / "model"))
        figures = {name: measure(model, name) for name in ("torch", "onnxruntime", "openvino") if installed(name)}
        start = statistics.median(first_answer(model) for _ in range(3))
    record = {
        "machine": {"cpu": cpu_name(), "cores": usable_cores(), "features": cpu_features(), "threads": 1},
        "python": platform.python_version(),
        "versions": {name: version(name) for name in figures},
        "model": sys.argv[1] if len(sys.argv) > 1 else "stripe_conv 96x48 + conv, random weights",
        "figures": figures,
        "seconds_to_first_answer": start,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(f"{'engine':12} {'image b1':>9} {'image b32':>10} {'img/s':>7} {'query':>8}")
    for name, row in figures.items():
        print(
            f"{name:12} {row['image_batch1_ms']:6.2f} ms {row['image_batch32_ms']:7.2f} ms {row['images_per_s']:7.0f} "
            f"{row['text_query_ms']:5.2f} ms"
        )
    print(f"first answer after {start:.2f} CPU-s, process start included")


if __name__ == "__main__":
    main()
