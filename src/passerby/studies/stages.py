"""Where the time of a long job goes: named stages with wall and processor seconds, worker processes included.

Processor time stands beside wall time because shared machines make wall time meaningless on its own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager


def processor_seconds() -> float:
    """User and system seconds of this process and of its finished children."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


class Stages:
    """Collects the seconds of each stage, in the order in which they began."""

    def __init__(self) -> None:
        self.seconds: dict[str, dict[str, float]] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a block under a name."""
        wall, cpu = time.perf_counter(), processor_seconds()
        try:
            yield
        finally:
            self.seconds[name] = {
                "wall": round(time.perf_counter() - wall, 2),
                "cpu": round(processor_seconds() - cpu, 2),
            }

    def with_total(self) -> dict[str, dict[str, float]]:
        """All stages and their sum under ``total``."""
        total = {kind: round(sum(one[kind] for one in self.seconds.values()), 2) for kind in ("wall", "cpu")}
        return {**self.seconds, "total": total}
