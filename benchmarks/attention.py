"""Times sparse attention in its two forms beside each other and beside full attention, and weighs their memory.

Contenders alternate within a round; a ratio is the median over rounds of the ratio within one round, in processor time
and in wall time. Peak memory is that of a process of its own beyond its inputs, forward and backward. "chosen" is what
`sparse_attention` takes at that length, which is what models use. Run: python benchmarks/attention.py (some minutes;
--quick for seconds, nothing written)
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from passerby.nn.sparse_attention import (
    Window,
    blocked_sparse_attention,
    dense_sparse_attention,
    sparse_attention,
)

RESULTS = Path(__file__).parent / "results" / "attention.json"
HEADS, WIDTH = 4, 64
#: Tokens of a batch, so that short sequences come in large batches as they do in use.
TOKENS = 4096
LENGTHS = (64, 96, 128, 160, 200, 256, 320, 384, 512, 768, 1024, 2048)
REACHES = (8, 16, 32)
GRIDS = ((7, 7), (12, 6), (24, 8), (32, 16), (64, 32))
CELLS = 2
MEMORY_LENGTHS = (512, 1024, 2048, 4096, 8192)
MEMORY_REACH = 32


def full_attention(query: Tensor, key: Tensor, value: Tensor, _: Window) -> Tensor:
    mixed = scaled_dot_product_attention(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2))
    return mixed.transpose(1, 2)


FORMS: dict[str, Callable[..., Tensor]] = {
    "full": full_attention,
    "dense": dense_sparse_attention,
    "blocked": blocked_sparse_attention,
    "chosen": sparse_attention,
}


def inputs(window: Window, rows: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (rows, window.length, HEADS, WIDTH)
    return [torch.randn(shape, generator=generator).requires_grad_() for _ in range(3)]


def clocked(call: Callable[[], object]) -> tuple[float, float]:
    """Processor and wall seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.process_time() - cpu, time.perf_counter() - wall


def compare(window: Window, rounds: int) -> dict:
    """All forms on one window, forward alone and with the backward pass."""
    rows = max(1, TOKENS // window.length)
    tensors = inputs(window, rows)

    def forward(form: Callable[..., Tensor]) -> None:
        with torch.inference_mode():
            form(*tensors, window)

    def both(form: Callable[..., Tensor]) -> None:
        torch.autograd.grad(form(*tensors, window).sum(), tensors)

    result: dict = {
        "grid": list(window.grid), "reach": list(window.reach), "length": window.length, "rows": rows,
        "block": list(window.block), "seen": window.seen,
    }  # fmt: skip
    for name, run in (("forward", forward), ("forward and backward", both)):
        times: dict[str, list[tuple[float, float]]] = {form: [] for form in FORMS}
        for form in FORMS.values():
            run(form)
        for number in range(rounds):
            order = list(FORMS)
            for form in order[number % len(order) :] + order[: number % len(order)]:
                times[form].append(clocked(partial(run, FORMS[form])))
        result[name] = {
            form: {
                kind: round(1e3 * statistics.median(pair[at] for pair in times[form]) / rows, 4)
                for at, kind in enumerate(("cpu_ms", "wall_ms"))
            }
            for form in FORMS
        }
        for form in ("blocked", "chosen"):
            result[name][f"dense by {form}"] = {
                kind: round(
                    statistics.median(d[at] / f[at] for d, f in zip(times["dense"], times[form], strict=True)), 3
                )
                for at, kind in enumerate(("cpu", "wall"))
            }
    return result


def break_even(rows: list[dict], what: str) -> float | None:
    """Length from which on blocks are faster in processor time, interpolated between two that were measured."""
    pairs = [(row["length"], row[what]["dense by blocked"]["cpu"]) for row in rows]
    for (short, below), (long, above) in itertools.pairwise(pairs):
        if below < 1 <= above:
            return round(short + (long - short) * (1 - below) / (above - below))
    return None


def peak(form: str, length: int) -> dict:
    """Runs in its own process: peak memory beyond the inputs, forward and backward."""
    torch.set_num_threads(1)
    small = Window((63, 1), (MEMORY_REACH, 0), 1)
    torch.autograd.grad(FORMS[form](*(warm := inputs(small, 1)), small).sum(), warm)  # libraries load, buffers settle
    window = Window((length - 1, 1), (MEMORY_REACH, 0), 1)
    tensors = inputs(window, 1)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far (Linux)
    before = resident("VmRSS")
    torch.autograd.grad(FORMS[form](*tensors, window).sum(), tensors)
    return {"extra_mb": round(resident("VmHWM") - before, 2)}


def resident(field: str) -> float:
    """Memory of this process in MiB: VmRSS now, VmHWM at its highest."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise LookupError(f"/proc/self/status has no {field}")


def memory() -> dict:
    found: dict = {}
    for form in ("dense", "blocked"):
        for length in MEMORY_LENGTHS:
            command = [sys.executable, __file__, "--peak", form, str(length)]
            output = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
            found.setdefault(form, {})[str(length)] = json.loads(output.stdout)["extra_mb"]
    return found


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
        "load_at_start": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two lengths, one round, nothing written")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        print(json.dumps(peak(arguments.peak[0], int(arguments.peak[1]))))
        return
    if arguments.quick:
        rows = [compare(Window((length - 1, 1), (32, 0), 1), 1) for length in (200, 512)]
        print(json.dumps(rows, indent=2))
        return
    report: dict = {"machine": machine(), "heads": HEADS, "width": WIDTH, "words": {}, "grids": []}
    for reach in REACHES:
        rows = [compare(Window((length - 1, 1), (reach, 0), 1), arguments.rounds) for length in LENGTHS]
        report["words"][str(reach)] = {
            "rows": rows,
            "break_even": {what: break_even(rows, what) for what in ("forward", "forward and backward")},
        }
    report["grids"] = [compare(Window(grid, (CELLS, CELLS), 1), arguments.rounds) for grid in GRIDS]
    report["memory_mb"] = {"reach": MEMORY_REACH, **memory()}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(report, indent=2) + "\n")
    for reach, found in report["words"].items():
        for row in found["rows"]:
            ratios = ", ".join(
                f"{row[what][f'dense by {form}']['cpu']:.2f} ({what}, {form})"
                for what in ("forward", "forward and backward")
                for form in ("blocked", "chosen")
            )
            print(f"reach {reach}, {row['length']} tokens: dense takes {ratios} times as long")
        print(f"break even: {found['break_even']}")
    for row in report["grids"]:
        print(row["grid"], {what: row[what]["dense by blocked"]["cpu"] for what in ("forward", "forward and backward")})
    print(report["memory_mb"])


if __name__ == "__main__":
    main()
