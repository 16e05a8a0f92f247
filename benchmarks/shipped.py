"""What the shipped checkpoint finds on streets that it has never seen, beside ceiling, colour baseline and chance.

Draws test streets of 250 and of 1,000 people (seeds 0, 1, 2), asks the 500 standard queries of each, and writes the
figures to docs/results/shipped.json. Usage: python benchmarks/shipped.py [MODEL] [--folder DIR]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

import passerby
from passerby.data.readers import open_dataset
from passerby.data.world.sidecar import ceiling_scores
from passerby.data.world.street import Street, queries
from passerby.data.world.writing import write
from passerby.evaluation.colour_baseline import evaluate_colour_baseline
from passerby.evaluation.evaluate import evaluate_chance, evaluate_features, evaluate_scores
from passerby.evaluation.features import encode_split
from passerby.evaluation.protocol import find_protocol
from passerby.evaluation.report import FIGURES, Report
from passerby.retriever import Retriever

OUT = Path(__file__).parent.parent / "docs" / "results" / "shipped.json"


def figures(report: Report) -> dict[str, float]:
    """Percentages of a report with the interval of each."""
    row = {key: round(report.figures[key], 2) for key in FIGURES}
    for key in FIGURES:
        row[f"{key}_low"], row[f"{key}_high"] = (round(float(edge), 2) for edge in report.intervals[key])
    return row


def test_street(model: Retriever, root: Path, people: int, seed: int) -> dict[str, object]:
    """Figures of one street."""
    write(Street(seed=seed, train=0, val=0, test=people), root)
    asked = queries(open_dataset(f"rstpreid:{root}").split("test"))
    rules, pictures = find_protocol("text-to-image"), find_protocol("image-to-image")
    features = encode_split(model, asked)
    ceiling = np.round(ceiling_scores(root, asked), 9)
    row = {
        "identities": people,
        "images": len(asked.images),
        "queries": len(asked.captions),
        "seed": seed,
        "model": figures(evaluate_features(features, asked, rules)),
        "ceiling": figures(evaluate_scores(ceiling, asked, rules, name="ceiling")),
        "colour_baseline": figures(evaluate_colour_baseline(asked, rules)),
        "chance": figures(evaluate_chance(asked, rules)),
        "image_to_image": figures(evaluate_features(features, asked, pictures)),
    }
    print(
        f"{people} people, seed {seed}: "
        + ", ".join(f"{k} {row[k]['r1']}" for k in ("model", "ceiling", "colour_baseline", "image_to_image"))
    )  # type: ignore[index]
    return row


def main() -> None:
    """Draw, ask, write."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("model", nargs="?", default="street")
    arguments.add_argument("--folder", type=Path, help="keep the streets here")
    chosen = arguments.parse_args()
    model = passerby.load(chosen.model)
    with tempfile.TemporaryDirectory() as scratch:
        folder = chosen.folder or Path(scratch)
        rows = [
            test_street(model, folder / f"test-{people}-{seed}", people, seed)
            for people in (250, 1000)
            for seed in (0, 1, 2)
        ]
    record = {
        "model": chosen.model if chosen.model == "street" else Path(chosen.model).name,
        "fingerprint": model.fingerprint,
        "runtime": f"{model.runtime.name} ({model.runtime.detail})",
        "protocol": find_protocol("text-to-image").describe(),
        "tests": rows,
    }
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
