"""From sources to a gallery: each video, stream and folder of frames in turn, its crops added as they are found.

A source that cannot be read is listed with its reason and does not stop the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from passerby.errors import ConfigError, DataError
from passerby.gallery import AddReport, Gallery, Sighting
from passerby.gallery.store import parse_address
from passerby.ingest.detection import Detector
from passerby.ingest.footage import without_secrets
from passerby.ingest.frames import crops_of_frames
from passerby.ingest.passages import Looking
from passerby.ingest.sources import Footage
from passerby.ingest.watching import Tell, Watched, Watching


@dataclass(frozen=True, slots=True)
class Ingesting:
    """What is decided once for all sources of a run.

    Attributes:
        detector: finds people.
        crops: the folder that crops are written to.
        looking: how frames of videos are looked at.
        camera: name of the camera, or None for what file names say.
        start: when the one video began, seconds since the epoch, or None for its file's time.
        stop_after: seconds after which a stream is left, or None.
    """

    detector: Detector
    crops: Path
    looking: Looking = field(default_factory=Looking)
    camera: str | None = None
    start: float | None = None
    stop_after: float | None = None


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What became of videos, streams and frames: how far each came, and what the gallery took of their crops."""

    watched: tuple[Watched, ...]
    added: AddReport


def ingest(
    gallery: Gallery,
    footage: Footage,
    settings: Ingesting,
    frames: Iterable[Sighting] = (),
    tell: Tell = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
) -> IngestReport:
    """Put the people of videos, streams and frames into a gallery.

    Args:
        gallery: where they go.
        footage: videos and streams; its pictures are not looked at here.
        settings: detector, folder of crops and the rest.
        frames: pictures that are whole frames.
        tell: called after each frame.
        say: called with a sentence about each drop of a stream.

    Raises:
        ConfigError: a start time was given for more or less than one video.
        GalleryError: the gallery or the crops cannot be written.
    """
    if settings.start is not None and (len(footage.videos), len(footage.streams)) != (1, 0):
        raise ConfigError(
            f"a start time belongs to one video, and there are {len(footage.videos)} videos and "
            f"{len(footage.streams)} streams; index one video at a time, or leave the time to the files"
        )
    taking = _Taking(gallery, tell)
    watching = Watching(settings.detector, settings.looking, settings.crops, settings.camera, settings.start)
    for path in footage.videos:
        taking.take(path, watching.video(path, taking.hear))
    pictures = list(frames)
    if pictures:
        cut = crops_of_frames(pictures, settings.detector, settings.crops, settings.camera, taking.hear, taking.refuse)
        taking.take(Path("frames"), cut)
    for url in footage.streams:
        crops = watching.stream(url, taking.hear, say, settings.stop_after)
        taking.take(Path(without_secrets(url)), crops)
    return taking.report()


def crops_folder(address: str, named: str | None) -> Path:
    """Where the crops of a gallery's videos go: what a user named, or beside the gallery's folder.

    Raises:
        ConfigError: the gallery is on a server, and no folder was named.
    """
    if named is not None:
        return Path(named).expanduser().absolute()
    folder = parse_address(address).folder
    if folder is None:
        raise ConfigError(f"the gallery {address} has no folder to put crops beside; name one with --crops")
    return folder.with_name(f"{folder.name}.crops")


class _Taking:
    """Adds up what the sources give."""

    def __init__(self, gallery: Gallery, tell: Tell) -> None:
        self._gallery, self._tell = gallery, tell
        self._watched: dict[str, Watched] = {}
        self._refused: list[tuple[Path, str]] = []
        self._added = AddReport(0, 0, 0, 0, ())

    def hear(self, watched: Watched) -> None:
        self._watched[watched.source] = watched
        self._tell(watched)

    def refuse(self, path: Path, reason: str) -> None:
        self._refused.append((path, reason))

    def take(self, source: Path, batches: Iterable[list[Sighting]]) -> None:
        try:
            for batch in batches:
                if batch:
                    self._added = joined(self._added, self._gallery.add(batch))
        except DataError as error:
            self.refuse(source, str(error))

    def report(self) -> IngestReport:
        added = replace(self._added, unreadable=(*self._refused, *self._added.unreadable))
        return IngestReport(tuple(self._watched.values()), added)


def joined(one: AddReport, other: AddReport) -> AddReport:
    """What became of the files of two reports."""
    return AddReport(
        one.added + other.added,
        one.already_there + other.already_there,
        one.moved + other.moved,
        one.updated + other.updated,
        one.unreadable + other.unreadable,
    )
