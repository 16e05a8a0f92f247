"""The part of `passerby index` that watches videos and streams: what was asked for, what is shown, what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from passerby.cli.terminal import Counter, counting, printable
from passerby.errors import ConfigError

if TYPE_CHECKING:
    from passerby.gallery import Gallery, Sighting
    from passerby.ingest import Footage, Ingesting, IngestReport, Watched

_LINE_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What the options of `passerby index` say about videos, streams and frames, as they were typed."""

    frames: bool
    camera: str | None
    start_time: str | None
    every: float
    per_passage: int
    detector: str
    weights: str | None
    crops: str | None
    stop_after: float | None


def settings_of(asked: Asked, footage: Footage, address: str) -> Ingesting | None:
    """Check the options and load the detector; None where there is nothing to watch.

    Raises:
        ConfigError: an option is wrong, or speaks of videos where there are none.
    """
    from passerby.ingest import Ingesting, Looking, crops_folder, open_detector
    from passerby.ingest.naming import parse_start

    if not (footage.videos or footage.streams or asked.frames):
        _refuse_options(asked)
        return None
    if asked.stop_after is not None and not asked.stop_after > 0:
        raise ConfigError(f"--stop-after is {asked.stop_after}; expected seconds above 0")
    if asked.start_time is not None and (len(footage.videos), len(footage.streams)) != (1, 0):
        raise ConfigError(
            f"--start-time belongs to one video, and there are {len(footage.videos)} videos and "
            f"{len(footage.streams)} streams; index one video at a time, or leave the time to the files"
        )
    if asked.camera is not None and not asked.camera.strip():
        raise ConfigError("--camera is empty; expected a name such as c1")
    return Ingesting(
        crops=crops_folder(address, asked.crops),
        looking=Looking(every=asked.every, most=asked.per_passage),
        camera=asked.camera,
        start=None if asked.start_time is None else parse_start(asked.start_time),
        stop_after=asked.stop_after,
        detector=open_detector(asked.detector, asked.weights),
    )


def watch(gallery: Gallery, footage: Footage, settings: Ingesting, frames: Sequence[Sighting]) -> IngestReport:
    """Watch everything, with a bar for each source on a terminal and a line now and then in a pipe."""
    from passerby.ingest import ingest

    def say(sentence: str) -> None:
        typer.echo(printable(sentence), err=True)

    with ExitStack() as bars:
        return ingest(gallery, footage, settings, frames, _telling(bars), say)


def _telling(bars: ExitStack) -> Callable[[Watched], None]:
    """Shows how far each source is, with a rate and a time left of its own."""
    last, source = time.monotonic(), None
    count: Counter | None = None

    def tell(at: Watched) -> None:
        nonlocal last, source, count
        name = printable(at.source)
        if at.of is None:  # nobody knows how long a stream will be
            if time.monotonic() - last >= _LINE_EVERY_S:
                last = time.monotonic()
                typer.echo(f"{at.frames:,} frames of {name}: {at.passages:,} passages", err=True)
            return
        if count is None or at.source != source:
            bars.close()
            source, count = at.source, bars.enter_context(counting(f"watching {name}", unit="frames"))
        count(at.frames, max(at.of, at.frames), f"{at.passages:,} passages")

    return tell


def show(report: IngestReport) -> None:
    """Print a line for each source."""
    for at in report.watched:
        state = "" if at.finished else ", not to its end"
        typer.echo(
            f"{printable(at.source)}: {at.passages:,} passages, {at.crops:,} crops of {at.frames:,} frames{state}"
        )
        if at.remark:
            typer.echo(f"{printable(at.source)}: {at.remark}", err=True)


def as_values(report: IngestReport) -> list[dict[str, Any]]:
    """The sources as JSON values."""
    names = ("source", "frames", "passages", "crops", "finished", "remark")
    return [{name: getattr(at, name) for name in names} for at in report.watched]


def _refuse_options(asked: Asked) -> None:
    given = {
        "--camera": asked.camera,
        "--start-time": asked.start_time,
        "--crops": asked.crops,
        "--detector-weights": asked.weights,
        "--stop-after": asked.stop_after,
    }
    said = [name for name, value in given.items() if value is not None]
    if said:
        raise ConfigError(
            f"{said[0]} is for videos, streams and --frames, and none of the sources is one; leave it out, or put what "
            "is known about pictures into a table"
        )
