"""Asks a running service for text searches at a steady rate, then far faster than it can answer.

A gallery that is there is served by a process of its own, with the model that it names. Reported are wall
times as clients see them, answers by status, and how much memory the service took meanwhile.
Run: python benchmarks/service.py --gallery G [--seconds 60] [--rate 10] [--flood 100]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil

from passerby.models.runtimes.choice import cpu_name

RESULTS = Path(__file__).parent / "results" / "service.json"
WORDS = ("red", "green", "blue", "black", "white", "yellow", "grey", "pink")
MOST_CLIENTS = 64


def ask(client: httpx.Client, number: int) -> tuple[int, float]:
    """Status and seconds of one search."""
    text = f"a person in a {WORDS[number % 8]} coat and {WORDS[number // 8 % 8]} trousers"
    started = time.perf_counter()
    status = client.get("/v1/search", params={"text": text, "k": 24, "keep_poor": True}).status_code
    return status, time.perf_counter() - started


def load(address: str, rate: float, seconds: float) -> dict:
    """Ask at a rate, whatever the answers do; times include waiting for a connection."""
    answers, lock = [], threading.Lock()
    with httpx.Client(base_url=address, timeout=60, limits=httpx.Limits(max_connections=MOST_CLIENTS)) as client:

        def one(number: int) -> None:
            answer = ask(client, number)
            with lock:
                answers.append(answer)

        with ThreadPoolExecutor(MOST_CLIENTS) as clients:
            started = time.perf_counter()
            for number in range(int(rate * seconds)):
                time.sleep(max(0.0, started + number / rate - time.perf_counter()))
                clients.submit(one, number)
    took = sorted(spent for status, spent in answers if status == 200)
    at = {f"p{part}_ms": round(1000 * took[min(len(took) - 1, len(took) * part // 100)], 1) for part in (50, 99)}
    statuses = {str(status): count for status, count in sorted(Counter(status for status, _ in answers).items())}
    return {"rate": rate, "seconds": seconds, "statuses": statuses, **at}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gallery", required=True)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rate", type=float, default=10)
    parser.add_argument("--flood", type=float, default=100)
    given = parser.parse_args()
    command = [str(Path(sys.executable).with_name("passerby")), "serve", given.gallery, "--port", "0"]
    service = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        address = service.stdout.readline().split(" at ")[1].split(";")[0]
        with httpx.Client(base_url=address, timeout=120) as client:
            for number in range(20):
                ask(client, number)
        process = psutil.Process(service.pid)
        memory = process.memory_info().rss
        steady = load(address, given.rate, given.seconds)
        steady["memory_growth_percent"] = round(100 * (process.memory_info().rss / memory - 1), 2)
        flood = load(address, given.flood, min(given.seconds, 20))
        pictures = float(httpx.get(f"{address}metrics").text.split("\npasserby_pictures ")[1].split()[0])
    finally:
        service.terminate()
        stopped = service.wait(60)
    machine = {"cpu": cpu_name(), "cores": os.cpu_count(), "python": platform.python_version()}
    machine["load"] = statistics.fmean(os.getloadavg()[:1])
    report = {"machine": machine, "pictures": int(pictures), "steady": steady, "flood": flood, "exit": stopped}
    RESULTS.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
