"""Times searching a large gallery beside exact search, kills writers at random, and damages files at random.

Vectors are drawn, as wide as the shipped model's: 256 dimensions, 20,000 people inside 400 looks, camera offsets and
noise; queries are fresh views. Filters leave one camera in ten, and one hundredth of the time. Milliseconds are wall
time of one query, so read the ratio beside them too: numpy's exact search is timed in the same process, alternately.
`cpu_ms` is the processor time of one query over all threads, which other work on the machine changes little. Memory is
that of a fresh process which opens the gallery and searches it; files are mapped, so the kernel may take them back.
Run: python benchmarks/gallery.py [--rows 100000] [--engine edge] [--graph] [--kills 200] [--mutations 10000] [--bands]
Each part that is asked for replaces its own figures in results/gallery.json; without any, rows 100000.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import json
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

from passerby.models.runtimes.choice import cpu_features, cpu_name

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "gallery")]
RESULTS = Path(__file__).parent / "results" / "gallery.json"
DIM, QUERIES, K = 256, 200, 10
SENTENCE = "a woman in a red coat with a black backpack and blue jeans, seen from behind"


def crops(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """(rows, D) half-precision unit vectors and (QUERIES, D) fresh views of people among them."""
    random_ = np.random.default_rng(0)
    people = 20_000
    looks = random_.normal(size=(400, DIM)).astype(np.float32)
    centres = looks[random_.integers(0, 400, people)] + 0.8 * random_.normal(size=(people, DIM)).astype(np.float32)
    cameras = 0.3 * random_.normal(size=(10, DIM)).astype(np.float32)
    found = np.empty((rows, DIM), np.float16)
    for start in range(0, rows, 10_000):
        at = np.arange(start, min(rows, start + 10_000))
        part = centres[at % people] + cameras[at % 10] + 0.7 * random_.normal(size=(len(at), DIM)).astype(np.float32)
        found[at] = part / np.linalg.norm(part, axis=1, keepdims=True)
    who = random_.integers(0, people, QUERIES)
    asked = centres[who] + cameras[who % 10] + 0.7 * random_.normal(size=(QUERIES, DIM)).astype(np.float32)
    return found, asked / np.linalg.norm(asked, axis=1, keepdims=True)


class NoThumbnails:
    """Stands in for the files that this benchmark is not about."""

    def write(self, thumbnails):
        """Read them and keep none."""
        for _ in thumbnails:
            pass

    def delete(self, ids):
        """Nothing is there."""


class Shipped:
    """The shipped model under the fingerprint of the drawn gallery."""

    name, fingerprint, dim = "street", "00" * 32, DIM

    def __init__(self):
        import passerby

        self._model = passerby.load("street", threads=1)
        self.preprocessing = self._model.preprocessing
        self.tokenize = self._model.tokenize
        self.encode_texts = self._model.encode_texts


def searching(rows: int, engine: str, graph: bool, folder: Path) -> dict:
    """Build a gallery and time its answers beside exact ones."""
    from passerby.gallery import Filter, Gallery
    from passerby.gallery.local import LocalStore
    from passerby.gallery.store import Address

    vectors, queries = crops(rows)
    names = [f"{number + 1:032x}" for number in range(rows)]
    report = {"rows": rows, "engine": engine, "dim": DIM, "graph": graph} | filled(
        folder, engine, graph, vectors, names
    )
    report |= opened_afresh(folder / "gallery", queries)
    store = LocalStore.open(Address(None, folder / "gallery"))
    report["disk_mb"], report["searches"] = store.size / 1e6, {}
    camera = np.arange(rows) % 10 == 3
    window = (np.arange(rows) * 7919 % rows) < rows // 100
    filters = {
        "all": (None, np.ones(rows, bool)),
        "one camera in ten": (Filter.of(cameras=["c3"]), camera),
        "one hundredth of the time": (Filter.of(since=0, until=rows // 100), window),
    }
    single = vectors.astype(np.float32)
    for name, (where, allowed) in filters.items():
        report["searches"][name] = one_filter(store, queries, where, np.flatnonzero(allowed), single, names)
    report["state"] = store.state
    store.close()
    with Gallery.open(folder / "gallery", Shipped()) as gallery:
        gallery._calibration.keep = lambda _: None
        gallery._calibration.bands = lambda _: None
        gallery.search(SENTENCE)
        cpu = time.process_time()
        took = [timed(lambda: gallery.search(SENTENCE)) for _ in queries]
        cpu = 1e3 * (time.process_time() - cpu) / len(queries)
    report["with_text"] = percentiles(took) | {"cpu_ms": cpu}
    return report


def filled(folder: Path, engine: str, graph: bool, vectors: np.ndarray, names: list[str]) -> dict:
    """A gallery of these vectors, and how long it took."""
    from passerby.gallery.local import LocalStore
    from passerby.gallery.manifest import Manifest
    from passerby.gallery.records import Picture, Row
    from passerby.gallery.store import Address

    rows = len(names)
    store = LocalStore.create(Address(engine, folder / "gallery"), Manifest(engine, DIM, "street", "00" * 32, "2026"))
    store._thumbnails = NoThumbnails()
    started, cpu = time.perf_counter(), time.process_time()
    with store.writing():
        for start in range(0, rows, 5_000):
            store.put([
                Row(Picture(names[at], Path(f"{at}.jpg"), f"c{at % 10}", float(at * 7919 % rows)), vectors[at], b"")
                for at in range(start, min(rows, start + 5_000))
            ])  # fmt: skip
        put = time.perf_counter() - started
        store.settle()
        if graph:
            store.optimize(True)
    built, cpu = time.perf_counter() - started, time.process_time() - cpu
    store.close()
    return {"put_s": put, "build_s": built, "build_cpu_s": cpu}


_OPEN = """
import json, sys, time
from pathlib import Path
import numpy as np
from passerby.gallery.local import LocalStore
from passerby.gallery.store import Address
def memory():
    lines = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return {"own": int(lines["RssAnon"].split()[0]) / 1e3, "mapped": int(lines["RssFile"].split()[0]) / 1e3}
