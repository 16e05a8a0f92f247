"""How many threads compute, and how they wait; decided before torch is imported, which reads both once.

Threads spin while they wait for each other. On a quiet machine that saves a third of a training step; where something
else wants the cores, spinning threads take them from the very threads they wait for. OpenMP can be told to sleep
instead, the matrix kernels of oneDNN cannot, so there are also no more threads than free cores: two threads on two
cores of which one is taken needed four to ten times the processor time of one thread.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

_FREE_SHARE = 0.4  # of the cores that may be taken by others before spinning costs more than it saves
_LOOK_S = 0.2
_STATISTICS = Path("/proc/stat")


def settle_threads() -> None:
    """Let threads sleep while they wait, and be as few as cores are free, if the machine is busy.

    What the user has set in ``OMP_WAIT_POLICY`` or ``OMP_NUM_THREADS`` stays. Call it before torch is imported.
    """
    if os.environ.get("LOCAL_WORLD_SIZE", "1") not in ("", "1"):  # a launcher started several processes here
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        return
    cores = os.cpu_count() or 1
    taken = cores_taken()
    if taken > _FREE_SHARE * cores:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, int(cores - taken))))


def cores_taken() -> float:
    """How many cores other processes keep busy now.

    The load average remembers a minute, so a high one is checked against what is happening at this moment.
    """
    cores = os.cpu_count() or 1
    try:
        load = os.getloadavg()[0]
    except (OSError, AttributeError):  # Windows has none
        return 0.0
    if load <= _FREE_SHARE * cores or not _STATISTICS.is_file():
        return load
    before, started = _idle_s(), time.monotonic()
    time.sleep(_LOOK_S)
    return cores - (_idle_s() - before) / (time.monotonic() - started)


def _idle_s() -> float:
    """Seconds that all cores together have idled since the machine started (Linux)."""
    ticks = _STATISTICS.read_text(encoding="ascii").split("\n", 1)[0].split()  # cpu user nice system idle iowait ...
    return (int(ticks[4]) + int(ticks[5])) / os.sysconf("SC_CLK_TCK")
