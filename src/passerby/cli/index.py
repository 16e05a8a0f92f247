"""`passerby index`: pictures, and people in videos, become a gallery that can be searched.

Started by ``torchrun`` or ``accelerate launch``, each process indexes its share and the first one reports.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Annotated

import typer

from passerby.cli.terminal import counting, printable
from passerby.errors import ConfigError, DataError

if TYPE_CHECKING:
    from passerby.gallery import AddReport, Gallery, Progress, Sighting
    from passerby.gallery.shards import Together

#: The shipped model, which is used when a new gallery names none.
DEFAULT_MODEL = "street"
_MOST_REASONS = 20


def index(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="Folders, searched recursively, files, globs in quotes, CSV or JSONL tables, videos, streams.",
        ),
    ],
    gallery: Annotated[str, typer.Option(help="A folder, exact:FOLDER or http://HOST:6333/NAME; made if it is new.")],
    model: Annotated[
        str | None,
        typer.Option(help="A checkpoint folder, hf:org/name@rev or a shipped model's name. [default: street]"),
    ] = None,
    frames: Annotated[bool, typer.Option("--frames", help="Pictures are whole frames: cut the people out.")] = False,
    camera: Annotated[str | None, typer.Option(help="Name of the videos' camera. [default: from file names]")] = None,
    start_time: Annotated[
        str | None, typer.Option(help="When the video began, ISO 8601. [default: from the file's time]")
    ] = None,
    every: Annotated[float, typer.Option(help="Seconds between two frames that are looked at.")] = 0.2,
    per_passage: Annotated[int, typer.Option(help="Crops kept of each person who passes.")] = 4,
    detector: Annotated[str, typer.Option(help="Finds people: hog, torchvision or torchvision:MODEL.")] = "hog",
    detector_weights: Annotated[
        str | None, typer.Option(help="Name of torchvision's weights, or a file. [default: torchvision's best]")
    ] = None,
    crops: Annotated[str | None, typer.Option(help="Folder for crops. [default: GALLERY.crops]")] = None,
    stop_after: Annotated[float | None, typer.Option(help="Seconds after which streams are left.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Put pictures, and people in videos, into a gallery. What is there is recognised; an interrupted run continues."""
    from passerby.cli.footage import Asked, as_values, settings_of, show, watch
    from passerby.gallery import AddReport
    from passerby.gallery.shards import together
    from passerby.gallery.sources import find_pictures
    from passerby.ingest import sort_sources
    from passerby.ingest.run import joined

    # All of it before anything is made: a typing error must not leave an empty gallery.
    footage = sort_sources(sources)
    pictures = find_pictures(footage.pictures) if footage.pictures else []
    asked = Asked(frames, camera, start_time, every, per_passage, detector, detector_weights, crops, stop_after)
    settings, part = settings_of(asked, footage, gallery), together(os.environ)
    if part is not None and settings is not None:
        raise ConfigError("videos, streams and frames are watched by one process; start passerby without a launcher")
    started = time.monotonic()
    report, watched = AddReport(0, 0, 0, 0, ()), None
    if pictures and not frames:
        report = _index_pictures(gallery, model, pictures, part)
    if settings is not None:  # after the pictures, because a stream may have no end
        with _open_or_create(gallery, model) as target:
            watched = watch(target, footage, settings, pictures if frames else [])
        report = joined(report, watched.added)
    seconds = time.monotonic() - started
    if part is not None and part.rank:
        typer.echo(f"process {part.rank} of {part.world}: {_counts(report)}, in {seconds:.1f} s", err=True)
        return
    held, place = _size_of(gallery)
    if as_json:
        record = _as_json(report, held, place, seconds)
        typer.echo(json.dumps(record | ({} if watched is None else {"watched": as_values(watched)}), indent=2))
    else:
        if watched is not None:
            show(watched)
        _show(report, held, place, seconds)
    seen = watched is not None and any(at.finished for at in watched.watched)
    if not report.added and not report.already_there and not seen:
        files = len(pictures) + len(footage.videos) + len(footage.streams)
        raise DataError(
            f"nothing could be read of {files:,} {'file' if files == 1 else 'files'}; "
            f"why, is said {'in the report' if as_json else 'above'}"
        )


def _index_pictures(address: str, model: str | None, pictures: list[Sighting], part: Together | None) -> AddReport:
    with counting("indexing") as count:

        def progress(at: Progress) -> None:
            count(at.done, at.total, f"{at.unreadable:,} unreadable" if at.unreadable else "")

        if part is None:
            return _index_alone(address, model, pictures, progress)
        return _index_share(address, model, pictures, part, progress)


def _index_alone(address: str, model: str | None, pictures: list[Sighting], progress: object) -> AddReport:
    with _open_or_create(address, model) as target:
        try:
            return target.add(pictures, progress)  # type: ignore[arg-type]
        except KeyboardInterrupt:
            typer.echo(f"{len(target):,} pictures are in the gallery; the same command continues", err=True)
            raise


def _index_share(
    address: str, model: str | None, pictures: list[Sighting], part: Together, progress: object
) -> AddReport:
    from passerby.gallery.gallery import _load
    from passerby.gallery.shards import index_together

    return index_together(address, _load(model or DEFAULT_MODEL), pictures, part, progress)  # type: ignore[arg-type]


def _open_or_create(address: str, model: str | None) -> Gallery:
    from passerby.gallery import Gallery
    from passerby.gallery.store import exists

    return Gallery.open(address, model) if exists(address) else Gallery.create(address, model or DEFAULT_MODEL)


def _size_of(address: str) -> tuple[int, str]:
    from passerby.gallery import Gallery

    with Gallery.open(address) as people:
        return len(people), people.address


def _counts(report: AddReport) -> str:
    followed = [f"{report.moved:,} of them moved"] if report.moved else []
    followed += [f"{report.updated:,} of them with something new to know"] if report.updated else []
    remark = f" ({', '.join(followed)})" if followed else ""
    return (
        f"{report.added:,} pictures added, {report.already_there:,} already there{remark}, "
        f"{len(report.unreadable):,} left out"
    )


def _show(report: AddReport, held: int, place: str, seconds: float) -> None:
    for _, reason in report.unreadable[:_MOST_REASONS]:
        typer.echo(f"left out: {printable(reason)}", err=True)
    if len(report.unreadable) > _MOST_REASONS:
        typer.echo(f"left out: {len(report.unreadable) - _MOST_REASONS:,} more; --json lists them all", err=True)
    typer.echo(f"{_counts(report)}, in {seconds:.1f} s")
    hint = f"; search them: passerby search {place} 'a woman in a red coat'" if held else ""
    typer.echo(f"{place} holds {held:,} pictures{hint}")


def _as_json(report: AddReport, held: int, place: str, seconds: float) -> dict[str, object]:
    return {
        "gallery": place,
        "pictures": held,
        "added": report.added,
        "already_there": report.already_there,
        "moved": report.moved,
        "updated": report.updated,
        "unreadable": [{"path": str(path), "reason": reason} for path, reason in report.unreadable],
        "seconds": round(seconds, 3),
    }
