"""What a stranger may have called a picture; in a module of its own, because every folder of tests has a `conftest`."""

from __future__ import annotations

from colour_encoder import jpeg, person
from passerby.data.records import PersonImage
from passerby.gallery import Sighting

#: What a stranger may have called a file, a camera and a track.
HOSTILE = "<img src=x onerror=alert(1)>\"'{{7*7}}"


def hostile_sighting(folder):
    """A picture whose every word is an attack; a file's name cannot hold a slash."""
    folder.mkdir()
    file = folder / f"{HOSTILE}.jpg"
    file.write_bytes(jpeg(person("white", "black", seed=4711)))
    image = PersonImage("hostile", file, None, HOSTILE, 1_700_000_000.0)
    return Sighting(image, HOSTILE, metadata={"note": HOSTILE})
