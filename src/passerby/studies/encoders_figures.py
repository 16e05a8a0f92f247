"""Figures 4, 5 and 6 of the report on small encoders: accuracy against what a picture costs, with Pareto lines.

The report draws accuracy over the sum of both towers, most of which is a text tower that runs once a query; here the
horizontal axis is the picture tower alone, and the vertical one is R@1 by identity with its interval.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from passerby.errors import MissingExtraError

_INK, _FAINT, _EDGE, _ACCENT = "#202328", "#646a72", "#e2e2dd", "#2c6e8f"


def costs(cell: Mapping[str, Any]) -> dict[str, float]:
    """What one picture costs: ``parameters`` (millions), ``latency`` (ms, batch 1) and ``multiply_adds`` (millions)."""
    profile = cell["profile"]
    return {
        "parameters": profile["image_parameters"] / 1e6,
        "latency": profile["image_batch1"]["p50_ms"],
        "multiply_adds": profile["image_multiply_adds"] / 1e6,
    }


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of points that no other beats: none costs as little and reaches more, nor costs less and reaches as much.

    Args:
        points: (cost, what is reached).

    Returns:
        Indices from the cheapest up.
    """
    line: list[int] = []
    for index in sorted(range(len(points)), key=lambda one: (points[one][0], -points[one][1])):
        if not line or points[index][1] > points[line[-1]][1]:
            line.append(index)
    return line


def cost_figure(cells: Sequence[Mapping[str, Any]], cost: str, label: str) -> bytes:
    """R@1 over one cost of `costs` as PNG, each encoder with its 95 % interval.

    Args:
        cells: from `encoder_cell`.
        cost: a key of `costs`.
        label: of the horizontal axis.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.ticker import FuncFormatter
    except ImportError as error:
        raise MissingExtraError("matplotlib", "viz", "the figures of the study") from error
    figure = Figure(figsize=(7.2, 4.2), dpi=144, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.add_subplot()
    points = [(costs(cell)[cost], cell["figures"]["r1"]) for cell in cells]
    line = pareto(points)
    axis.plot(*zip(*[points[index] for index in line], strict=True), color=_ACCENT, linewidth=1.4, zorder=1)
    for index, (cell, (x, y)) in enumerate(zip(cells, points, strict=True)):
        tone = _ACCENT if index in line else _FAINT
        low, high = cell["intervals"]["r1"]
        if low is not None and high is not None:
            axis.vlines(x, low, high, color=tone, linewidth=1, alpha=0.6)
        axis.scatter([x], [y], s=36, color=tone, zorder=2)
        # A name stands on the side of its point where there is more room; costs are drawn on a logarithmic scale.
        after = x * x <= min(cost for cost, _ in points) * max(cost for cost, _ in points)
        axis.annotate(
            cell["encoder"], (x, y), (6 if after else -6, 5), textcoords="offset points", fontsize=8, color=_INK,
            ha="left" if after else "right", bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0},
            zorder=1.5,  # over the line, under the points
        )  # fmt: skip
    axis.set_xscale("log")
    axis.margins(x=0.12)
    for ticks in (axis.xaxis.set_major_formatter, axis.xaxis.set_minor_formatter):
        ticks(FuncFormatter(lambda value, _: f"{value:,.4g}" if f"{value:e}"[0] in "1235" else ""))
    axis.set_xlabel(label, color=_FAINT)
    axis.set_title("R@1 by identity, per cent, 95 % intervals; the line joins what nothing beats", loc="left",
                   color=_INK, fontsize=9)  # fmt: skip
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(_EDGE)
    axis.tick_params(colors=_FAINT, labelsize=8, which="both", pad=5, length=3)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()
