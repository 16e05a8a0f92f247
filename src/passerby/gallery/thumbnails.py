"""Small JPEGs of a gallery's pictures, so that answers can be shown when the files have moved or are far away."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from passerby.errors import GalleryError
from passerby.gallery.space import writing

_LONGEST_SIDE = 256
_QUALITY = 85


def make_thumbnail(pixels: np.ndarray) -> bytes:
    """Encode (H, W, 3) uint8 pixels as a JPEG whose longer side is at most 256."""
    image = Image.fromarray(pixels)
    image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


class Thumbnails:
    """One file per picture under `root`, in 256 folders so that none of them grows unwieldy."""

    def __init__(self, root: Path) -> None:
        """Remember the folder; nothing is opened."""
        self._root = root

    def path(self, name: str) -> Path:
        """Where the thumbnail of a picture lies."""
        return self._root / name[:2] / f"{name}.jpg"

    def read(self, name: str) -> bytes:
        """The JPEG of a picture.

        Raises:
            GalleryError: the file is missing or cannot be read.
        """
        try:
            return self.path(name).read_bytes()
        except OSError as error:
            raise GalleryError(
                f"the thumbnail {self.path(name)} cannot be read ({error.strerror}); delete the picture from the "
                "gallery and index it again"
            ) from error

    def write(self, thumbnails: Iterable[tuple[str, bytes]]) -> None:
        """Write (id, JPEG) pairs; an interrupted batch is written again by the next run."""
        with writing(self._root.parent):
            for name, encoded in thumbnails:
                path = self.path(name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(encoded)

    def delete(self, ids: Iterable[str]) -> None:
        """Remove the files; those that are not there are no error."""
        with writing(self._root.parent):
            for name in ids:
                self.path(name).unlink(missing_ok=True)