queries, before, started = np.load(sys.argv[2]), memory(), time.perf_counter()
store = LocalStore.open(Address(None, Path(sys.argv[1])))
store.search(queries[0], 10)
reopened = time.perf_counter() - started
for query in queries[:50]:
    store.search(query, 10)
print(json.dumps({"reopen_s": reopened, "memory_mb": {name: memory()[name] - before[name] for name in before}}))
"""


def opened_afresh(gallery: Path, queries: np.ndarray) -> dict:
    """What a process that only searches waits for at first, and the memory that it takes beside Python's own."""
    np.save(gallery.with_name("queries.npy"), queries)
    program = [sys.executable, "-c", _OPEN, str(gallery), str(gallery.with_name("queries.npy"))]
    return json.loads(subprocess.run(program, capture_output=True, text=True, check=True).stdout)


def one_filter(store, queries, where, allowed, single, names) -> dict:
    """Latency and recall under one filter; the exact search runs in between."""
    ours, theirs, hits = [], [], 0
    store.search(queries[0], K, where)
    cpu = time.process_time()
    for query in queries:
        store.search(query, K, where)
    cpu = 1e3 * (time.process_time() - cpu) / len(queries)
    chosen = single if len(allowed) == len(single) else single[allowed]
    for query in queries:
        scores: list[np.ndarray] = []
        theirs.append(timed(lambda q=query, kept=scores: kept.append(chosen @ q)))
        best = allowed[np.argpartition(scores[0], -K)[-K:]]
        found: list = []
        ours.append(timed(lambda q=query, kept=found: kept.extend(store.search(q, K, where))))
        hits += len({name for name, _ in found} & {names[at] for at in best})
    exact = percentiles(theirs)
    return percentiles(ours) | {
        "cpu_ms": cpu,
        "recall_at_10": hits / (K * len(queries)),
        "numpy_p50": exact["p50"],
        "times_as_fast_as_numpy": exact["p50"] / percentiles(ours)["p50"],
        "pictures": len(allowed),
    }


