"""The attention study's drawings: recalls as bars, sparse against dense over length, and what re-ranking costs."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from passerby.errors import MissingExtraError
from passerby.studies.attention_plan import MECHANISMS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _FAINT, _EDGE, _CARD = "#202328", "#646a72", "#e2e2dd", "#ffffff"
_TONES = {"none": "#a9b1b8", "self": "#5b7f3a", "sparse": "#c2762b", "cross": "#2c6e8f"}
_LINES = ("#2c6e8f", "#c2762b", "#5b7f3a", "#8a5a9b")
_MARGIN = 0.12  # inches around each part of a figure
_RECALLS = (("r1", "R@1"), ("r5", "R@5"), ("r10", "R@10"))


def recall_bars(rows: Sequence[Mapping[str, Any]], title: str) -> bytes:
    """R@1, R@5 and R@10 of each image tower and mechanism as one PNG, with whiskers.

    Args:
        rows: from `attention_table.rows_of`.
        title: names split and data set.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    backbones = list(dict.fromkeys(row["backbone"] for row in rows))
    figure = _figure(4.6 * len(backbones), 3.4)
    shared: Axes | None = None
    for number, backbone in enumerate(backbones):
        axes = figure.add_subplot(1, len(backbones), number + 1, sharey=shared)
        shared = shared or axes
        here = [row for row in rows if row["backbone"] == backbone]
        width = 0.84 / max(1, len(here))
        for place, row in enumerate(here):
            left = [at - 0.42 + width * (place + 0.5) for at in range(len(_RECALLS))]
            values = [row["figures"][key] for key, _ in _RECALLS]
            reach = [[mean - low for mean, low, _ in values], [high - mean for mean, _, high in values]]
            label = "cross (re-ranked)" if row["mechanism"] == "cross" else row["mechanism"]
            tone = _TONES[row["mechanism"]]
            axes.bar(left, [mean for mean, _, _ in values], width * 0.92, color=tone, label=label)
            axes.errorbar(
                left, [mean for mean, _, _ in values], reach, fmt="none", ecolor=_INK, elinewidth=1, capsize=2
            )
        axes.set_xticks(range(len(_RECALLS)), [name for _, name in _RECALLS])
        axes.set_ylim(0, 100)
        _dress(axes, backbone)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(MECHANISMS), frameon=False, fontsize=9)
    figure.suptitle(f"{title}, %", x=0.01, ha="left", fontsize=10.5, color=_FAINT)
    return _png(figure)


def length_lines(lengths: Mapping[str, Any]) -> bytes:
    """Time of a sentence over its length in each form of sparse attention as one PNG, the break-even marked.

    Args:
        lengths: from `attention_lengths.time_lengths`.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = _figure(7.4, 3.4)
    axes = figure.add_subplot()
    rows = lengths["rows"]
    at = [row["length"] for row in rows]
    names = {"dense": "all pairs, masked", "blocked": "in blocks", "chosen": "what models take"}
    styles = {"dense": "-", "blocked": "-", "chosen": ":"}
    for (key, name), tone in zip(names.items(), _LINES, strict=False):
        values = [row[key] for row in rows]
        axes.plot(at, values, styles[key], color=tone, linewidth=2.2, marker="o", markersize=3.5, label=name)
    if lengths["break_even"]:
        axes.axvline(lengths["break_even"], color=_FAINT, linewidth=1, linestyle="--")
        axes.annotate(
            f"even at {lengths['break_even']:,} tokens",
            (lengths["break_even"], 0.96),
            xycoords=("data", "axes fraction"),
            xytext=(6, 0),
            textcoords="offset points",
            color=_FAINT,
            fontsize=9,
            va="top",
        )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(at, [f"{length:,}" for length in at])
    axes.minorticks_off()
    axes.set_xlabel("tokens", fontsize=8.5, color=_FAINT, loc="right")
    axes.legend(frameon=False, fontsize=9)
    _dress(axes, f"processor time of a sentence, ms, reach {lengths['reach']}")
    return _png(figure)


def rerank_lines(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Median time of a query over K, in the gallery and in one four times as large, as one PNG.

    Args:
        rows: from `attention_table.rows_of`; those that re-rank.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = _figure(7.4, 3.2)
    axes = figure.add_subplot()
    at: list[int] = []
    for row, tone in zip(rows, itertools.cycle(_LINES), strict=False):
        by_used = {one["used"]: one for one in reversed(row["by_k"])}  # a small gallery clamps several K to one
        at, name = sorted(by_used), row["backbone"]
        axes.plot(at, [by_used[k]["p50_ms"] for k in at], color=tone, linewidth=2, marker="o", label=name)
        larger = [by_used[k]["p50_ms_of_four_galleries"] for k in at]
        axes.plot(at, larger, color=tone, linewidth=1.4, linestyle="--", label=f"{name}, gallery x 4")
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.set_xticks(sorted(set(at)))
    axes.set_xlabel("candidates K", fontsize=8.5, color=_FAINT, loc="right")
    axes.legend(frameon=False, fontsize=9)
    _dress(axes, "median time of a query, ms, token maps cached")
    return _png(figure)


def _figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError as error:
        raise MissingExtraError("matplotlib", "viz", "drawing the study's figures") from error
    margins = ConstrainedLayoutEngine(w_pad=_MARGIN, h_pad=_MARGIN)
    figure = Figure(figsize=(width, height), dpi=144, facecolor=_CARD, layout=margins)
    FigureCanvasAgg(figure)
    return figure


def _dress(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10.5, color=_INK, pad=8)
    axes.tick_params(colors=_FAINT, labelsize=8.5, length=0)
    axes.grid(axis="y", color=_EDGE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_EDGE)


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()
