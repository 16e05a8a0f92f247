"""Times exported towers beside eager float32 PyTorch in the same run: one thread, batch 32 for pictures, 1 for a query.

Weights decide no time, so they are random. All ways are called in turn, round after round, in seconds of the process,
so that other work on the machine meets them alike; a figure is the median over the rounds, and "times as fast" the
median of the ratios within a round. What is compared is what is used: bytes in, unit vectors out. "eager" is the tower
as it was trained, padded to its full length for sentences.
Run: python benchmarks/export.py [NAME...] [--seconds 30] [--out FILE]  (some minutes; results of other names stay)
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from passerby.export import int8
from passerby.export.onnx import metadata, tower_graph, write_graph
from passerby.export.original import Original
from passerby.models.checkpoint import EXPORTED, Checkpoint, CheckpointConfig
from passerby.models.dual_encoder import DualEncoder, build_dual_encoder, unit_rows
from passerby.models.runtimes.choice import cpu_features, cpu_name, usable_cores
from passerby.models.runtimes.onnxruntime_engine import OnnxRuntime
from passerby.models.runtimes.openvino_engine import OpenVinoRuntime
from passerby.models.tokenizer import Tokenizer

RESULTS = Path(__file__).parent / "results" / "export.json"
BATCH, TOKENS = 32, 24
#: Name -> tower, size, and how many times as fast the best engine must be as eager float32.
IMAGES = {
    "mobilenetv3_large_100": ((224, 224), 6.0),
    "fastvit_t8": ((224, 224), 6.0),
    "resnet50": ((224, 224), 8.0),
    "vit_base_patch16_clip_224": ((384, 128), 4.0),
}
#: Name -> padded length, and how many times as fast.
TEXTS = {"clip": (77, 6.0), "distilbert": (64, 6.0)}


def in_turn(ways: dict[str, Callable[[], Any]], seconds: float) -> dict[str, list[float]]:
    """CPU milliseconds of each way in each round; rounds until the seconds are spent, at least three."""
    for act in ways.values():
        act()
    times: dict[str, list[float]] = {name: [] for name in ways}
    begun = time.process_time()
    while len(times["eager"]) < 3 or time.process_time() - begun < seconds:
        for name, act in ways.items():
            started = time.process_time()
            act()
            times[name].append(1e3 * (time.process_time() - started))
    return times


def model_of(image: str, size: tuple[int, int], text: str) -> DualEncoder:
    options = {"weights": "random"} if image != "stripe_conv" else {}
    section = {"image": {"name": image, "options": options}, "text": {"name": text}, "embedding_dim": 512}
    torch.manual_seed(0)
    return build_dual_encoder(
        section,
        image_size=size,
        vocabulary_size=800 if text == "conv" else None,
        context_length=TEXTS["clip"][0] if text == "conv" else None,
    ).eval()


def engines(model: DualEncoder, tower: str, longest: int, folder: Path) -> dict[str, Any]:
    """One tower exported, in both engines; a sentence's also in int8, which needs no pictures to be calibrated on."""
    config = CheckpointConfig(
        model=model.config, preprocessing=model.preprocessing, context_length=longest, name="benchmark", fingerprint="x"
    )
    tokenizer = Tokenizer.train(["a red coat"] * 3, vocabulary=60, context_length=longest)
    original = Original(folder, "benchmark", model, tokenizer, config, ours=True)
    names = EXPORTED["onnx"]
    path = folder / names[0 if tower == "image" else 1]
    write_graph(tower_graph(original, tower), metadata(original, tower), path)
    checkpoint = Checkpoint(folder, config, dict.fromkeys(names, ""))
    found: dict[str, Any] = {"onnxruntime": OnnxRuntime(checkpoint, 1), "openvino": OpenVinoRuntime(checkpoint, 1)}
    if tower == "text":
        small = Checkpoint(folder / "int8", config, dict.fromkeys(names, ""))
        small.folder.mkdir()
        write_text = int8._write_onnx  # what `passerby export --int8 --to onnx` does with this tower
        write_text(original, tower, None, small.folder / names[1], metadata(original, tower, "int8"))
        found["onnxruntime, int8"] = OnnxRuntime(small, 1)
    return found


