"""`passerby index`: folders of pictures become a gallery that can be searched."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from passerby.cli.terminal import counting, printable
from passerby.errors import DataError

if TYPE_CHECKING:
    from passerby.gallery import AddReport, Gallery

#: The shipped model, which is used when a new gallery names none.
DEFAULT_MODEL = "street"
_MOST_REASONS = 20


def index(
    sources: Annotated[list[Path], typer.Argument(metavar="SOURCE", help="Folders, searched recursively, or files.")],
    gallery: Annotated[str, typer.Option(help="A folder, or exact:FOLDER for the exact engine; made if it is new.")],
    model: Annotated[
        str | None,
        typer.Option(help="A checkpoint folder, hf:org/name@rev or a shipped model's name. [default: street]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Put pictures into a gallery. What is there already is recognised; an interrupted run continues."""
    from passerby.gallery.sources import find_pictures

    pictures = find_pictures(sources)  # before anything is made: a typing error must not leave an empty gallery
    started = time.monotonic()
    with _open_or_create(gallery, model) as target:
        try:
            with counting("indexing") as count:
                report = target.add(
                    pictures,
                    lambda at: count(at.done, at.total, f"{at.unreadable:,} unreadable" if at.unreadable else ""),
                )
        except KeyboardInterrupt:
            typer.echo(f"{len(target):,} pictures are in the gallery; the same command continues", err=True)
            raise
        seconds = time.monotonic() - started
        held, place = len(target), target.path
    if as_json:
        typer.echo(json.dumps(_as_json(report, held, place, seconds), indent=2))
    else:
        _show(report, held, place, seconds)
    if not report.added and not report.already_there:
        raise DataError(
            f"none of the {len(pictures):,} files could be read; the reasons are "
            f"{'in the report' if as_json else 'above'}"
        )


def _open_or_create(address: str, model: str | None) -> Gallery:
    from passerby.gallery import Gallery
    from passerby.gallery.engine import parse_address
    from passerby.gallery.manifest import MANIFEST

    folder = parse_address(address)[1].expanduser()
    if (folder / MANIFEST).exists():
        return Gallery.open(address, model)
    return Gallery.create(address, model or DEFAULT_MODEL)


def _show(report: AddReport, held: int, place: Path, seconds: float) -> None:
    for _, reason in report.unreadable[:_MOST_REASONS]:
        typer.echo(f"left out: {printable(reason)}", err=True)
    if len(report.unreadable) > _MOST_REASONS:
        typer.echo(f"left out: {len(report.unreadable) - _MOST_REASONS:,} more; --json lists them all", err=True)
    moved = f" ({report.moved:,} of them moved)" if report.moved else ""
    typer.echo(
        f"{report.added:,} pictures added, {report.already_there:,} already there{moved}, "
        f"{len(report.unreadable):,} left out, in {seconds:.1f} s"
    )
    typer.echo(f"{place} holds {held:,} pictures; search them: passerby search {place} 'a woman in a red coat'")


def _as_json(report: AddReport, held: int, place: Path, seconds: float) -> dict[str, object]:
    return {
        "gallery": str(place),
        "pictures": held,
        "added": report.added,
        "already_there": report.already_there,
        "moved": report.moved,
        "unreadable": [{"path": str(path), "reason": reason} for path, reason in report.unreadable],
        "seconds": round(seconds, 3),
    }
