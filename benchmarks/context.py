"""Times the context encoder beside a dense one with the same weights, and at sizes where no dense one fits.

Four layers, width 256, two maps (NFormer's shape) and MagFormer at the same width. Each case runs in a process of its
own, whose peak memory is told by getrusage; dense and sparse are run in turn and their outputs compared before their
times are believed. Run: python benchmarks/context.py  (several minutes; --huge adds 500,000 pictures, --quick takes
seconds and writes nothing, --only NAME measures one row anew)
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from passerby.losses.center import CenterLoss
from passerby.losses.triplet import triplet_loss
from passerby.models.context import ContextEncoder
from passerby.models.context_config import context_config
from passerby.models.gallery_context import GalleryContext
from passerby.nn.neighbour_search import RowSearch, fast_dtype, nearest_rows, unit_rows

RESULTS = Path(__file__).parent / "results" / "context.json"
WIDTH, CLASSES = 256, 751


def people(rows: int, seed: int = 0, each: int = 20) -> torch.Tensor:
    """Features around one direction per person, noisy enough that most but not all neighbours are reciprocal."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(rows // each + 1, WIDTH, generator=generator)
    owner = torch.randint(len(directions), (rows,), generator=generator)
    return directions[owner] + 1.5 * torch.randn(rows, WIDTH, generator=generator)


def encoder(name: str) -> ContextEncoder:
    torch.manual_seed(0)
    return ContextEncoder(context_config(name, WIDTH, CLASSES, dropout=0.0, attention_dropout=0.0)).eval()


def dense(model: ContextEncoder, features: torch.Tensor, lean: bool = False) -> torch.Tensor:
    """NFormer with matrices of N x N: the same weights, landmarks and neighbours.

    As the formulas are written and the releases compute them, all maps at once and the mask times its transpose in
    every layer; or lean: the mask made once, one map at a time, in place.
    """
    landmarks = model.choose_landmarks(features)
    rows = model.prepared(features)
    with torch.no_grad():
        unit = unit_rows(features)
        nearest = (unit @ unit.T).topk(model.settings.k, dim=1).indices
        chosen = torch.zeros(len(rows), len(rows)).scatter_(1, nearest, 1.0)
        outside = (chosen * chosen.T) < 1 if lean else None
    for layer, marks in zip(model.layers, landmarks, strict=True):
        frame = layer.frame(rows[marks].mean(dim=1))
        memory = layer.remember(rows, frame)
        queries, keys = layer.factors(rows, frame).transpose(0, 1), memory.keys.permute(1, 2, 0)  # (S, N, P), (S, P, N)
        if outside is None:
            affinity = (queries @ keys).masked_fill((chosen * chosen.T)[None] < 1, -1e9)
            heads = (torch.softmax(affinity, dim=2) @ memory.values).transpose(0, 1).flatten(1)
            del affinity
        else:
            maps = [(queries[head] @ keys[head]).masked_fill_(outside, -torch.inf) for head in range(layer.heads)]
            heads = torch.cat([torch.softmax(one, dim=1) @ memory.values[at] for at, one in enumerate(maps)], dim=1)
            del maps
        rows = layer.norm1(rows + layer.out(heads))
        widened = torch.nn.functional.gelu(layer.widen(rows), approximate="tanh")
        rows = layer.norm2(rows + layer.narrow(widened))
    return rows


