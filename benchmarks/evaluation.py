"""Times the evaluation beside what the field runs: a pure-Python loop, and a full sort of every row.

Three sizes with the label statistics of public sets and made-up features; every contender is given the same scores,
and its figures are compared with ours before its time is believed. Each of ours runs in a process of its own, so that
its peak memory can be told. Run: python benchmarks/evaluation.py  (a few minutes; --quick for seconds)

The pure-Python loop follows the public evaluators of person re-identification (for each query a list over the whole
gallery); it is timed on some queries and scaled to all, which its cost per query allows.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from passerby.metrics import (
    average_precision,
    hits_at,
    inverse_negative_penalty,
    mean_over_queries,
    rank_features,
    rank_scores,
    relevance_from_labels,
)

RESULTS = Path(__file__).parent / "results" / "evaluation.json"

#: name -> queries, gallery, people in both, unlabelled distractors in the gallery, cameras, dimensions.
SIZES = {
    "market": (3368, 15913, 750, 2798, 6, 512),
    "icfg-pedes": (19848, 19848, 1000, 0, 0, 512),
    "msmt17": (11659, 82161, 3060, 0, 15, 512),
    "quick": (500, 2000, 100, 200, 6, 64),
}


def make(name: str):
    """Features around one direction per person; noise so that mAP lands near that of a middling model."""
    queries, gallery, people, distractors, cameras, dim = SIZES[name]
    random = np.random.default_rng(0)
    labels = np.append(random.integers(people, size=gallery - distractors), np.full(distractors, -1))
    asked = random.integers(people, size=queries)
    directions = random.normal(size=(people + 1, dim)).astype(np.float32)
    noise = np.float32(2.6 * np.sqrt(dim / 512))

    def features(owner):
        vectors = directions[owner] + noise * random.standard_normal((len(owner), dim), dtype=np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    places = {}
    if cameras:
        places["query_cameras"] = random.integers(cameras, size=queries)
        places["gallery_cameras"] = random.integers(cameras, size=gallery)
    return features(asked), features(labels), asked, labels, places


def figures(groups):
    metrics = (hits_at(groups, 1), hits_at(groups, 5), hits_at(groups, 10), average_precision(groups))
    return [mean_over_queries(values) for values in (*metrics, inverse_negative_penalty(groups))]


def clocked(function):
    """(result, wall seconds, CPU seconds) of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = function()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def pure_python(scores, asked, labels, places, limit):
    """For each query, lists over the whole gallery: the shape of the public pure-Python evaluators."""
    order = np.argsort(-scores[:limit], axis=1)
    results = []
    for row in range(min(limit, len(asked))):
        ranked = order[row]
        if places:
            keep = [
                not (labels[g] == asked[row] and places["gallery_cameras"][g] == places["query_cameras"][row])
                for g in ranked
            ]
        else:
            keep = [True for _ in ranked]
        matches = [int(labels[g] == asked[row]) for g, kept in zip(ranked, keep, strict=True) if kept]
        if not any(matches):
            continue
        found, precisions, first, last = 0, [], None, 0
        for place, match in enumerate(matches):
            found += match
            if match:
                precisions.append(found / (place + 1))
                first = place if first is None else first
                last = place + 1
        results.append([first < 1, first < 5, first < 10, np.mean(precisions), found / last])
    return np.mean(results, axis=0).tolist()


def full_sort(scores, asked, labels, places):
    """Sort every row whole, then arithmetic on the (Q, G) matrix of matches, as vectorised evaluators do."""
    order = np.argsort(-scores, axis=1)
    matches = labels[order] == asked[:, None]
    if places:
        junk = matches & (places["gallery_cameras"][order] == places["query_cameras"][:, None])
        kept = ~junk
        matches &= kept
        rank = np.cumsum(kept, axis=1)
    else:
        rank = np.broadcast_to(np.arange(1, matches.shape[1] + 1), matches.shape)
    found = np.cumsum(matches, axis=1)
    total = found[:, -1]
    valid = total > 0
    precision = np.where(matches, found / np.maximum(rank, 1), 0).sum(axis=1)[valid] / total[valid]
    first = np.take_along_axis(rank, matches.argmax(axis=1)[:, None], axis=1)[valid, 0]
    last = np.where(matches, rank, 0).max(axis=1)[valid]
    return [
        *(float((first <= k).mean()) for k in (1, 5, 10)),
        float(precision.mean()),
        float((total[valid] / last).mean()),
    ]


