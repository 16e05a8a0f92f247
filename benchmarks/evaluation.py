"""Times the evaluation beside what the field runs: torchreid's evaluators, IRRA's, and naive ones of our own.

Three sizes with the label statistics of public sets and made-up features; every contender is given the same scores
(or the same features), and its figures are compared with ours before its time is believed. Ours from features runs in
a process of its own, so that its peak memory can be told. Times are medians; wall and processor time are both told,
because the machine may be shared. Run: python benchmarks/evaluation.py [--peers FOLDER]  (minutes; --quick: seconds)
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from evaluation_rivals import full_sort, irra, pure_python, torchreid
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

#: name -> queries, gallery, people, pictures of strangers in the gallery, cameras, dimensions.
SIZES = {
    "market": (3368, 15913, 750, 2798, 6, 512),
    "icfg-pedes": (19848, 19848, 1000, 0, 0, 512),
    "msmt17": (11659, 82161, 3060, 0, 15, 512),
    "quick": (500, 2000, 110, 200, 6, 64),
}
#: Queries that a pure-Python evaluator is timed on; its cost is the same for each.
SLOW = 60


def make(name: str):
    """Features around one direction per person; noise so that mAP lands near that of a middling model.

    Without cameras each gallery picture has one caption that asks. With cameras a person is seen by some of them, one
    picture by each of these asks, and pictures per person are spread as widely as in Market-1501 (1 to about 70).
    """
    queries, gallery, people, strangers, cameras, dim = SIZES[name]
    random = np.random.default_rng(0)
    share = random.gamma(2.2, size=people)
    # Two pictures of each person, the others spread by share: sums are exact, and everybody can be found.
    owners = np.append(
        np.repeat(np.arange(people), 2),
        random.choice(people, size=gallery - strangers - 2 * people, p=share / share.sum()),
    )
    labels = np.append(owners, np.full(strangers, people))  # one more label, that nobody asks for
    places = {}
    if cameras:
        seen = np.argsort(random.random((people, cameras)), axis=1)  # in which order cameras see a person
        count = 2 + random.multinomial(queries - 2 * people, np.full(people, 1 / people))
        asked = np.repeat(np.arange(people), count)
        turn = np.arange(queries) - np.repeat(np.cumsum(count) - count, count)
        places["query_cameras"] = seen[asked, turn % cameras]
        views = np.minimum(count, cameras)[owners]
        by = np.append(np.arange(2 * people) % 2, (random.random(len(owners) - 2 * people) * views[2 * people :]))
        places["gallery_cameras"] = np.append(seen[owners, by.astype(int)], random.integers(cameras, size=strangers))
    else:
        asked = owners.copy()
    directions = random.normal(size=(people + 1, dim)).astype(np.float32)
    noise = np.float32(2.6 * np.sqrt(dim / 512))

    def features(owner, alone=None):
        vectors = directions[owner] + noise * random.standard_normal((len(owner), dim), dtype=np.float32)
        if alone is not None:
            vectors[owner == alone] = noise * random.standard_normal(((owner == alone).sum(), dim), dtype=np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    return features(asked), features(labels, people), asked, labels, places


def figures(groups):
    """R@1, R@5, R@10, mAP and mINP."""
    metrics = (hits_at(groups, 1), hits_at(groups, 5), hits_at(groups, 10), average_precision(groups))
    return [mean_over_queries(values) for values in (*metrics, inverse_negative_penalty(groups))]


def clocked(function, rounds: int = 1) -> dict:
    """What a call returns, and the medians of its wall and processor seconds."""
    times = []
    for _ in range(rounds):
        wall, cpu = time.perf_counter(), time.process_time()
        found = function()
        times.append((time.perf_counter() - wall, time.process_time() - cpu))
    return {
        "figures": found,
        "wall_s": statistics.median(wall for wall, _ in times),
        "cpu_s": statistics.median(cpu for _, cpu in times),
    }


def ours(name: str, rounds: int) -> dict:
    """Runs in its own process: features to figures, with peak memory beyond the features."""
    queries, gallery, asked, labels, places = make(name)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak that making the features reached (Linux)
    before = resident("VmRSS")
    result = clocked(
        lambda: figures(rank_features(queries, gallery, relevance_from_labels(asked, labels, **places))), rounds
    )
    return result | {"extra_mb": round(resident("VmHWM") - before, 1)}


def resident(field: str) -> float:
    """Memory of this process in MiB: VmRSS now, VmHWM at its highest."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise LookupError(f"/proc/self/status has no {field}")


