"""Times k-reciprocal re-ranking beside a dense version of our own and, where it is given, the public numpy version.

Sizes of public sets with made-up features. Every contender runs in a process of its own, writes the distances it
found to a file, and its time is believed only beside its difference from ours. Ours starts from features; the dense
ones are given the matrix of distances, whose making is not counted. Memory is what the process had at its highest
beyond what it held with its input loaded.

Run: python benchmarks/reranking.py  (minutes; --quick for seconds). --peer FILE times a `re_ranking(q_g_dist, q_q_dist,
g_g_dist, k1, k2, lambda_value)` too, as in python-version/re_ranking_ranklist.py of zhunzhong07/person-re-ranking; at
the size of Market it needs minutes and some 10 GB. --msmt17 adds that size, ours alone.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from evaluation import clocked, figures, machine, make, resident
from passerby.metrics import rank_blocks, rank_features, relevance_from_labels
from passerby.metrics.k_reciprocal import k_reciprocal_blocks

RESULTS = Path(__file__).parent / "results" / "reranking.json"


def dense(queries, gallery, k1=20, k2=6, original=0.3):
    """The algorithm written down over whole matrices: what a straightforward program does."""
    pool = np.concatenate([queries, gallery])
    count = len(pool)
    distance = np.maximum(2 - 2 * (pool @ pool.T), 0)
    distance /= distance.max(axis=1, keepdims=True)
    order = np.argsort(distance, axis=1, kind="stable")

    def mutual(i, k):
        near = order[i, : k + 1]
        return near[[i in order[j, : k + 1] for j in near]]

    weight = np.zeros((count, count), np.float32)
    for i in range(count):
        members = mutual(i, k1)
        widened = set(members.tolist())
        for member in members:
            half = mutual(member, round(k1 / 2))
            if np.isin(half, members).sum() * 3 > 2 * len(half):
                widened |= set(half.tolist())
        columns = sorted(widened)
        row = np.exp(-distance[i, columns])
        weight[i, columns] = row / row.sum()
    averaged = np.stack([weight[order[i, :k2]].mean(axis=0) for i in range(count)])
    users = [np.flatnonzero(averaged[:, column]) for column in range(count)]
    result = np.empty((len(queries), len(gallery)), np.float32)
    for q in range(len(queries)):
        shared = np.zeros(count, np.float32)
        for column in np.flatnonzero(averaged[q]):
            who = users[column]
            shared[who] += np.minimum(averaged[q, column], averaged[who, column])
        jaccard = 1 - shared / (2 - shared)
        result[q] = (original * distance[q] + (1 - original) * jaccard)[len(queries) :]
    return result


def peer(module_file, queries, gallery):
    """The public version and what it takes: Euclidean distances, which it squares itself.

    They are given in double precision: it rounds them to single itself, and once is enough, as neighbours that tie
    within rounding change places and with them everything that follows.
    """
    spec = importlib.util.spec_from_file_location("peer", module_file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def euclid(left, right):
        left, right = left.astype(np.float64), right.astype(np.float64)
        matrix = left @ right.T
        np.sqrt(np.maximum(2 - 2 * matrix, 0, out=matrix), out=matrix)
        return matrix

    matrices = euclid(queries, gallery), euclid(queries, queries), euclid(gallery, gallery)
    return lambda: module.re_ranking(*matrices, k1=20, k2=6, lambda_value=0.3)


def contender(name, folder, module_file):
    """Runs in its own process: load the features, re-rank, write the distances."""
    queries, gallery = np.load(folder / "queries.npy"), np.load(folder / "gallery.npy")
    if name == "dense":

        def run():
            dense(queries, gallery).tofile(folder / "dense.bin")

    elif name == "peer":
        matrices_first = peer(module_file, queries, gallery)

        def run():
            matrices_first().astype(np.float32).tofile(folder / "peer.bin")

    else:

        def run():
            with (folder / f"{name}.bin").open("wb") as file:
                for block in k_reciprocal_blocks(queries, gallery, transductive=name == "transductive"):
                    block.tofile(file)

    before = resident("VmRSS")
    took = clocked(run)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"wall_s": round(took["wall_s"], 2), "cpu_s": round(took["cpu_s"], 2), "extra_mb": round(peak - before, 1)}


def in_a_process(name, folder, module_file=None):
    command = [sys.executable, __file__, "--one", name, "--folder", str(folder)]
    command += ["--peer", module_file] if module_file else []
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ)
    return json.loads(output.stdout)


def differences(folder, other, shape):
    """How far the distances of another contender are from ours."""
    ours, theirs = (np.memmap(folder / f"{name}.bin", np.float32, "r", shape=shape) for name in ("transductive", other))
    largest, beyond = 0.0, 0
    for first in range(0, shape[0], 256):
        gap = np.abs(ours[first : first + 256] - theirs[first : first + 256])
        largest, beyond = max(largest, float(gap.max())), beyond + int((gap > 1e-5).sum())
    return {"largest_difference": largest, "share_beyond_1e-5": beyond / (shape[0] * shape[1])}


def compare(size, others, module_file=None, every=1):
    """Both modes of ours, and the others, on the same features."""
    queries, gallery, asked, labels, places = make(size)
    queries, asked, gallery, labels = queries[::every], asked[::every], gallery[::every], labels[::every]
    places = {key: value[::every] for key, value in places.items()}
    shape = (len(queries), len(gallery))
    result = {"queries": shape[0], "pictures": shape[1], "dimensions": queries.shape[1]}
    relevance = relevance_from_labels(asked, labels, **places)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "queries.npy", queries)
        np.save(folder / "gallery.npy", gallery)
        result["map"] = {"dot product": 100 * figures(rank_features(queries, gallery, relevance))[3]}
        for mode in ("transductive", "gallery-only"):
            result[mode] = in_a_process(mode, folder)
            found = np.memmap(folder / f"{mode}.bin", np.float32, "r", shape=shape)
            blocks = (-found[first : first + 256] for first in range(0, shape[0], 256))
            result["map"][mode] = 100 * figures(rank_blocks(blocks, relevance))[3]
        for other in others:
            result[other] = in_a_process(other, folder, module_file) | differences(folder, other, shape)
            result[other]["times_as_long_cpu"] = round(result[other]["cpu_s"] / result["transductive"]["cpu_s"], 1)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny size, nothing written")
    parser.add_argument("--peer", metavar="FILE", help="the public version, a Python file")
    parser.add_argument("--msmt17", action="store_true", help="also the size of MSMT17, ours alone")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(contender(arguments.one, arguments.folder, arguments.peer)))
        return
    others = ["dense", *(["peer"] if arguments.peer else [])]
    if arguments.quick:
        print(json.dumps(compare("quick", others, arguments.peer), indent=2))
        return
    report = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    report["machine"] = machine()
    report["a third of market"] = compare("market", others, arguments.peer, every=3)
    report["market"] = compare("market", others[1:], arguments.peer)
    if arguments.msmt17:
        report["msmt17"] = compare("msmt17", [])
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
