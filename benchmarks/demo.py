"""What models of the medium demo find among four times as many people as the demo's own test has.

Takes finished folders of `passerby demo --size medium`, one for each seed, draws 1,000 test people of the same seed
(whose first 250 are the demo's), makes sure that none of them looks like a training person, asks the 500 standard
queries, and writes docs/results/demo-medium-1000.json. Usage: python benchmarks/demo.py DEMO_FOLDER...
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import passerby
from passerby.data.world.identities import looks
from passerby.data.world.street import Street, inhabitants
from passerby.evaluation.protocol import find_protocol
from shipped import test_street

OUT = Path(__file__).parent.parent / "docs" / "results" / "demo-medium-1000.json"
PEOPLE = 1000


def refuse_known(seed: int) -> None:
    """End where a person of the test looks like one of the demo's training people."""
    known = {looks(person) for person in inhabitants(Street(seed=seed))["train"]}
    asked = inhabitants(Street(seed=seed, train=0, val=0, test=PEOPLE))["test"]
    if shared := sum(looks(person) in known for person in asked):
        raise SystemExit(f"seed {seed}: {shared} of {PEOPLE} test people look like a training person")


def main() -> None:
    """Load, draw, ask, write."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("demos", nargs="+", type=Path, help="folders such as demo/medium-0")
    rows = []
    for folder in arguments.parse_args().demos:
        seed = json.loads((folder / "report.json").read_text(encoding="utf-8"))["seed"]
        refuse_known(seed)
        model = passerby.load(str(folder / "run" / "checkpoint"))
        with tempfile.TemporaryDirectory() as scratch:
            rows.append(test_street(model, Path(scratch) / "street", PEOPLE, seed))
    record = {"protocol": find_protocol("text-to-image").describe(), "tests": rows}
    OUT.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