def pictures(name: str, seconds: float) -> dict[str, Any]:
    size, goal = IMAGES[name]
    model = model_of(name, size, "conv")
    pixels = np.random.default_rng(0).integers(0, 256, (BATCH, *size, 3), dtype=np.uint8)
    mean, std = (torch.tensor(part).view(1, 3, 1, 1) for part in (model.preprocessing.mean, model.preprocessing.std))

    @torch.inference_mode()
    def eager(tower) -> np.ndarray:
        images = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - mean) / std
        return unit_rows(model.image_projection(tower(images))).numpy()

    ways: dict[str, Callable[[], Any]] = {"eager": lambda: eager(model.image_tower)}
    fused = model.image_tower.fused()
    if fused is not model.image_tower:
        ways["eager, branches merged"] = lambda: eager(fused)
    with tempfile.TemporaryDirectory() as folder:
        exported = engines(model, "image", 77, Path(folder))
        ways |= {engine: (lambda runtime=runtime: runtime.images(pixels)) for engine, runtime in exported.items()}
        times = in_turn(ways, seconds)
        cosine = {engine: lowest_cosine(ways[engine](), eager(model.image_tower)) for engine in exported}
    return {"what": f"{BATCH} pictures of {size[0]}x{size[1]}", **judged(times, goal), "cosine": cosine}


def sentences(name: str, seconds: float) -> dict[str, Any]:
    longest, goal = TEXTS[name]
    model = model_of("stripe_conv", (32, 16), name)
    rng = np.random.default_rng(0)
    ids = np.zeros((1, longest), dtype=np.int64)
    ids[0, :TOKENS] = rng.integers(1, 20_000, TOKENS)
    ids[0, TOKENS - 1] = 30_000  # the highest id ends CLIP's sentence

    @torch.inference_mode()
    def eager(rows: np.ndarray) -> np.ndarray:
        return model.encode_texts(torch.from_numpy(rows)).numpy()

    cropped = np.ascontiguousarray(ids[:, :TOKENS])
    ways: dict[str, Callable[[], Any]] = {"eager": lambda: eager(ids), "eager, cropped": lambda: eager(cropped)}
    with tempfile.TemporaryDirectory() as folder:
        exported = engines(model, "text", longest, Path(folder))
        ways |= {engine: (lambda runtime=runtime: runtime.texts(cropped)) for engine, runtime in exported.items()}
        times = in_turn(ways, seconds)
        cosine = {engine: lowest_cosine(ways[engine](), eager(ids)) for engine in exported}
    difference = float(np.abs(eager(cropped) - eager(ids)).max())
    what = f"a query of {TOKENS} tokens beside one padded to {longest}"
    return {"what": what, **judged(times, goal), "cosine": cosine, "cropping_changes_at_most": difference}


def lowest_cosine(vectors: np.ndarray, reference: np.ndarray) -> float:
    """The smallest cosine of two rows."""
    return float(((vectors * reference).sum(axis=1) / np.linalg.norm(vectors, axis=1)).min())


def judged(times: dict[str, list[float]], goal: float) -> dict[str, Any]:
    medians = {name: statistics.median(spent) for name, spent in times.items()}
    best = min((name for name in times if not name.startswith("eager")), key=lambda engine: medians[engine])
    ratios = sorted(slow / fast for slow, fast in zip(times["eager"], times[best], strict=True))
    ratio = statistics.median(ratios)
    return {
        "cpu_ms": medians,
        "least_cpu_ms": {name: min(spent) for name, spent in times.items()},
        "rounds": len(ratios),
        "best": best,
        "times_as_fast": ratio,
        "middle_half": [ratios[len(ratios) // 4], ratios[(3 * len(ratios)) // 4]],
        "goal": goal,
        "reached": ratio >= goal,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=[*IMAGES, *TEXTS])
    parser.add_argument("--seconds", type=float, default=30.0, help="of the processor, for each name")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    record = json.loads(options.out.read_text(encoding="utf-8")) if options.out.is_file() else {}
    figures = record.get("figures", {})
    load = os.getloadavg()[0]
    for name in options.names:
        figures[name] = (pictures if name in IMAGES else sentences)(name, options.seconds)
        row = figures[name]
        verdict = f"{row['times_as_fast']:5.1f} x ({row['best']}; goal {row['goal']:g})"
        print(f"{name:26} {verdict}  {row['cpu_ms']}", flush=True)
        record = {
            "machine": {
                "cpu": cpu_name(),
                "cores": usable_cores(),
                "features": cpu_features(),
                "threads": 1,
                "load_at_start": load,
            },
            "python": platform.python_version(),
            "versions": {name: version(name) for name in ("torch", "timm", "onnxruntime", "openvino")},
            "figures": figures,
        }
        options.out.parent.mkdir(exist_ok=True)
        options.out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
