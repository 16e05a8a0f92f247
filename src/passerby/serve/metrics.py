"""Counts and times of requests in the text format that Prometheus reads.

Routes are counted by their template, never by what was asked for, so that metrics tell nothing about queries and
their number stays bounded.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping

_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Requests by method, route and status, and how long they took; used by one event loop."""

    def __init__(self) -> None:
        """Count from zero."""
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._buckets: dict[str, list[int]] = {}
        self._seconds: Counter[str] = Counter()

    def saw(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        self._requests[method, route, status] += 1
        buckets = self._buckets.setdefault(route, [0] * (len(_BOUNDS_S) + 1))
        buckets[bisect_left(_BOUNDS_S, seconds)] += 1
        self._seconds[route] += seconds  # type: ignore[assignment]

    def text(self, now: Mapping[str, float]) -> str:
        """Everything in Prometheus' text format.

        Args:
            now: values of this moment by name, such as the number of pictures.
        """
        lines = ["# HELP passerby_requests_total Requests answered.", "# TYPE passerby_requests_total counter"]
        for (method, route, status), count in sorted(self._requests.items()):
            labels = f'method="{method}",route="{route}",status="{status}"'
            lines.append(f"passerby_requests_total{{{labels}}} {count}")
        name = "passerby_request_seconds"
        lines += [f"# HELP {name} Time from request to answer.", f"# TYPE {name} histogram"]
        for route, buckets in sorted(self._buckets.items()):
            total = 0
            for bound, count in zip((*_BOUNDS_S, "+Inf"), buckets, strict=True):
                total += count
                lines.append(f'{name}_bucket{{route="{route}",le="{bound}"}} {total}')
            lines.append(f'{name}_sum{{route="{route}"}} {self._seconds[route]:.6f}')
            lines.append(f'{name}_count{{route="{route}"}} {total}')
        for key, value in now.items():
            lines += [f"# TYPE passerby_{key} gauge", f"passerby_{key} {value:g}"]
        return "\n".join(lines) + "\n"
