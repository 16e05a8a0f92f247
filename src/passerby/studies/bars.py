"""Bars for a page: figures drawn as inline SVG, each beside its name and its number.

Only the strips are SVG, and they are measured in percent of their column, so that the words keep their size on a
phone. Colours come from the page's style sheet by class (``bars.css`` lies beside the templates), which lets one
drawing serve light, dark and paper.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from passerby.errors import ConfigError, nearest

#: How a strip is coloured: the figure that matters, one to compare with, one fainter still.
TONES = ("accent", "plain", "faint")
_HEIGHT = 16


@dataclass(frozen=True, slots=True)
class Strip:
    """One value drawn as a length.

    Attributes:
        value: the length, from 0 to the chart's maximum.
        text: the value as it is read, with its unit.
        tone: one of `TONES`.
        interval: low and high end of a whisker over the strip, or None.
    """

    value: float
    text: str
    tone: str = "plain"
    interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Bar:
    """One name with its strips, one under the other, and a fainter note under the name."""

    label: str
    strips: tuple[Strip, ...]
    note: str = ""


def bar_chart(bars: Sequence[Bar], *, maximum: float | None = None) -> str:
    """Return the HTML of a bar chart; every text in it is escaped.

    Args:
        bars: from top to bottom.
        maximum: the value of a full strip; the largest value or whisker when None.

    Raises:
        ConfigError: a value is negative, not finite or above `maximum`, or a tone is unknown.
    """
    strips = [strip for bar in bars for strip in bar.strips]
    for strip in strips:
        _check(strip, maximum)
    reach = maximum or max((max(strip.value, *(strip.interval or (0.0,))) for strip in strips), default=0.0) or 1.0
    rows = []
    for bar in bars:
        note = f'<span class="bar-note">{escape(bar.note)}</span>' if bar.note else ""
        drawn = "".join(
            f'<div class="bar-strip">{_svg(strip, reach)}<span class="bar-text">{escape(strip.text)}</span></div>'
            for strip in bar.strips
        )
        rows.append(f'<div class="bar"><dt>{escape(bar.label)}{note}</dt><dd>{drawn}</dd></div>')
    return f'<dl class="bars">{"".join(rows)}</dl>'


def _check(strip: Strip, maximum: float | None) -> None:
    values = (strip.value, *(strip.interval or ()))
    if not all(math.isfinite(value) and 0 <= value <= (maximum or math.inf) for value in values):
        limit = "0 or more" if maximum is None else f"from 0 to {maximum}"
        raise ConfigError(f"a bar's strip {strip.text!r} has the values {values}; expected finite numbers, {limit}")
    if strip.tone not in TONES:
        raise ConfigError(
            f"a bar's tone is {strip.tone!r}; expected one of {', '.join(TONES)}.{nearest(strip.tone, TONES)}"
        )


def _svg(strip: Strip, reach: float) -> str:
    def percent(value: float) -> str:
        return f"{100 * value / reach:.2f}%"

    middle = _HEIGHT // 2
    whisker = ""
    if strip.interval is not None:
        low, high = map(percent, strip.interval)
        ends = "".join(f'<line x1="{x}" x2="{x}" y1="{middle - 4}" y2="{middle + 4}"/>' for x in (low, high))
        whisker = f'<g class="bar-whisker"><line x1="{low}" x2="{high}" y1="{middle}" y2="{middle}"/>{ends}</g>'
    return (
        f'<svg width="100%" height="{_HEIGHT}" aria-hidden="true">'
        f'<rect class="bar-track" width="100%" height="{_HEIGHT}" rx="3"/>'
        f'<rect class="bar-{strip.tone}" width="{percent(strip.value)}" height="{_HEIGHT}" rx="3"/>{whisker}</svg>'
    )
