"""`passerby gallery`: what a gallery holds, and how to take something out of it."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from passerby.cli.terminal import printable

command = typer.Typer(
    name="gallery",
    help="Show, list or delete what a gallery holds.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

_ADDRESS = typer.Argument(metavar="GALLERY", help="The gallery's folder.")
_JSON = typer.Option("--json", help="Print JSON.")


@command.command()
def info(gallery: Annotated[str, _ADDRESS], as_json: Annotated[bool, _JSON] = False) -> None:
    """Show size, engine and model of a gallery."""
    from passerby.gallery import Gallery

    with Gallery.open(gallery) as people:
        facts = people.info()
    if as_json:
        typer.echo(json.dumps(facts.to_dict(), indent=2))
        return
    cameras = ", ".join(f"{printable(name)} {count:,}" for name, count in facts.cameras.items())
    for name, value in (
        ("folder", facts.path),
        ("pictures", f"{facts.pictures:,}"),
        ("cameras", cameras or "none named"),
        ("engine", f"{facts.engine}, {facts.dim} dimensions"),
        ("model", f"{facts.model} ({facts.fingerprint[:12]})"),
        ("created", facts.created),
        ("on disk", f"{facts.bytes_on_disk / 1e6:,.1f} MB"),
    ):
        typer.echo(f"{name:9} {value}")


@command.command(name="list")
def list_pictures(gallery: Annotated[str, _ADDRESS], as_json: Annotated[bool, _JSON] = False) -> None:
    """List the pictures of a gallery: id, camera and path; as JSON, one object on each line."""
    from passerby.gallery import Gallery

    with Gallery.open(gallery) as people:
        for picture in people:
            if as_json:
                record = {"id": picture.id, "path": str(picture.path), "camera": picture.camera}
                typer.echo(json.dumps(record | {"time": picture.time, "person": picture.person}))
            else:
                typer.echo(f"{picture.id}\t{picture.camera or ''}\t{printable(str(picture.path))}")


@command.command()
def delete(
    gallery: Annotated[str, _ADDRESS],
    ids: Annotated[list[str], typer.Argument(metavar="ID", help="Ids as `search` and `list` print them.")],
) -> None:
    """Erase pictures from a gallery: vectors, metadata and thumbnails. The picture files stay."""
    from passerby.gallery import Gallery

    with Gallery.open(gallery) as people:
        erased = people.delete(ids)
        left = len(people)
    typer.echo(f"{erased:,} of {len(set(ids)):,} pictures erased; {left:,} are left")
