"""What goes into a gallery and what comes out of it, as plain records.

The gallery knows the model only as an `Encoder`: anything that turns pictures and sentences into unit vectors of one
space and has a fingerprint will do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from passerby.data.records import PersonImage
from passerby.gallery.filters import FIELDS, Value


class SizedInput(Protocol):
    """The part of a model's preprocessing that the gallery needs: how large pictures must be at least."""

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        ...


class Tokenized(Protocol):
    """The part of a tokenised text that the gallery needs: whether all of it was read."""

    @property
    def ids(self) -> np.ndarray:
        """(B, L) int64."""
        ...

    @property
    def truncated(self) -> tuple[int, ...]:
        """Rows that were cut to the context length."""
        ...

    @property
    def unknown(self) -> np.ndarray:
        """(B,) how many tokens the vocabulary does not have."""
        ...


class Encoder(Protocol):
    """What a model must offer to fill and to search a gallery; `passerby.Retriever` does."""

    @property
    def name(self) -> str:
        """What to load to get this model again: a folder, ``hf:org/name@rev`` or a shipped model's name."""
        ...

    @property
    def dim(self) -> int:
        """Length of the vectors."""
        ...

    @property
    def fingerprint(self) -> str:
        """Digest of everything that decides the vectors."""
        ...

    @property
    def preprocessing(self) -> SizedInput:
        """What happens to pictures before the tower."""
        ...

    def encode_images(self, images: Sequence[np.ndarray], /) -> np.ndarray:
        """(H, W, 3) uint8 arrays in, (N, D) float32 unit vectors out."""
        ...

    def encode_texts(self, texts: list[str], /) -> np.ndarray:
        """Sentences in, (N, D) float32 unit vectors out."""
        ...

    def tokenize(self, texts: list[str], /) -> Tokenized:
        """What `encode_texts` reads of the sentences."""
        ...


@dataclass(frozen=True, slots=True)
class Picture:
    """One person image of a gallery.

    Attributes:
        id: digest of the file's bytes, 32 hexadecimal digits; the same on every machine and under every name.
        path: where the file was when it was last indexed.
        camera: the camera's name, or None.
        time: seconds since the epoch, or None.
        person: the identity, or None where nobody knows it.
        track: the passage past one camera that it belongs to, or None.
        source: the folder, table or video that it came from, or None.
        metadata: whatever else is known, text or numbers by name; see `passerby.gallery.filters.metadata_of`.
    """

    id: str
    path: Path
    camera: str | None = None
    time: float | None = None
    person: int | None = None
    track: str | None = None
    source: str | None = None
    metadata: Mapping[str, Value] = field(default_factory=dict)

    def get(self, name: str) -> Value | None:
        """What the picture holds under a name, be it a field of every picture or metadata."""
        return getattr(self, name) if name in FIELDS else self.metadata.get(name)

    def known(self) -> dict[str, Any]:
        """What is known about the picture, as JSON values."""
        return {name: getattr(self, name) for name in FIELDS} | {"metadata": dict(self.metadata)}


@dataclass(frozen=True, slots=True)
class Sighting:
    """A picture to be indexed: the record of a data set, and what else its finder knows about it.

    Attributes:
        image: file, camera, time and identity.
        track: the passage past one camera that it belongs to, or None.
        source: what it came from, or None for the folder that it lies in.
        metadata: text or numbers by name.
    """

    image: PersonImage
    track: str | None = None
    source: str | None = None
    metadata: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """All that a store keeps of one picture: what is known, its (D,) unit vector and its thumbnail, a JPEG."""

    picture: Picture
    vector: np.ndarray
    thumbnail: bytes


@dataclass(frozen=True, slots=True)
class SeenFile:
    """A file as an earlier run saw it: size in bytes, time of change in nanoseconds, id of its content."""

    path: Path
    size: int
    changed: int
    id: str


#: How good a match is, by what the gallery itself gives to descriptions of nobody; see `passerby.gallery.bands`.
BANDS = ("strong", "weak", "none")