def from_features(name: str, rounds: int) -> dict:
    """Ours in a process of its own, with what it worked on."""
    command = [sys.executable, __file__, "--one", name, "--rounds", str(rounds)]
    output = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
    _, _, asked, labels, places = make(name)
    positives = np.diff(relevance_from_labels(asked, labels, **places).positive_start)
    return {
        "queries": len(asked),
        "gallery": len(labels),
        "positives": [int(positives.min()), round(float(positives.mean()), 1), int(positives.max())],
        "from_features": json.loads(output.stdout),
    }


def beside_scores(name: str, peers: Path | None, rounds: int) -> dict:
    """Ours beside every rival that takes scores, on the same matrix."""
    queries, gallery, asked, labels, places = make(name)
    scores = queries @ gallery.T

    def mine():
        return figures(rank_scores(scores, relevance_from_labels(asked, labels, **places)))

    result = {"from_scores": clocked(mine, rounds), "rivals": {}}
    rivals = {"full sort": full_sort, "pure Python": pure_python, **torchreid(peers)}
    for rival, evaluate in rivals.items():
        slow = rival.endswith("pure Python")
        part = (
            np.random.default_rng(1).choice(len(asked), min(SLOW, len(asked)), replace=False) if slow else slice(None)
        )
        seen = {**places, "query_cameras": places["query_cameras"][part]}
        timed = clocked(lambda: evaluate(scores[part], asked[part], labels, seen), 1 if slow else 3)  # noqa: B023
        result["rivals"][rival] = finished(timed, result["from_scores"], len(asked) / SLOW if slow else 1)
        if slow:
            check = relevance_from_labels(asked[part], labels, **seen)
            expected = figures(rank_scores(scores[part], check))[:4]
            result["rivals"][rival] |= {"largest_difference": difference(timed, expected), "timed_queries": SLOW}
    return result


def beside_features(name: str, peers: Path | None, ours_there: dict) -> dict:
    """IRRA's evaluation, from the same features; full sort in its place where IRRA is not there."""
    queries, gallery, asked, labels, _ = make(name)
    evaluate = irra(peers)
    if evaluate is not None:
        return {"IRRA": finished(clocked(lambda: evaluate(queries, gallery, asked, labels)), ours_there, 1)}

    def sorting():
        parts = [
            full_sort(queries[first : first + 2481] @ gallery.T, asked[first : first + 2481], labels, {})
            for first in range(0, len(asked), 2481)
        ]
        return np.mean(parts, axis=0).tolist()  # eight equal parts

    return {"full sort": finished(clocked(sorting), ours_there, 1)}


def finished(timed: dict, own: dict, scale: float) -> dict:
    """A rival's times, scaled to all queries, as multiples of ours, and how far its figures are from ours."""
    return {
        **timed,
        "wall_s": timed["wall_s"] * scale,
        "cpu_s": timed["cpu_s"] * scale,
        "ratio_wall": round(timed["wall_s"] * scale / own["wall_s"], 1),
        "ratio_cpu": round(timed["cpu_s"] * scale / own["cpu_s"], 1),
        "largest_difference": difference(timed, own["figures"][:4]),
    }


def difference(timed: dict, expected: list[float]) -> float:
    return float(np.abs(np.subtract(timed["figures"], expected)).max())


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
    parser.add_argument("--peers", type=Path, help="folder with checkouts of the peers")
    parser.add_argument("--one", choices=SIZES, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=5, help="of ours; the median counts")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(ours(given.one, given.rounds)))
        return
    if given.quick:
        report = from_features("quick", 1) | beside_scores("quick", given.peers, 1)
    else:
        report = {"machine": machine()}
        report["market"] = from_features("market", given.rounds) | beside_scores("market", given.peers, given.rounds)
        report["icfg-pedes"] = from_features("icfg-pedes", 3)
        own = report["icfg-pedes"]["from_features"]
        report["icfg-pedes"]["rivals"] = beside_features("icfg-pedes", given.peers, own)
        report["msmt17"] = from_features("msmt17", 3)
        report["machine"]["load_at_end"] = round(os.getloadavg()[0], 1)
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
