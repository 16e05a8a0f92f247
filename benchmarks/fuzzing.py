"""Sends a service requests that are made up from its own OpenAPI document, right ones and wrong ones, on every route.

Schemathesis makes them up. Any answer of 500 or above, or in another shape than ours, ends the run with the request
that brought it; otherwise the answers are counted by status.
Run: python benchmarks/fuzzing.py [--examples 100] [--seeds 1] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "serve")]
RESULTS = ROOT / "benchmarks" / "results" / "fuzzing.json"
TOKEN = "correct-horse-battery-staple"


def main() -> None:
    from made_up import fuzz, operations_of
    from starlette.testclient import TestClient

    from colour_encoder import ColourEncoder, write_people
    from passerby.gallery import Gallery
    from passerby.serve import Settings, create_app

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=100, help="right and as many wrong requests a route")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    right = {"Authorization": f"Bearer {TOKEN}"}
    statuses, started = Counter(), time.process_time()
    for number in range(given.seeds):
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            write_people(place / "people", 36)
            with Gallery.create(place / "gallery", ColourEncoder()) as gallery:
                gallery.add([place / "people"])
                app = create_app(gallery, Settings(token=TOKEN, uploads=place / "uploads", may_delete=True))
                with TestClient(
                    app, base_url="http://localhost", raise_server_exceptions=False, follow_redirects=False
                ) as client:
                    operations = operations_of(client, right)
                    known = next(iter(gallery)).id
                    statuses += fuzz(client, operations, given.examples, right, known, number)
                    statuses += fuzz(client, operations, max(1, given.examples // 10), {}, known, number)
    by_status = Counter()
    for (_, status), count in statuses.items():
        by_status[str(status)] += count
    report = {
        "schemathesis": version("schemathesis"),
        "routes": len({route for route, _ in statuses}),
        "requests": sum(by_status.values()),
        "statuses": dict(sorted(by_status.items())),
        "cpu_s": round(time.process_time() - started, 1),
    }
    given.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
