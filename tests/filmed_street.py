"""A short film of the street for tests, and a detector that knows where everybody is in it."""

from __future__ import annotations

import hashlib
import json

import numpy as np

from passerby.data.world.scenes import Scene
from passerby.ingest.detection import Detections
from passerby.ingest.filming import write_film
from passerby.ingest.footage import VideoFile

SCENE = Scene(walkers=3, seconds=8, fps=5, size=(180, 320), seed=3)


def write(path, scene=SCENE):
    write_film(scene, path)
    return path


def truth(path):
    return [json.loads(line) for line in path.with_suffix(".jsonl").read_text().splitlines()]


class Oracle:
    """Knows each frame of a film by its pixels, and answers with the boxes of those who can be seen."""

    name = "oracle"

    def __init__(self, path, jitter=0.0, visible=0.4):
        rows, rng = truth(path), np.random.default_rng(0)
        self.calls = 0
        self.stop_at = None
        self._boxes = {}
        for sample in VideoFile(path).samples(1e-3):
            row = min(rows, key=lambda one: abs(one["time"] - sample.time))
            boxes = [one["box"] for one in row["people"] if one["visible"] >= visible]
            boxes = np.array(boxes, dtype=np.float64).reshape(-1, 4)
            sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
            self._boxes[_key(sample.image)] = boxes + jitter * sides * rng.normal(size=boxes.shape)

    def detect(self, frame):
        if self.stop_at is not None and self.calls >= self.stop_at:
            raise RuntimeError("killed")
        self.calls += 1
        boxes = self._boxes.get(_key(frame), np.zeros((0, 4)))  # a frame cut off in its middle is in no film
        return Detections(boxes, np.ones(len(boxes)))


def _key(frame):
    return hashlib.sha256(frame.tobytes()).hexdigest()
