"""Several processes fill one gallery: each indexes its share of the files, the first one puts the shares together.

The shares follow from the files' names, so no process talks to another. A shard is an ordinary gallery beside the one
that is being made; a run that was killed finds the shards again, whatever its number of processes, and continues.
Galleries on a server need no shards: all processes write to them at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from passerby.errors import ConfigError, GalleryError
from passerby.gallery.copying import copy_rows, verify_copy
from passerby.gallery.gallery import Gallery
from passerby.gallery.indexing import Indexing
from passerby.gallery.manifest import MANIFEST
from passerby.gallery.records import AddReport, Encoder, Progress, Sighting
from passerby.gallery.seal import read_list, write_list
from passerby.gallery.space import writing
from passerby.gallery.store import exists, parse_address

_POLL_S = 0.2
#: How long the first process waits for another one that does nothing, in seconds: loading a model may take minutes.
_PATIENCE_S = 600.0

Report = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Together:
    """One process of several: `rank` of `world`, counted from 0."""

    rank: int
    world: int

    def mine(self, sightings: Sequence[Sighting], rank: int | None = None) -> list[Sighting]:
        """The share of one process, by default this one's."""
        wanted = self.rank if rank is None else rank
        return [one for one in sightings if _number(one.image.path) % self.world == wanted]


def together(environment: Mapping[str, str]) -> Together | None:
    """Which process of how many this is, as ``torchrun`` and ``accelerate launch`` say; None for a single one.

    Raises:
        ConfigError: RANK and WORLD_SIZE contradict each other.
    """
    rank, world = environment.get("RANK", "0"), environment.get("WORLD_SIZE", "1")
    if not rank.isdecimal() or not world.isdecimal() or int(rank) >= int(world):
        raise ConfigError(f"RANK is {rank!r} and WORLD_SIZE {world!r}; expected numbers, the rank the smaller one")
    return Together(int(rank), int(world)) if int(world) > 1 else None


def index_together(
    address: str, model: Encoder, sightings: Sequence[Sighting], part: Together, progress: Report | None = None
) -> AddReport:
    """Index this process's share; the first process waits for the others and merges what they made.

    Args:
        address: of the gallery that is being made or added to.
        model: its model.
        sightings: all pictures, the same in every process.
        part: which process this is.
        progress: called after each batch of this process's share.

    Returns:
        What became of this process's files; in the first process, of all files.

    Raises:
        GalleryError: the gallery belongs to another model, or another process ended without finishing its share.
    """
    place = parse_address(address)
    if place.folder is None:
        with _opened(address, model, part) as gallery:
            return gallery.add(part.mine(sightings), progress)
    shards = place.folder.with_name(f".{place.folder.name}.shards")
    with writing(place.folder.parent):
        shards.mkdir(parents=True, exist_ok=True)
    report = _index_share(shards, place.folder, model, part.mine(sightings), part, progress)
    if part.rank:
        return report
    reports = [_wait_for(shards, other, part, part.mine(sightings, other)) for other in range(part.world)]
    _merge(shards, address, place.folder, model)
    return AddReport(
        added=sum(one.added for one in reports),
        already_there=sum(one.already_there for one in reports),
        moved=sum(one.moved for one in reports),
        updated=sum(one.updated for one in reports),
        unreadable=tuple(refused for one in reports for refused in one.unreadable),
    )


def _index_share(
    shards: Path, main: Path, model: Encoder, mine: list[Sighting], part: Together, progress: Report | None
) -> AddReport:
    done = _done_file(shards, part.rank, part.world)
    finished = _finished(done, mine)
    if finished is not None:
        return finished
    done.unlink(missing_ok=True)
    folder = shards / f"{part.rank}-of-{part.world}"
    exists = (folder / MANIFEST).exists()
    with contextlib.ExitStack() as stack:
        shard = Gallery.open(folder, model) if exists else Gallery.create(f"exact:{folder}", model)
        stack.enter_context(shard)
        known = stack.enter_context(Gallery.open(main, model)).store if (main / MANIFEST).exists() else None
        with shard.store.writing():
            report = Indexing(shard.store, known).run(mine, model, progress)
    values = {name: getattr(report, name) for name in ("added", "already_there", "moved", "updated")}
    unreadable = [[str(path).encode(errors="replace").decode(), reason] for path, reason in report.unreadable]
    write_list(done, {"files": _digest(mine), "report": values, "unreadable": unreadable})
    return report


def _wait_for(shards: Path, rank: int, part: Together, theirs: list[Sighting]) -> AddReport:
    done = _done_file(shards, rank, part.world)
    stamp, since = 0.0, time.monotonic()
    while (report := _finished(done, theirs)) is None:
        catalogue = shards / f"{rank}-of-{part.world}" / "catalogue.sqlite"
        moved = catalogue.stat().st_mtime if catalogue.exists() else 0.0
        if moved != stamp:
            stamp, since = moved, time.monotonic()
        if time.monotonic() - since > _PATIENCE_S:
            raise GalleryError(
                f"process {rank} of {part.world} has done nothing for {_PATIENCE_S:.0f} s; look at its output, and "
                "give the same command again to continue"
            )
        time.sleep(_POLL_S)
    return report


def _merge(shards: Path, address: str, main: Path, model: Encoder) -> None:
    """Copy every shard, those of earlier runs too, into the gallery; remove them when all of it is verified."""
    exists = (main / MANIFEST).exists()
    with Gallery.open(address, model) if exists else Gallery.create(address, model) as target:
        for folder in sorted(path for path in shards.iterdir() if (path / MANIFEST).exists()):
            with Gallery.open(folder, model) as shard:
                copy_rows(shard.store, target.store)
                verify_copy(shard.store, target.store)
        with target.store.writing():
            target.settle()
    shutil.rmtree(shards)


def _opened(address: str, model: Encoder, part: Together) -> Gallery:
    """A gallery on a server, which the first process makes and the others wait for."""
    give_up = time.monotonic() + _PATIENCE_S
    while not exists(address):
        if not part.rank:
            return Gallery.create(address, model)
        if time.monotonic() > give_up:
            raise GalleryError(
                f"the first process has not made {address} within {_PATIENCE_S:.0f} s; look at its output"
            )
        time.sleep(_POLL_S)
    return Gallery.open(address, model)


def _finished(done: Path, mine: Sequence[Sighting]) -> AddReport | None:
    facts = read_list(done)
    if facts is None or facts.get("files") != _digest(mine):
        return None
    return AddReport(**facts["report"], unreadable=tuple((Path(path), reason) for path, reason in facts["unreadable"]))


def _digest(sightings: Sequence[Sighting]) -> str:
    """Changes when a file is added, removed or written."""
    digest = hashlib.sha256()
    for one in sightings:
        try:
            status = one.image.path.stat()
            state = f"{status.st_size}:{status.st_mtime_ns}"
        except OSError:
            state = "unreadable"
        digest.update(f"{one}|{state}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _done_file(shards: Path, rank: int, world: int) -> Path:
    return shards / f"{rank}-of-{world}.done"


def _number(path: Path) -> int:
    return int.from_bytes(hashlib.sha256(os.fsencode(path)).digest()[:8], "big")
