"""`passerby gallery`: what a gallery holds, how to take something out of it, and how to keep, check and move it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from passerby.cli.lazy import PLAIN
from passerby.cli.terminal import counting, printable
from passerby.errors import ConfigError, GalleryError

if TYPE_CHECKING:
    from passerby.gallery import Filter, Gallery

command = typer.Typer(
    name="gallery",
    help="Show, list, delete, check, copy or speed up what a gallery holds.",
    no_args_is_help=True,
    **PLAIN,
)

_ADDRESS = typer.Argument(metavar="GALLERY", help="The gallery's folder, or http://HOST:6333/NAME.")
_JSON = typer.Option("--json", help="Print JSON.")
_WHERE = typer.Option(help="Only pictures that pass: 'camera == \"c2\" and person in [3, 4]'.")
_MOST_SHOWN = 20


@command.command()
def info(gallery: Annotated[str, _ADDRESS], as_json: Annotated[bool, _JSON] = False) -> None:
    """Show size, engine and model of a gallery."""
    from passerby.gallery import Gallery

    with Gallery.open(gallery) as people:
        facts = people.info()
        fields = people.metadata_fields()
    if as_json:
        typer.echo(json.dumps(facts.to_dict() | {"metadata_fields": fields}, indent=2))
        return
    for name, value in (
        ("gallery", facts.address),
        ("pictures", f"{facts.pictures:,}"),
        ("cameras", _some(facts.cameras)),
        ("sources", _some(facts.sources)),
        ("metadata", ", ".join(fields) or "none"),
        ("engine", f"{facts.engine}, {facts.dim} dimensions: {facts.engine_state}"),
        ("model", f"{facts.model} ({facts.fingerprint[:12]})"),
        ("created", f"{facts.created}, format {facts.format_version}"),
        ("on disk", f"{facts.bytes_on_disk / 1e6:,.1f} MB"),
    ):
        typer.echo(f"{name:9} {value}")


@command.command(name="list")
def list_pictures(
    gallery: Annotated[str, _ADDRESS],
    where: Annotated[str | None, _WHERE] = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """List the pictures of a gallery: id, camera and path; as JSON, one object on each line."""
    from passerby.gallery import Gallery

    with Gallery.open(gallery) as people:
        for picture in people.pictures(where):
            if as_json:
                typer.echo(json.dumps({"id": picture.id, "path": str(picture.path)} | picture.known()))
            else:
                typer.echo(f"{picture.id}\t{printable(picture.camera or '')}\t{printable(str(picture.path))}")


@command.command()
def delete(
    gallery: Annotated[str, _ADDRESS],
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID", help="Ids as `search` and `list` print them.")
    ] = None,
    where: Annotated[str | None, _WHERE] = None,
    source: Annotated[
        list[str] | None, typer.Option(help="Everything from this folder, table or video; repeatable.")
    ] = None,
    identity: Annotated[list[int] | None, typer.Option(help="Every picture of this person; repeatable.")] = None,
) -> None:
    """Erase pictures from a gallery: vectors, metadata and thumbnails. The picture files stay."""
    from passerby.gallery import Gallery

    chosen = _chosen(where, source, identity)
    if bool(ids) == (chosen is not None):
        raise typer.BadParameter("give either ids, or --where, --source and --identity", param_hint="ID")
    with Gallery.open(gallery) as people:
        erased = people.delete(ids or []) if chosen is None else people.delete(chosen)
        left = len(people)
    if ids:
        typer.echo(f"{erased:,} of {len(set(ids)):,} pictures erased; {left:,} are left")
    else:
        what = f"{erased:,} of {erased:,} pictures erased" if erased else "no picture passes, so nothing was erased"
        typer.echo(f"{what}; {left:,} are left")


@command.command()
def optimize(
    gallery: Annotated[str, _ADDRESS],
    graph: Annotated[
        bool, typer.Option("--graph", help="Build an HNSW graph too: for a million pictures and more; takes long.")
    ] = False,
) -> None:
    """Bring every picture into the engine's index, which makes searching large galleries fast."""
    from passerby.gallery import Gallery

    with Gallery.open(gallery) as people:
        people.optimize(graph)
        state = people.info().engine_state
    typer.echo(f"{gallery}: {state}")


