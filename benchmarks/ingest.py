"""Measures how many people and passages of filmed streets are found, followed and cut out, and at what cost.

Films of the synthetic street, where everybody is known, are watched with OpenCV's HOG and with an oracle: the true
boxes, each edge moved by a twentieth of the box's side and a tenth of the boxes left out. What the oracle misses, the
tracker and the choice of crops miss; the rest is the detector's. CPU time of this one process.
Run: python benchmarks/ingest.py  (about a minute of one core)
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np

import passerby
from passerby.data.world.cameras import CAMERAS
from passerby.data.world.scenes import Scene
from passerby.ingest.boxes import overlaps
from passerby.ingest.detection import Detections, open_detector
from passerby.ingest.filming import write_film
from passerby.ingest.footage import VideoFile
from passerby.ingest.passages import Looking, Passages

RESULTS = Path(__file__).parent / "results" / "ingest.json"
CAMERAS_FILMED = (0, 2)
HIT = 0.5
#: Somebody counts as present from this share of the body on.
PRESENT = 0.5


class Oracle:
    """The true boxes of the frame that comes next, moved a little, some left out."""

    name = "oracle"

    def __init__(self, seed: int) -> None:
        self.rng, self.people = np.random.default_rng(seed), []

    def detect(self, frame: np.ndarray, /) -> Detections:
        """Boxes of those who are present."""
        boxes = np.array([one["box"] for one in self.people if one["visible"] >= PRESENT]).reshape(-1, 4)
        sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
        boxes = boxes + 0.05 * sides * self.rng.uniform(-1, 1, boxes.shape)
        boxes = boxes[self.rng.random(len(boxes)) >= 0.1]
        return Detections(boxes, np.ones(len(boxes)))


class Listening:
    """Remembers what a detector found, so that it can be counted."""

    def __init__(self, detector) -> None:
        self.detector, self.name, self.found = detector, detector.name, None

    def detect(self, frame: np.ndarray, /) -> Detections:
        """What the detector finds."""
        self.found = self.detector.detect(frame)
        return self.found


def present(row) -> list[dict]:
    return [one for one in row["people"] if one["visible"] >= PRESENT]


def watch(path: Path, detector, looking: Looking) -> dict[str, float]:
    """Counts of one film."""
    rows = [json.loads(line) for line in path.with_suffix(".jsonl").read_text().splitlines()]
    listening, counts, passages = Listening(detector), Counter(), []
    run = Passages(listening, looking)
    seconds = 0.0
    for sample in VideoFile(path).samples(looking.every):
        row = min(rows, key=lambda one: abs(one["time"] - sample.time))
        if isinstance(detector, Oracle):
            detector.people = row["people"]
        started = time.process_time()
        passages += run.look(sample)
        seconds += time.process_time() - started
        truth = np.array([one["box"] for one in present(row)]).reshape(-1, 4)
        shared = overlaps(truth, listening.found.boxes)
        counts["frames"] += 1
        counts["people"] += len(truth)
        counts["people_found"] += int((shared >= HIT).any(axis=1).sum()) if shared.size else 0
        counts["boxes"] += len(listening.found.boxes)
        counts["boxes_right"] += int((shared >= HIT).any(axis=0).sum()) if shared.size else 0
    passages += run.finish()
    counts["walks"] = len({one["walk"] for row in rows for one in present(row)})
    owners = [[owner(crop, rows) for crop in passage.crops] for passage in passages]
    known = [[walk for walk in walks if walk is not None] for walks in owners]
    counts["tracks"] = len(passages)
    counts["tracks_of_people"] = sum(bool(walks) for walks in known)
    counts["tracks_of_one"] = sum(len(set(walks)) == 1 for walks in known)
    counts["walks_found"] = len({walk for walks in known for walk in walks})
    counts["crops"] = sum(map(len, owners))
    counts["crops_of_people"] = sum(map(len, known))
    return {**counts, "cpu_seconds": seconds}


def owner(crop, rows) -> int | None:
    """Whose crop it is: the walker whose true box it overlaps by half, or None."""
    row = min(rows, key=lambda one: abs(one["time"] - crop.time))
    boxes = np.array([one["box"] for one in row["people"]]).reshape(-1, 4)
    shared = overlaps(np.array([crop.box]), boxes)[0]
    return row["people"][int(shared.argmax())]["walk"] if shared.size and shared.max() >= HIT else None


def shares(films: list[dict]) -> dict[str, float]:
    """What is reported of all films of one detector."""
    total = Counter()
    for counts in films:
        total.update(counts)
    return {
        "people_recall": total["people_found"] / total["people"],
        "box_precision": total["boxes_right"] / max(total["boxes"], 1),
        "passages_found": total["walks_found"] / total["walks"],
        "tracks_per_found_passage": total["tracks_of_people"] / max(total["walks_found"], 1),
        "tracks_of_one_person": total["tracks_of_one"] / max(total["tracks_of_people"], 1),
        "tracks_of_nobody": 1 - total["tracks_of_people"] / max(total["tracks"], 1),
        "crops_of_people": total["crops_of_people"] / max(total["crops"], 1),
        "people": total["people"],
        "passages": total["walks"],
        "cpu_ms_per_frame": 1000 * statistics.median(one["cpu_seconds"] / one["frames"] for one in films),
    }


def main() -> None:
    """Film, watch, count, write."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=12.0)
    arguments.add_argument("--walkers", type=int, default=5)
    given = arguments.parse_args()
    cv2.setNumThreads(1)
    looking, found = Looking(), {"oracle": [], "hog": []}
    with tempfile.TemporaryDirectory() as folder:
        for camera in CAMERAS_FILMED:
            path = Path(folder, f"{camera}.avi")
            write_film(Scene(given.walkers, given.seconds, camera=camera, seed=camera, size=(432, 768)), path)
            found["oracle"].append(watch(path, Oracle(camera), looking))
            found["hog"].append(watch(path, open_detector("hog"), looking))
    record = {
        "films": {"cameras": [CAMERAS[at].name for at in CAMERAS_FILMED], "size": [432, 768], **vars(given)},
        "every_seconds": looking.every,
        "detectors": {
            name: {key: round(value, 4) for key, value in shares(films).items()} for name, films in found.items()
        },
        "machine": {
            "cpu": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "opencv": cv2.__version__,
            "passerby": passerby.__version__,
            "load": round(os.getloadavg()[0], 1),
        },
    }
    RESULTS.write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record["detectors"], indent=2))


if __name__ == "__main__":
    main()
