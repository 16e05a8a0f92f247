"""What goes into a gallery and what comes out of it, as plain records.

The gallery knows the model only as an `Encoder`: anything that turns pictures and sentences into unit vectors of one
space and has a fingerprint will do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np


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
    """

    id: str
    path: Path
    camera: str | None = None
    time: float | None = None
    person: int | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """One answer of a search; `score` is the cosine between query and picture, `thumbnail` a small JPEG."""

    id: str
    score: float
    path: Path
    camera: str | None
    time: float | None
    person: int | None
    thumbnail: Path

    def to_dict(self) -> dict[str, Any]:
        """The hit as JSON values; the command line and the service print this same record."""
        return {
            "id": self.id,
            "score": round(self.score, 6),
            "path": str(self.path),
            "camera": self.camera,
            "time": self.time,
            "person": self.person,
            "thumbnail": str(self.thumbnail),
        }


class Hits(list[Hit]):
    """The answers of one search, best first; `warnings` says what was done to the query, if anything was."""

    def __init__(self, hits: Iterable[Hit] = (), warnings: Sequence[str] = ()) -> None:
        """Keep the hits in the given order."""
        super().__init__(hits)
        self.warnings = tuple(warnings)


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
        unreadable: (path, reason) of each file that could not be used.
    """

    added: int
    already_there: int
    moved: int
    unreadable: tuple[tuple[Path, str], ...]


@dataclass(frozen=True, slots=True)
class GalleryInfo:
    """What a gallery is: its size, its engine, and the model it is bound to."""

    path: Path
    engine: str
    pictures: int
    cameras: dict[str, int]
    dim: int
    model: str
    fingerprint: str
    created: str
    bytes_on_disk: int

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON values."""
        return {name: getattr(self, name) for name in self.__slots__} | {"path": str(self.path)}