@command.command()
def verify(gallery: Annotated[str, _ADDRESS], as_json: Annotated[bool, _JSON] = False) -> None:
    """Compare every row, vector and thumbnail with its checksum."""
    from passerby.gallery import Gallery

    with Gallery.open(gallery) as people:
        found, pictures = people.verify(), len(people)
    if as_json:
        typer.echo(json.dumps({"gallery": gallery, "pictures": pictures, "problems": found}, indent=2))
    else:
        for problem in found[:_MOST_SHOWN]:
            typer.echo(printable(problem), err=True)
    if found:
        raise GalleryError(f"{gallery} has {len(found):,} damaged parts; restore it from a snapshot, or index again")
    if not as_json:
        typer.echo(f"{pictures:,} pictures are whole")


@command.command()
def snapshot(
    gallery: Annotated[str, typer.Argument(metavar="GALLERY", help="The gallery's folder.")],
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="A folder that does not exist or is empty.")],
) -> None:
    """Copy a gallery's folder as it is at this moment, and check the copy."""
    _copy_folder(gallery, target, "snapshot")


@command.command()
def restore(
    source: Annotated[str, typer.Argument(metavar="SNAPSHOT", help="A folder that `snapshot` made.")],
    gallery: Annotated[Path, typer.Argument(metavar="GALLERY", help="A folder that does not exist or is empty.")],
) -> None:
    """Make a gallery out of a snapshot, which stays as it is."""
    _copy_folder(source, gallery, "gallery")


@command.command()
def copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help="A gallery: folder, exact:FOLDER or a server's.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="Another one, of any engine; made if it is new.")],
) -> None:
    """Copy a gallery to another engine or place, and verify it; an interrupted copy continues."""
    from passerby.gallery import Gallery
    from passerby.gallery.copying import copy_rows, verify_copy

    with Gallery.open(source) as old, _opened_like(target, old) as new:
        if new.address == old.address:
            raise ConfigError(f"{source} and {target} are the same gallery; name another place to copy to")
        with counting("copying") as count:
            copied = copy_rows(old.store, new.store, lambda done, total: count(done, total, ""))
        with counting("verifying") as count:
            verify_copy(old.store, new.store, lambda done, total: count(done, total, ""))
        with new.store.writing():
            new.settle()
        held = len(new)
    typer.echo(f"{copied:,} pictures copied and verified; {target} holds {held:,}")


def _opened_like(address: str, other: Gallery) -> Gallery:
    from passerby.gallery import Gallery
    from passerby.gallery.store import exists

    return Gallery.open(address) if exists(address) else Gallery.create_like(address, other)


def _copy_folder(source: str, target: Path, what: str) -> None:
    from passerby.gallery.snapshots import copy_folder
    from passerby.gallery.store import parse_address

    folder = parse_address(source).folder
    if folder is None:
        raise ConfigError(f"{source} is on a server; copy it into a folder: passerby gallery copy {source} {target}")
    pictures = copy_folder(folder, target.expanduser().absolute())
    typer.echo(f"{what} of {pictures:,} pictures: {target}")


def _chosen(where: str | None, sources: list[str] | None, identities: list[int] | None) -> Filter | None:
    from passerby.gallery import Filter, parse_where

    parts = [parse_where(where)] if where is not None else []
    parts += [Filter.of(sources=_as_stored(sources))] if sources else []
    parts += [Filter.of(identities=identities)] if identities else []
    combined = parts[0] if parts else None
    for part in parts[1:]:
        combined = part if combined is None else combined & part
    return combined


def _as_stored(sources: list[str]) -> list[str]:
    """Sources as they are typed, which is how tables name them, and as whole paths, which is how folders are kept."""
    return [name for source in sources for name in (source, str(Path(source).expanduser().absolute()))]


def _some(counts: dict[str, int]) -> str:
    shown = [f"{printable(name)} {count:,}" for name, count in list(counts.items())[:_MOST_SHOWN]]
    more = [f"and {len(counts) - _MOST_SHOWN:,} more"] if len(counts) > _MOST_SHOWN else []
    return ", ".join([*shown, *more]) or "none named"