def dense_triplet(features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The hardest triplets out of the matrix of all distances, with its gradient, as the field's code has it."""
    squares = features.square().sum(dim=1)
    distances = squares[:, None] + squares[None] - 2 * features @ features.T
    distances = distances.clamp_min(1e-12).sqrt()
    same = labels[:, None] == labels[None]
    positive = distances.masked_fill(~same, -torch.inf).amax(dim=1)
    negative = distances.masked_fill(same, torch.inf).amin(dim=1)
    return (positive - negative + 0.3).clamp_min(0).mean()


def forward(how: str, name: str, rows: int) -> dict:
    model, features = encoder(name), people(rows)
    with torch.no_grad():
        run = model if how == "sparse" else (lambda given: dense(model, given, lean=how == "lean"))
        run(people(64))  # loads what is loaded at the first use
        found = measured(lambda: run(features), repeat=3 if rows < 10_000 else 1)
        if how == "sparse":
            found["graph_cpu_s"] = measured(lambda: model.graph(features))["cpu_s"]
    return found


def step(how: str, name: str, rows: int) -> dict:
    """Forward, losses, backward and update of one training step over two sets."""
    model, sets = encoder(name).train(), [people(rows, seed) for seed in (0, 1)]
    labels = torch.arange(2 * rows) % CLASSES
    centers = CenterLoss(CLASSES, WIDTH)
    optimiser = torch.optim.AdamW(model.parameters(), 1.5e-4)

    def once() -> torch.Tensor:
        hidden = torch.cat([dense(model, one) if how == "dense" else model(one) for one in sets])
        logits = model.classify(model.embed(hidden))
        loss = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.1)
        triplets = dense_triplet if how == "dense" else triplet_loss
        loss = loss + triplets(hidden, labels) + 0.0005 * centers(hidden, labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return loss.detach()[None]

    return measured(once)


def query(name: str, rows: int) -> dict:
    """What one more query costs: finding its neighbours, and everything after."""
    context, queries = GalleryContext(encoder(name), people(rows).numpy()), people(1024, 1)
    context.transform(queries[:64].numpy())
    whole = measured(lambda: torch.from_numpy(context.transform(queries.numpy())), repeat=3)["cpu_s"]
    asked, search = unit_rows(queries), RowSearch(unit_rows(people(rows)))
    blocks = [asked[first : first + 64] for first in range(0, 1024, 64)]
    found = measured(lambda: torch.cat([search.nearest(block, 19)[0] for block in blocks]), repeat=3)["cpu_s"]
    one = measured(lambda: torch.from_numpy(context.scores_with(queries[0].numpy()))[None], repeat=3)["cpu_s"]
    more = measured(lambda: torch.from_numpy(context.append(people(1, 2).numpy())).float()[None], repeat=1)["cpu_s"]
    return {
        "search_cpu_ms": 1e3 * found / 1024,
        "after_search_cpu_ms": 1e3 * (whole - found) / 1024,
        "exact_cpu_ms": 1e3 * one,
        "append_cpu_ms": 1e3 * more,
    }


def recall(name: str, rows: int) -> dict:
    """How many neighbours of the two-pass search are those of a product in double precision, for some rows."""
    del name
    unit = unit_rows(people(rows))
    asked = torch.arange(0, rows, max(1, rows // 256))
    ours = nearest_rows(unit[asked], unit, 19, asked)[1]
    exact = unit[asked].double() @ unit.double().T
    exact[torch.arange(len(asked)), asked] = -torch.inf
    theirs = exact.topk(19, dim=1).indices
    hits = sum(len(set(a) & set(b)) for a, b in zip(ours.tolist(), theirs.tolist(), strict=True))
    return {"rows": len(asked), "recall": hits / theirs.numel(), "first_pass": str(fast_dtype(unit))}


def measured(function, repeat: int = 1) -> dict:
    """Wall and processor seconds (the best of `repeat`), peak memory beyond what was there, a sum to compare."""
    before = resident_mb()
    times = []
    for _ in range(repeat):
        wall, cpu = time.perf_counter(), time.process_time()
        result = function()
        times.append((time.process_time() - cpu, time.perf_counter() - wall))
    cpu, wall = min(times)
    extra = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before
    check = float(result.double().abs().mean()) if isinstance(result, torch.Tensor) else None
    return {"wall_s": wall, "cpu_s": cpu, "extra_mb": round(extra, 1), "mean_size": check}


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


CASES = {"forward": forward, "step": step, "query": query, "recall": recall}


def in_a_process(case: str, *arguments: str | int) -> dict:
    command = [sys.executable, __file__, "--one", case, *map(str, arguments)]
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    found = json.loads(done.stdout)
    print(case, *arguments, json.dumps(found), file=sys.stderr)
    return {**found, "load": round(os.getloadavg()[0], 1)}


def beside(case: str, rows: int) -> dict:
    """Sparse and dense in turn, and how many times as fast."""
    sparse, matrix = in_a_process(case, "sparse", "nformer", rows), in_a_process(case, "dense", "nformer", rows)
    if not np.isclose(sparse["mean_size"], matrix["mean_size"], rtol=1e-4):
        raise SystemExit(f"{case} at {rows}: sparse gives {sparse['mean_size']}, dense {matrix['mean_size']}")
    if case == "forward":
        lean = in_a_process(case, "lean", "nformer", rows)
        return {"sparse": sparse, "dense": matrix, "lean": lean, "times_as_fast": times(matrix, sparse)}
    return {"sparse": sparse, "dense": matrix, "times_as_fast": times(matrix, sparse)}


def times(slow: dict, fast: dict) -> dict:
    return {clock: round(slow[clock] / fast[clock], 1) for clock in ("cpu_s", "wall_s")}


def machine() -> dict:
    model = platform.processor()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "first_pass": str(fast_dtype(torch.zeros(1, 1))).removeprefix("torch."),
        "load_at_start": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }


#: The step of the sparse encoder alone: the dense one needs more than 10 GB at 2 x 7,000 tokens.
STEP = ("step", "sparse", "nformer")


def free_mb() -> float:
    """Memory that can be had without taking it from others."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable"):
            return int(line.split()[1]) / 1024
    raise LookupError("/proc/meminfo has no MemAvailable")


def rows_of_the_report(huge: bool) -> dict:
    """Name in the results -> how it is measured."""
    rows = {
        "forward-8000": lambda: beside("forward", 8000),
        "step-3500": lambda: beside("step", 3500),
        "step-7000": lambda: beside("step", 7000) if free_mb() > 18_000 else {"sparse": in_a_process(*STEP, 7000)},
        **{
            f"forward-{size}": (lambda size=size: {"sparse": in_a_process("forward", "sparse", "nformer", size)})
            for size in (19281, 93820)
        },
        "magformer-19281": lambda: {"sparse": in_a_process("forward", "sparse", "magformer", 19281)},
        **{f"query-{size}": (lambda size=size: in_a_process("query", "magformer", size)) for size in (4000, 16000)},
        "recall-19281": lambda: in_a_process("recall", "nformer", 19281),
    }
    if huge:
        rows["forward-500000"] = lambda: {"sparse": in_a_process("forward", "sparse", "nformer", 500_000)}
        rows["recall-500000"] = lambda: in_a_process("recall", "nformer", 500_000)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, nothing written")
    parser.add_argument("--huge", action="store_true", help="500,000 pictures too: about an hour of one core")
    parser.add_argument("--only", action="append", help="measure this row alone and keep the others as they are")
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        case, *rest = arguments.one
        print(json.dumps(CASES[case](*rest[:-1], int(rest[-1]))))
        return
    if arguments.quick:
        print(json.dumps({"forward": beside("forward", 1000), "step": beside("step", 500)}, indent=2))
        return
    report = json.loads(RESULTS.read_text()) if RESULTS.is_file() and arguments.only else {}
    report["machine"] = machine()
    rows = rows_of_the_report(arguments.huge)
    for name in arguments.only or rows:
        if name not in rows:
            raise SystemExit(f"no row is called {name!r}; known: {', '.join(rows)}")
        report[name] = rows[name]()
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(report, indent=2) + "\n")  # after each row: a long run may be cut short
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
