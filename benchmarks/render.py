"""Times the street's renderer: pictures per second of one core, everything included (figure, shading, camera, mask).

CPU time of this one process, so other jobs on the machine disturb it little; each size is timed in several rounds and
the best and the median round are reported. Run: python benchmarks/render.py  (about half a minute)
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import PIL

import passerby
from passerby.data.world.attributes import VALUES, Identity
from passerby.data.world.render import crop_size, render, sample_view

RESULTS = Path(__file__).parent / "results" / "render.json"
#: (H, W) -> images/s per core that issue A asks for.
GOALS = {(128, 64): 150, (384, 128): 40}


def people(count: int, seed: int = 0) -> list[Identity]:
    """Random people; every attribute value equally often."""
    rng = np.random.default_rng(seed)
    return [
        Identity(
            person_id=index,
            family_id=index,
            skin=int(rng.integers(5)),
            tint=int(rng.integers(1 << 30)),
            **{name: str(rng.choice(values)) for name, values in VALUES.items()},
        )
        for index in range(count)
    ]


def images_per_second(identities, views, sizes, rounds: int) -> dict[str, float]:
    """Render everything `rounds` times; CPU seconds of this process."""
    for identity, view, size in zip(identities, views, sizes, strict=True):
        render(identity, view, size)  # paints the sceneries
    rates = []
    for _ in range(rounds):
        start = time.process_time()
        for identity, view, size in zip(identities, views, sizes, strict=True):
            render(identity, view, size)
        rates.append(len(views) / (time.process_time() - start))
    return {"best": round(max(rates), 1), "median": round(statistics.median(rates), 1)}


def cpu_name() -> str:
    """What the machine calls its processor."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=120, help="pictures per round")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    identities = people(options.images)
    rng = np.random.default_rng(1)
    views = [sample_view(rng) for _ in identities]
    speed = {}
    for size, goal in GOALS.items():
        name = f"{size[0]}x{size[1]}"
        speed[name] = images_per_second(identities, views, [size] * len(views), options.rounds) | {"goal": goal}
    natural = [crop_size(view) for view in views]
    speed["natural"] = images_per_second(identities, views, natural, options.rounds)
    result = {
        "what": "images/s per core (CPU time), 2x supersampled, masks and camera included, JPEG writing not",
        "images": options.images,
        "rounds": options.rounds,
        "speed": speed,
        "machine": {
            "cpu": cpu_name(),
            "cores": os.cpu_count(),
            "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
            "system": platform.system(),
        },
        "versions": {
            "passerby": passerby.__version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "pillow": PIL.__version__,
        },
    }
    for name, figures in speed.items():
        goal = f"   (asked: {figures['goal']})" if "goal" in figures else ""
        print(f"{name:>8}  {figures['best']:7.1f} images/s at best, {figures['median']:7.1f} in the median{goal}")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    print(f"written to {RESULTS}")


if __name__ == "__main__":
    main()
