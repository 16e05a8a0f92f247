"""Draws how a run learned: one PNG out of its log, for people to look at.

A panel appears only when the log holds its figures: the losses, the validation, the learning rate and the speed.
Lines carry their name and last value at their end, so that no legend has to be matched by colour.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from passerby.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CLOCK = ("step", "epoch", "lr", "images_per_s")  # every other key is a loss, or a validation figure
_INK, _FAINT, _EDGE, _CARD = "#202328", "#646a72", "#e2e2dd", "#ffffff"
_TONES = ("#2c6e8f", "#c2762b", "#5b7f3a", "#8a5a9b", "#8d6b5a")
_VALIDATION_NAMES = {"r1": "R@1", "r5": "R@5", "r10": "R@10", "map": "mAP", "minp": "mINP"}


@dataclass(frozen=True, slots=True)
class _Line:
    name: str
    steps: tuple[float, ...]
    values: tuple[float, ...]
    last: str  # the last value as it is written at the line's end; empty for a line that the axis explains


@dataclass(frozen=True, slots=True)
class _Panel:
    title: str
    lines: tuple[_Line, ...]
    marked: bool = False  # a dot on each value, where values are few
    from_zero: bool = False


def draw_curves(log: Path, out: Path) -> Path:
    """Draw loss, validation R@1 and mAP, learning rate and images/s of a run as one PNG.

    Args:
        log: the run's ``log.jsonl``: one JSON object a line, each with ``step``; validation lines have ``val_`` keys.
        out: the PNG to write; its folder is made when missing.

    Returns:
        `out`.

    Raises:
        MissingExtraError: matplotlib is not installed.
        DataError: the log is missing, empty or not made of such lines; the message names the line.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "viz", "drawing the curves of a run") from error
    panels = _panels(_read(log), log)
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(5.0 * columns, 2.6 * rows), dpi=144, facecolor=_CARD, layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.14, h_pad=0.1)  # type: ignore[union-attr]
    last_step = max(step for panel in panels for line in panel.lines for step in line.steps)
    for number, panel in enumerate(panels):
        _paint(figure.add_subplot(rows, columns, number + 1), panel, last_step)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, format="png", metadata={"Software": None})
    return out


def _read(log: Path) -> list[dict[str, Any]]:
    if not log.is_file():
        raise DataError(f"no log at {log}; expected the log.jsonl that training writes into its run folder")
    rows = []
    for number, line in enumerate(log.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict) or not _is_number(row.get("step")):
            raise DataError(
                f"line {number} of {log} is {line[:80]!r}; expected a JSON object with 'step'. Remove that line, or "
                "start the training again"
            )
        rows.append(row)
    if not rows:
        raise DataError(f"{log} is empty; training writes its first line after ten steps")
    return rows


def _panels(rows: Sequence[dict[str, Any]], log: Path) -> list[_Panel]:
    keys = list(dict.fromkeys(key for row in rows for key in row))
    losses = [key for key in keys if key not in _CLOCK and not key.startswith("val_")]
    known = [f"val_{name}" for name in ("r1", "map") if f"val_{name}" in keys]
    panels = [
        _Panel("loss", _lines(rows, ((key, key.replace("_", " "), ".2f") for key in losses))),
        _Panel("validation, %", _lines(rows, ((key, _VALIDATION_NAMES[key[4:]], ".1f") for key in known)), marked=True),
        _Panel("learning rate", _lines(rows, [("lr", "", "")]), from_zero=True),
        _Panel("speed, images/s", _lines(rows, [("images_per_s", "", ",.0f")]), from_zero=True),
    ]
    panels = [panel for panel in panels if panel.lines]
    if not panels:
        raise DataError(f"{log} has {len(rows)} lines but nothing to draw; expected 'lr', 'images_per_s' or a loss")
    return panels


def _lines(rows: Sequence[dict[str, Any]], wanted: Iterable[tuple[str, str, str]]) -> tuple[_Line, ...]:
    lines = []
    for key, name, style in wanted:
        points = [(float(row["step"]), float(row[key])) for row in rows if _is_number(row.get(key))]
        if points:
            steps, values = zip(*points, strict=True)
            lines.append(_Line(name, steps, values, format(values[-1], style) if style else ""))
    return tuple(lines)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _paint(axes: Axes, panel: _Panel, last_step: float) -> None:
    for line, tone in zip(panel.lines, _TONES * len(panel.lines), strict=False):
        marker = "o" if panel.marked or len(line.steps) == 1 else None
        axes.plot(line.steps, line.values, color=tone, linewidth=1.8, marker=marker, markersize=4, clip_on=False)
    if panel.from_zero:
        axes.set_ylim(bottom=0)
    axes.set_xlim(0, max(last_step, 1.0))
    for line, tone, height in zip(panel.lines, _TONES * len(panel.lines), _label_heights(axes, panel), strict=False):
        axes.annotate(
            f"{line.name} {line.last}".strip(),
            (1.015, height),
            xycoords="axes fraction",
            color=tone,
            fontsize=9,
            va="center",
            annotation_clip=False,
            parse_math=False,
        )
    axes.set_title(panel.title, loc="left", fontsize=10.5, color=_INK, pad=8)
    axes.set_xlabel("step", fontsize=8.5, color=_FAINT, loc="right", labelpad=1)
    axes.tick_params(colors=_FAINT, labelsize=8.5, length=0)
    axes.grid(axis="y", color=_EDGE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_EDGE)


def _label_heights(axes: Axes, panel: _Panel) -> list[float]:
    """Where each label goes, as a fraction of the axes: beside its line's end, but never on another label."""
    low, high = axes.get_ylim()
    apart = 0.11
    wanted = [(line.values[-1] - low) / ((high - low) or 1.0) for line in panel.lines]
    heights = list(wanted)
    placed = -math.inf
    for index in sorted(range(len(wanted)), key=wanted.__getitem__):
        placed = heights[index] = max(wanted[index], placed + apart)
    drift = sum(heights) / len(heights) - sum(wanted) / len(wanted)  # labels that were pushed up come down together
    return [height - drift for height in heights]
