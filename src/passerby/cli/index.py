"""`passerby index`: pictures become a gallery that can be searched.

Started by ``torchrun`` or ``accelerate launch``, each process indexes its share and the first one reports.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Annotated

import typer

from passerby.cli.terminal import counting, printable
from passerby.errors import DataError

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
            metavar="SOURCE", help="Folders, searched recursively, files, globs in quotes, CSV or JSONL tables."
        ),
    ],
    gallery: Annotated[str, typer.Option(help="A folder, exact:FOLDER or http://HOST:6333/NAME; made if it is new.")],
    model: Annotated[
        str | None,
        typer.Option(help="A checkpoint folder, hf:org/name@rev or a shipped model's name. [default: street]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Put pictures into a gallery. What is there already is recognised; an interrupted run continues."""
    from passerby.gallery.shards import together
    from passerby.gallery.sources import find_pictures

    pictures = find_pictures(sources)  # before anything is made: a typing error must not leave an empty gallery
    part = together(os.environ)
    started = time.monotonic()
    with counting("indexing") as count:

        def progress(at: Progress) -> None:
            count(at.done, at.total, f"{at.unreadable:,} unreadable" if at.unreadable else "")

        report = (
            _index_alone(gallery, model, pictures, progress)
            if part is None
            else _index_share(gallery, model, pictures, part, progress)
        )
    seconds = time.monotonic() - started
    if part is not None and part.rank:
        typer.echo(f"process {part.rank} of {part.world}: {_counts(report)}, in {seconds:.1f} s", err=True)
        return
    held, place = _size_of(gallery)
    if as_json:
        typer.echo(json.dumps(_as_json(report, held, place, seconds), indent=2))
    else:
        _show(report, held, place, seconds)
    if not report.added and not report.already_there:
        raise DataError(
            f"none of the {len(pictures):,} files could be read; the reasons are "
            f"{'in the report' if as_json else 'above'}"
        )


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
    typer.echo(f"{place} holds {held:,} pictures; search them: passerby search {place} 'a woman in a red coat'")


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