@dataclass(frozen=True, slots=True)
class Hit:
    """One answer of a search.

    Attributes:
        picture: what the gallery knows about it.
        score: cosine between query and picture; after re-ranking, the re-ranker's score.
        band: "strong", "weak" or "none": how far the score stands out in this gallery.
        others: ids of the other pictures of the same group that were found, best first; empty without grouping.
    """

    picture: Picture
    score: float
    band: str
    others: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The picture's id."""
        return self.picture.id

    @property
    def path(self) -> Path:
        """Where the file was when it was last indexed."""
        return self.picture.path

    @property
    def camera(self) -> str | None:
        """The camera's name, or None."""
        return self.picture.camera

    @property
    def time(self) -> float | None:
        """Seconds since the epoch, or None."""
        return self.picture.time

    @property
    def person(self) -> int | None:
        """The identity, or None."""
        return self.picture.person

    def to_dict(self) -> dict[str, Any]:
        """The hit as JSON values; the command line and the service print this same record."""
        return {
            "id": self.id,
            "score": round(self.score, 6),
            "band": self.band,
            "path": str(self.path),
            **self.picture.known(),
            "others": list(self.others),
        }


class Hits(list[Hit]):
    """The answers of one search, best first.

    Attributes:
        warnings: what was done to the query, and why an answer is empty or not grouped.
        band: the best that a hit has, wherever a second stage has put it; "none" for an empty answer.
        seconds: how long each stage took: "encode", "search" and, where one was asked for, "rerank".
    """

    def __init__(
        self, hits: Iterable[Hit] = (), warnings: Sequence[str] = (), seconds: Mapping[str, float] | None = None
    ) -> None:
        """Keep the hits in the given order."""
        super().__init__(hits)
        self.warnings = tuple(warnings)
        self.seconds = dict(seconds or {})
        self.band = min((hit.band for hit in self), key=BANDS.index, default=BANDS[-1])


@dataclass(frozen=True, slots=True)
class Candidates:
    """What a second stage may look at: the pictures that the engine found (N of them), best first.

    Attributes:
        query: (D,) unit vector of the whole query.
        texts: sentences of the query.
        images: decoded pictures of the query, (H, W, 3) uint8 each.
        pictures: the candidates.
        vectors: (N, D) their unit vectors.
        scores: (N,) their cosines with the query.
    """

    query: np.ndarray
    texts: tuple[str, ...]
    images: tuple[np.ndarray, ...]
    pictures: tuple[Picture, ...]
    vectors: np.ndarray
    scores: np.ndarray


class Reranker(Protocol):
    """A second stage that orders the best candidates of the engine anew.

    Attributes:
        name: what it is called in answers and errors.
        depth: number of candidates that it looks at.
    """

    name: str
    depth: int

    def rerank(self, candidates: Candidates) -> np.ndarray:
        """(N,) finite scores, larger is better; hits are ordered by them."""
        ...


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an indexing run has come; `done` of `total` files are decided, one way or the other."""

    done: int
    total: int
    added: int
    already_there: int
    unreadable: int


@dataclass(frozen=True, slots=True)
class AddReport:
    """What became of the files of one `Gallery.add`.

    Attributes:
        added: pictures that are new in the gallery.
        already_there: files whose content the gallery had, wherever it had found it.
        moved: those of them whose old path is gone; the gallery now knows the new one.
        updated: those of them about which something new was said, such as a camera or metadata.
        unreadable: (path, reason) of each file that could not be used.
    """

    added: int
    already_there: int
    moved: int
    updated: int
    unreadable: tuple[tuple[Path, str], ...]


@dataclass(frozen=True, slots=True)
class GalleryInfo:
    """What a gallery is: its size, its engine, and the model it is bound to; `engine_state` says how it searches."""

    address: str
    engine: str
    engine_state: str
    pictures: int
    cameras: dict[str, int]
    sources: dict[str, int]
    dim: int
    model: str
    fingerprint: str
    created: str
    format_version: int
    bytes_on_disk: int

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}
