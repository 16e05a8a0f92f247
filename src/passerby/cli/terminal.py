"""What commands show while they work and how they print untrusted words: bars on a terminal, plain lines in a pipe.

Progress always goes to standard error, so that standard output holds results and nothing else.
"""

from __future__ import annotations

import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

#: Seconds between two lines of progress in a pipe.
_LINE_EVERY_S = 5.0

#: Called with (done, total, a short remark).
Counter = Callable[[int, int, str], None]


@contextmanager
def counting(activity: str, unit: str = "images") -> Iterator[Counter]:
    """Show a count with its rate and the time left.

    Args:
        activity: what is being done, in the present participle: "indexing".
        unit: what is counted.

    Yields:
        A function to call with (done, total, remark) as often as one likes.
    """
    if not sys.stderr.isatty():
        yield _plain_lines(activity, unit)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[remark]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task(activity, total=None, rate="", remark="")
        rate = _Rate()

        def show(done: int, total: int, remark: str) -> None:
            bars.update(bar, completed=done, total=total, rate=_pace(rate.of(done), unit), remark=remark)

        yield show


def printable(text: str) -> str:
    """The text without control characters: a file's name may hold escape sequences that would drive the terminal."""
    return "".join(letter if unicodedata.category(letter)[0] != "C" else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _plain_lines(activity: str, unit: str) -> Counter:
    rate = _Rate()
    last = 0.0

    def show(done: int, total: int, remark: str) -> None:
        nonlocal last
        now = time.monotonic()
        if done < total and now - last < _LINE_EVERY_S:
            return
        last = now
        speed = rate.of(done)
        left = f", {(total - done) / speed:,.0f} s left" if done < total and speed else ""
        pace = f", {_pace(speed, unit)}" if speed else ""
        tail = f", {remark}" if remark else ""
        typer.echo(f"{activity}: {done:,} of {total:,} {unit}{pace}{left}{tail}", err=True)

    return show


def _pace(speed: float, unit: str) -> str:
    """How many a second, or a minute where that is less than one: "12 images/s", "3.5 cells/min"; empty for none."""
    if not speed:
        return ""
    return f"{speed:,.0f} {unit}/s" if speed >= 1 else f"{60 * speed:,.1f} {unit}/min"


class _Rate:
    """Counts per second since the first call."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def of(self, done: int) -> float:
        return done / max(time.monotonic() - self._start, 1e-3)