def ours(name: str) -> dict:
    """Runs in its own process: features to figures, with peak memory beyond the features."""
    queries, gallery, asked, labels, places = make(name)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak that making the features reached (Linux)
    before = resident("VmRSS")

    def whole():
        return figures(rank_features(queries, gallery, relevance_from_labels(asked, labels, **places)))

    found, wall, cpu = clocked(whole)
    return {"figures": found, "wall_s": wall, "cpu_s": cpu, "extra_mb": round(resident("VmHWM") - before, 1)}


def resident(field: str) -> float:
    """Memory of this process in MiB: VmRSS now, VmHWM at its highest."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise LookupError(f"/proc/self/status has no {field}")


def in_a_process(name: str) -> dict:
    output = subprocess.run(
        [sys.executable, __file__, "--one", name], check=True, capture_output=True, text=True, env=os.environ
    )
    return json.loads(output.stdout)


def compare(name: str, loop_queries: int) -> dict:
    """Ours beside the loop and the full sort, on the same matrix of scores."""
    result = {"queries": SIZES[name][0], "gallery": SIZES[name][1], "from_features": in_a_process(name)}
    queries, gallery, asked, labels, places = make(name)
    scores = queries @ gallery.T
    relevance = relevance_from_labels(asked, labels, **places)
    found, wall, cpu = clocked(lambda: figures(rank_scores(scores, relevance)))
    result["from_scores"] = {"figures": found, "wall_s": wall, "cpu_s": cpu}
    step = max(1, len(asked) // 8)  # the full sort does not fit into memory at once at the larger sizes

    def sort_all():
        parts, weights = [], []
        for first in range(0, len(asked), step):
            part = slice(first, first + step)
            mine = {"query_cameras": places["query_cameras"][part], "gallery_cameras": places["gallery_cameras"]}
            parts.append(full_sort(scores[part], asked[part], labels, mine if places else {}))
            weights.append(len(asked[part]))
        return np.average(parts, axis=0, weights=weights).tolist()

    found_by_sort, wall, cpu = clocked(sort_all)
    result["full_sort"] = {"figures": found_by_sort, "wall_s": wall, "cpu_s": cpu}
    found_by_loop, wall, cpu = clocked(lambda: pure_python(scores, asked, labels, places, loop_queries))
    scale = len(asked) / min(loop_queries, len(asked))
    result["pure_python"] = {
        "figures_of_timed_queries": found_by_loop,
        "timed_queries": min(loop_queries, len(asked)),
        "wall_s": wall * scale,
        "cpu_s": cpu * scale,
    }
    result["ratio_cpu"] = {
        other: round(result[other]["cpu_s"] / result["from_scores"]["cpu_s"], 1)
        for other in ("full_sort", "pure_python")
    }
    result["largest_difference"] = float(np.abs(np.subtract(found, found_by_sort)).max())
    return result


def machine() -> dict:
    model = platform.processor()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "load_at_start": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tiny size, nothing written")
    parser.add_argument("--one", choices=SIZES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(ours(arguments.one)))
        return
    if arguments.quick:
        print(json.dumps(compare("quick", 50), indent=2))
        return
    report = {"machine": machine(), "market": compare("market", 60)}
    report["icfg-pedes"] = {"queries": 19848, "gallery": 19848, "from_features": in_a_process("icfg-pedes")}
    report["msmt17"] = {"queries": 11659, "gallery": 82161, "from_features": in_a_process("msmt17")}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
