"""Pictures that leave the service: thumbnails, larger crops, and selections as a table or an archive.

A client names pictures by id only; where their files lie, the gallery says. A file that has changed since it was
indexed is another picture and is not shown.
"""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from collections.abc import Sequence

from PIL import Image

from passerby.data.images import decode_image, read_image_file
from passerby.errors import DataError
from passerby.gallery import Gallery, Picture
from passerby.serve.schema import printable

_LONGEST_SIDE = 1_024
_QUALITY = 90
_COLUMNS = ("id", "path", "camera", "time", "person", "track", "source")
#: Letters with which a spreadsheet takes a cell for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def crop_of(gallery: Gallery, picture: Picture) -> bytes:
    """A JPEG of the picture itself, at most 1,024 pixels a side; its thumbnail where the file has gone or changed.

    What is sent is encoded anew, so that nothing that a file hides, such as where it was taken, goes along.

    Raises:
        GalleryError: neither file nor thumbnail can be read.
    """
    try:
        encoded = read_image_file(picture.path)
        if hashlib.sha256(encoded).hexdigest()[: len(picture.id)] != picture.id:
            return gallery.thumbnail(picture.id)
        image = Image.fromarray(decode_image(encoded, at_least=(_LONGEST_SIDE, _LONGEST_SIDE), name=picture.id))
    except DataError:
        return gallery.thumbnail(picture.id)
    image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def selection_table(pictures: Sequence[Picture]) -> bytes:
    """A CSV file of pictures with all that is known about them.

    A text that a spreadsheet would take for a formula gets a quotation mark in front of it.
    """
    fields = sorted({name for picture in pictures for name in picture.metadata})
    buffer = io.StringIO()
    table = csv.writer(buffer)
    table.writerow([*_COLUMNS, *fields])
    for picture in pictures:
        row = [picture.id, str(picture.path), *(picture.get(name) for name in (*_COLUMNS[2:], *fields))]
        table.writerow([_cell(value) for value in row])
    return buffer.getvalue().encode()


def selection_archive(gallery: Gallery, pictures: Sequence[Picture]) -> bytes:
    """A ZIP archive of the pictures, named by their ids, with their table beside them."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("pictures.csv", selection_table(pictures))
        for picture in pictures:
            archive.writestr(f"{picture.id}.jpg", crop_of(gallery, picture))
    return buffer.getvalue()


def _cell(value: str | int | float | None) -> str | int | float:
    if isinstance(value, str):
        text = printable(value)
        return f"'{text}" if text.startswith(_FORMULA) else text
    return "" if value is None else value
