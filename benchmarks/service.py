"""Asks a service for searches at a steady rate, then far faster than it can answer, and times its page in Chromium.

The gallery is made here: drawn people, encoded by the shipped model, each standing for many rows whose vectors differ
from theirs a little; every row has its thumbnail. It is served by a process of its own. Reported are wall times as
clients see them, answers by status, what the service took of memory, processor and threads, and for the page the time
from asking for an address to the first result's picture on the screen, with the browser's cache off.
Run: python benchmarks/service.py [--rows 100000] [--seconds 600] [--rate 10] [--flood 100] [--paint 20] [--out FILE]
Each part that is asked for replaces its own figures; `--seconds 0` leaves out the load, `--paint 0` the page.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode

import httpx
import numpy as np
import psutil

from passerby.models.runtimes.choice import cpu_name

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "service.json"
WORDS = ("red", "green", "blue", "black", "white", "yellow", "grey", "pink")
MOST_CLIENTS = 64
PEOPLE, CAMERAS, STEP = 500, 12, 5_000
#: How far the rows of one person lie from each other: a cosine of about 0.9, as pictures of one person have.
SPREAD = 0.45


def question(number: int) -> str:
    """One of 64 sentences."""
    return f"a person in a {WORDS[number % 8]} coat and {WORDS[number // 8 % 8]} trousers"


# -- the gallery ----------------------------------------------------------------------------------------------------


def drawn() -> tuple[np.ndarray, list[bytes]]:
    """(PEOPLE, D) unit vectors of drawn people by the shipped model, and their thumbnails."""
    import passerby
    from passerby.data.world.street import Street, inhabitants, take_picture
    from passerby.gallery.thumbnails import make_thumbnail

    street = Street(seed=8, train=0, val=0, test=PEOPLE, test_views=1)
    pixels = [
        take_picture(street, "test", place, person, 0).rendering.image
        for place, person in enumerate(inhabitants(street)["test"])
    ]
    return passerby.load("street", threads=1).encode_images(pixels), [make_thumbnail(each) for each in pixels]


def make_gallery(rows: int, folder: Path) -> float:
    """Fill a gallery for the shipped model; return how many seconds that took."""
    import passerby
    from passerby.gallery.local import LocalStore
    from passerby.gallery.manifest import Manifest
    from passerby.gallery.records import Picture, Row
    from passerby.gallery.store import Address

    model = passerby.load("street", threads=1)
    vectors, thumbnails = drawn()
    random = np.random.default_rng(0)
    started = time.perf_counter()
    store = LocalStore.create(
        Address("edge", folder), Manifest("edge", model.dim, model.name, model.fingerprint, "2026-11-21T00:00:00+00:00")
    )
    with store.writing():
        for start in range(0, rows, STEP):
            at = np.arange(start, min(rows, start + STEP))
            noise = random.normal(size=(len(at), model.dim)).astype(np.float32) / model.dim**0.5
            some = vectors[at % PEOPLE] + SPREAD * noise
            some /= np.linalg.norm(some, axis=1, keepdims=True)
            store.put([
                Row(
                    Picture(f"{(number + 1) * 2654435761 % 2**32:08x}{number + 1:024x}", Path(f"{number}.jpg"),
                            f"camera {number % CAMERAS:02d}", 1_760_000_000.0 + number, int(number % PEOPLE),
                            f"{number % CAMERAS}/{number // 3}", f"film {number % 5}"),
                    some[number - start], thumbnails[number % PEOPLE],
                )
                for number in at.tolist()
            ])  # fmt: skip
        store.settle()
    store.close()
    return time.perf_counter() - started


# -- the load -------------------------------------------------------------------------------------------------------


def ask(client: httpx.Client, number: int) -> tuple[int, float, bool]:
    """Status and seconds of one search, and whether it was said when to come back."""
    started = time.perf_counter()
    answer = client.get("/v1/search", params={"text": question(number), "k": 24, "keep_poor": True})
    return answer.status_code, time.perf_counter() - started, "retry-after" in answer.headers


def load(address: str, rate: float, seconds: float, process: psutil.Process) -> dict:
    """Ask at a rate, whatever the answers do; times include waiting for a connection."""
    answers, lock = [], threading.Lock()
    before = process.cpu_times()
    with httpx.Client(base_url=address, timeout=60, limits=httpx.Limits(max_connections=MOST_CLIENTS)) as client:

        def one(number: int) -> None:
            try:
                answer = ask(client, number)
            except httpx.HTTPError as error:
                answer = (type(error).__name__, 0.0, False)
            with lock:
                answers.append(answer)

        with ThreadPoolExecutor(MOST_CLIENTS) as clients:
            started = time.perf_counter()
            for number in range(int(rate * seconds)):
                time.sleep(max(0.0, started + number / rate - time.perf_counter()))
                clients.submit(one, number)
    spent = process.cpu_times()
    took = sorted(each for status, each, _ in answers if status == 200)
    statuses = Counter(str(status) for status, _, _ in answers)
    return {
        "rate": rate,
        "seconds": seconds,
        "statuses": dict(sorted(statuses.items())),
        "refusals_with_retry_after": sum(later for status, _, later in answers if status == 429),
        **{f"p{part}_ms": at(took, part) for part in (50, 95, 99)},
        "longest_ms": round(1000 * took[-1], 1),
        "cpu_ms_each": round(1000 * (spent.user + spent.system - before.user - before.system) / len(answers), 2),
        "machine_load": list(os.getloadavg()),
    }


def at(took: list[float], part: int) -> float:
    """A percentile of sorted seconds, in milliseconds."""
    return round(1000 * took[min(len(took) - 1, len(took) * part // 100)], 1)


def loaded(address: str, given: argparse.Namespace, process: psutil.Process) -> dict:
    """Steady load and flood, with what the service held before and after."""
    with httpx.Client(base_url=address, timeout=120) as client:
        for number in range(200):
            ask(client, number)
    held = process.memory_info().rss, process.num_threads(), process.num_fds()
    steady = load(address, given.rate, given.seconds, process)
    now = process.memory_info().rss, process.num_threads(), process.num_fds()
    steady["memory_mb"] = [round(held[0] / 1e6, 1), round(now[0] / 1e6, 1)]
    steady["memory_growth_percent"] = round(100 * (now[0] / held[0] - 1), 2)
    steady["threads"], steady["files"] = [held[1], now[1]], [held[2], now[2]]
    return {"steady": steady, "flood": load(address, given.flood, min(given.seconds, 30), process)}


# -- the page -------------------------------------------------------------------------------------------------------

_TIMES = """new Promise((tell) => new PerformanceObserver((list) => {
  const page = performance.getEntriesByType('navigation')[0];
  const words = performance.getEntriesByName('first-contentful-paint')[0];
  tell({server: page.responseEnd, words: words.startTime, picture: list.getEntries()[0].renderTime});
}).observe({type: 'element', buffered: true}))"""


def painted(address: str, pages: int) -> dict:
    """When the page's words and its first result's picture were painted, in milliseconds after asking for it."""
    sys.path.insert(0, str(ROOT / "tests" / "serve"))
    from browser import Browser

    with tempfile.TemporaryDirectory() as folder:
        browser = Browser(folder)
        try:
            browser.uncached()
            browser.size(1280, 800)
            times = []
            for number in range(-3, pages):  # a few before it counts: the browser itself starts slowly
                browser.open(f"{address}?{urlencode({'q': question(number), 'poor': 1})}")
                times.append(browser.run(_TIMES))
        finally:
            browser.close()
    found = {"pages": pages, "machine_load": list(os.getloadavg())}
    for name in ("server", "words", "picture"):
        each = sorted(one[name] / 1000 for one in times[3:])
        found[f"{name}_ms"] = {"p50": at(each, 50), "p95": at(each, 95), "longest": at(each, 100)}
    return found


# -- all of it ------------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gallery", type=Path, help="one that an earlier run has made; kept")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rate", type=float, default=10)
    parser.add_argument("--flood", type=float, default=100)
    parser.add_argument("--paint", type=int, default=20)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    report = json.loads(given.out.read_text(encoding="utf-8")) if given.out.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        gallery = given.gallery or Path(folder) / "gallery"
        if not gallery.exists():
            report["made_s"] = round(make_gallery(given.rows, gallery), 1)
        command = [str(Path(sys.executable).with_name("passerby")), "serve", str(gallery), "--port", "0"]
        service = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            address = service.stdout.readline().split(" at ")[1].split(";")[0]
            process = psutil.Process(service.pid)
            httpx.get(f"{address}v1/search", params={"text": "a person"}, timeout=300)
            pictures = float(httpx.get(f"{address}metrics").text.split("\npasserby_pictures ")[1].split()[0])
            if given.paint:
                report["paint"] = painted(address, given.paint)
            if given.seconds:
                report |= loaded(address, given, process)
        finally:
            service.terminate()
            stopped = service.wait(60)
    machine = {"cpu": cpu_name(), "cores": os.cpu_count(), "python": platform.python_version()}
    report |= {"machine": machine, "pictures": int(pictures), "exit": stopped}
    given.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
