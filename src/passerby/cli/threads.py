"""How threads wait on this machine; decided before torch is imported, which reads it once.

OpenMP threads spin while they wait for each other. On a quiet machine that saves a third of a training step; where
something else wants the cores, spinning threads take them from the very threads they wait for, and everything becomes
many times slower.
"""

from __future__ import annotations

import os

_FREE_SHARE = 0.4  # of the cores that may be taken by others before spinning costs more than it saves


def settle_waiting() -> bool:
    """Make OpenMP threads sleep while they wait, if the machine is busy and the user has not chosen.

    Returns:
        Whether they will sleep by this call.
    """
    if "OMP_WAIT_POLICY" in os.environ or not (_shared_by_processes() or _busy()):
        return False
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    return True


def _shared_by_processes() -> bool:
    """Whether a launcher started several processes on this machine."""
    return os.environ.get("LOCAL_WORLD_SIZE", "1") not in ("", "1")


def _busy() -> bool:
    try:
        load = os.getloadavg()[0]  # runnable processes, mean of the last minute
    except (OSError, AttributeError):  # Windows has none
        return False
    return load > _FREE_SHARE * (os.cpu_count() or 1)