def kills(runs: int, folder: Path) -> dict:
    """Kill a writer at random, as often over each engine."""
    from kills import kill_often

    report = {"runs": runs, "problems": [], "interrupted": {}}
    for engine, longest in (("edge", 4.0), ("exact", 1.0)):
        problems, interrupted = kill_often(f"{engine}:{folder / engine}", runs // 2, seed=7, longest_s=longest)
        report["problems"] += problems
        report["interrupted"][engine] = interrupted
    return report


def mutations(count: int, folder: Path) -> dict:
    """Damage files of a gallery, and pictures, in a process of their own, so that a crash can be counted."""
    report: dict = {"files": 0, "crashes": 0, "silent": [], "noticed": {}}
    for part in ("gallery", "indexed", "pictures"):
        wanted = {"gallery": count * 9 // 20, "indexed": count // 20, "pictures": count // 2}[part]
        program = [sys.executable, str(ROOT / "tests" / "gallery" / "mutations.py"), part, str(wanted), str(folder)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path[:2])}
        done = subprocess.run(program, capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            report["crashes"] += 1
            report["silent"].append(f"{part}: exit code {done.returncode}: {done.stderr[-300:]}")
            continue
        found = json.loads(done.stdout)
        report["files"] += found["files"]
        report["silent"] += found["silent"]
        report["noticed"][part] = found["noticed"]
    return report


def bands(folder: Path) -> dict:
    """How matches are called on a street whose people are known, half of them not in the gallery."""
    import passerby
    from passerby.data.readers import open_dataset
    from passerby.gallery import Gallery

    street = folder / "street"
    command = [sys.executable, "-m", "passerby", "world", "make", str(street), "--identities", "400", "--seed", "77"]
    subprocess.run(command, check=True, capture_output=True)
    split = open_dataset(f"rstpreid:{street}").split("train")
    model = passerby.load("street", threads=1)
    people = sorted(split.identities)
    random.Random(0).shuffle(people)
    held = set(people[: len(people) // 2])
    report = {"text": {}, "image": {}}
    with Gallery.create(folder / "gallery", model) as gallery:
        gallery.add([image for image in split.images if image.person_id in held])
        report["pictures"] = len(gallery)
        for kind in ("text", "image"):
            for there in (True, False):
                called: dict[str, int] = {}
                for asked in (split.captions if kind == "text" else split.images)[::3]:
                    if (asked.person_id in held) != there:
                        continue
                    hits = (
                        gallery.search(asked.text, k=1, keep_poor=True)
                        if kind == "text"
                        else gallery.search(image=asked.path, k=2, keep_poor=True)
                    )
                    hit = next(hit for hit in hits if kind == "text" or hit.path != asked.path.absolute())
                    called[hit.band] = called.get(hit.band, 0) + 1
                total = sum(called.values())
                report[kind]["there" if there else "not there"] = {
                    band: called.get(band, 0) / total for band in ("strong", "weak", "none")
                }
    return report


def timed(act) -> float:
    started = time.perf_counter()
    act()
    return 1e3 * (time.perf_counter() - started)


def percentiles(times: list[float]) -> dict[str, float]:
    ordered = sorted(times)
    return {"p50": statistics.median(ordered), "p99": ordered[int(0.99 * len(ordered))], "least": ordered[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=0)
    parser.add_argument("--engine", choices=("edge", "exact"), default="edge")
    parser.add_argument("--graph", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--mutations", type=int, default=0)
    parser.add_argument("--bands", action="store_true")
    wanted = parser.parse_args()
    if not (wanted.kills or wanted.mutations or wanted.bands or wanted.rows):
        wanted.rows = 100_000
    machine = {"cpu": cpu_name(), "cores": os.cpu_count(), "features": cpu_features(), "load": os.getloadavg()[0]}
    report: dict = {"machine": machine, "python": platform.python_version(), "qdrant_edge": version("qdrant-edge-py")}
    searches = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if wanted.rows:
            found = searching(wanted.rows, wanted.engine, wanted.graph, folder) | {"machine": machine}
            searches[f"{wanted.rows}-{wanted.engine}{'-graph' if wanted.graph else ''}"] = found
        if wanted.kills:
            report["kills"] = kills(wanted.kills, folder)
        if wanted.mutations:
            report["mutations"] = mutations(wanted.mutations, folder)
        if wanted.bands:
            report["bands"] = bands(folder)
    before = json.loads(wanted.out.read_text()) if wanted.out.is_file() else {"search": {}}
    text = json.dumps(before | report | {"search": before["search"] | searches}, indent=2)
    wanted.out.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
