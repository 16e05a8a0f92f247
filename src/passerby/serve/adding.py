"""Adding pictures through the service, where its owner has named a folder for them.

A picture's file is named by the digest of its bytes, in that folder: nothing of what the client calls it becomes a
path.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, File, Form, UploadFile

from passerby.data.records import PersonImage
from passerby.errors import ConfigError, DataError
from passerby.gallery import Sighting
from passerby.serve.schema import Added
from passerby.serve.service import Service

_MOST_PICTURES = 100
_LONGEST_NAME = 256
_MAGIC = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png", b"RIFF": ".webp", b"BM": ".bmp"}


def adding_routes(service: Service, folder: Path) -> APIRouter:
    """The route that adds pictures; their files go into `folder`."""
    routes = APIRouter(prefix="/v1", tags=["writing"])

    @routes.post("/pictures", summary="Add pictures")
    async def add(
        image: Annotated[list[UploadFile], File(min_length=1, max_length=_MOST_PICTURES)],
        camera: Annotated[str | None, Form(max_length=_LONGEST_NAME)] = None,
        time: Annotated[float | None, Form(ge=0, le=2**40, allow_inf_nan=False)] = None,
        person: Annotated[int | None, Form(ge=0, le=2**53)] = None,
        track: Annotated[str | None, Form(max_length=_LONGEST_NAME)] = None,
    ) -> Added:
        if "\0" in (camera or "") + (track or ""):
            raise ConfigError("camera or track holds a NUL; remove it")
        pictures = [(each.filename or "picture", await each.read()) for each in image]

        def work() -> Added:
            files, refused = keep_pictures(folder, pictures, service.decode)
            sightings = [Sighting(PersonImage(file.name, file, person, camera, time), track) for file in files]
            if not sightings:
                return Added(added=0, already_there=0, unreadable=refused)
            report = service.gallery.add(sightings)
            refused += [f"{path.name}: {reason}" for path, reason in report.unreadable]
            return Added(added=report.added, already_there=report.already_there, unreadable=refused)

        return await service.write(work)

    return routes


def keep_pictures(
    folder: Path, pictures: list[tuple[str, bytes]], decode: Callable[[bytes, str], object]
) -> tuple[list[Path], list[str]]:
    """Write pictures that can be decoded into a folder; say why others were left out.

    Args:
        folder: made when missing.
        pictures: what the client calls each, and its bytes.
        decode: called with the bytes and a name; raises DataError where they cannot be decoded.

    Raises:
        DataError: the folder cannot be written.
    """
    files: list[Path] = []
    refused: list[str] = []
    for name, encoded in pictures:
        try:
            decode(encoded, repr(name))
        except DataError as error:
            refused.append(str(error))
            continue
        ending = next((ending for magic, ending in _MAGIC.items() if encoded.startswith(magic)), ".jpg")
        file = folder / f"{hashlib.sha256(encoded).hexdigest()[:32]}{ending}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file.write_bytes(encoded)
        except OSError as error:
            raise DataError(
                f"the folder for new pictures cannot be written: {error.strerror}; free space on it"
            ) from error
        files.append(file)
    return files, refused
