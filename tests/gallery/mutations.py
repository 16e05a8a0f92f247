"""Damages files of a gallery, and picture files, one at a time, and sees whether that is noticed.

Noticed means an error of ours, or, for the index, which can be made again, that it is left unused. Run as a program
it prints what it found, so that whoever started it can also tell a crash.
"""

from __future__ import annotations

import io
import json
import logging
import random
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from colour_encoder import ColourEncoder, person, write_people
from passerby.data.images import decode_image
from passerby.errors import DataError, PasserbyError
from passerby.gallery import Gallery, edge
from passerby.gallery.lock import LOCKS


def damaged(whole, chance):
    """One mutation: a flipped bit, a cut, zeros, other bytes, or something behind the end."""
    at = chance.randrange(len(whole)) if whole else 0
    length = min(len(whole) - at, chance.choice([1, 4, 64, 4096]))
    kind = chance.choice(["flip", "cut", "zeros", "noise", "longer"])
    if kind == "flip" and whole:
        return whole[:at] + bytes([whole[at] ^ (1 << chance.randrange(8))]) + whole[at + 1 :]
    if kind == "cut":
        return whole[:at]
    if kind == "zeros":
        return whole[:at] + bytes(length) + whole[at + length :]
    if kind == "noise":
        return whole[:at] + chance.randbytes(length) + whole[at + length :]
    return whole + chance.randbytes(chance.choice([1, 7, 4096]))


def answers(folder):
    """All that a user can get out of a gallery."""
    with Gallery.open(folder, ColourEncoder()) as gallery:
        found = [[(hit.id, round(hit.score, 4), hit.camera) for hit in gallery.search(text, k=5, keep_poor=True)]
                 for text in ("red", "green blue", "white black")]  # fmt: skip
        found.append([hit.id for hit in gallery.search("red", k=5, where='camera == "c2"', keep_poor=True)])
        found.append([(picture, gallery.thumbnail(picture.id)) for picture in gallery])
        return found, gallery.verify()


def of_gallery(folder, count, seed, indexed):
    """Damage a gallery `count` times; report what was noticed and what was not."""
    if indexed:
        edge._INDEX_FROM, edge._FEW = 10, 2
    logging.getLogger("passerby.gallery.edge").setLevel(logging.ERROR)
    chance = random.Random(seed)
    write_people(folder / "people", 40)
    place = folder / f"gallery-{indexed}"
    with Gallery.create(place, ColourEncoder()) as gallery:
        gallery.add(folder / "people")
    before, _ = answers(place)
    files = sorted(path for path in place.rglob("*") if path.is_file() and path.name not in LOCKS)
    groups: dict[str, list[Path]] = {}
    for path in files:
        kind = "edge" if "edge" in path.relative_to(place).parts else path.suffix
        groups.setdefault(kind, []).append(path)
    noticed, silent, done = {}, [], 0
    while done < count:
        kind = chance.choice(sorted(groups))
        path = chance.choice(groups[kind])
        whole = path.read_bytes()
        broken = damaged(whole, chance)
        if broken == whole:
            continue
        done += 1
        path.write_bytes(broken)
        try:
            found, problems = answers(place)
            if found != before:
                silent.append(f"{path.relative_to(place)}: other answers")
            elif not problems and kind != "edge" and path.name != "edge.json" and path.name != "bands.json":
                # what can be made again or ends in half a row that nobody was told of harms no answer
                name = path.name
                if not (name.endswith(".rows") and len(broken) > len(whole)):
                    silent.append(f"{path.relative_to(place)}: nothing said")
            else:
                noticed[f"{kind}, unused"] = noticed.get(f"{kind}, unused", 0) + 1
        except PasserbyError:
            noticed[kind] = noticed.get(kind, 0) + 1
        path.write_bytes(whole)
    if answers(place)[0] != before:
        silent.append("the whole gallery is not what it was")
    return {"files": done, "noticed": noticed, "silent": silent}


def of_pictures(count, seed):
    """Damage picture files; each has to be refused or to give pixels, and nothing else."""
    chance = random.Random(seed)
    wholes = {}
    for kind in ("JPEG", "PNG", "WEBP", "BMP"):
        stream = io.BytesIO()
        Image.fromarray(person("red", "blue", size=(96, 48))).save(stream, kind)
        wholes[kind] = stream.getvalue()
    noticed, silent = {}, []
    for _ in range(count):
        kind = chance.choice(sorted(wholes))
        try:
            pixels = decode_image(damaged(wholes[kind], chance), at_least=(24, 12))
            if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
                silent.append(f"{kind}: {pixels.dtype} {pixels.shape}")
            noticed[f"{kind}, still a picture"] = noticed.get(f"{kind}, still a picture", 0) + 1
        except DataError:
            noticed[kind] = noticed.get(kind, 0) + 1
        except Exception as error:
            silent.append(f"{kind}: {type(error).__name__}: {error}")
    return {"files": count, "noticed": noticed, "silent": silent}


if __name__ == "__main__":
    part, wanted, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    found = of_pictures(wanted, 5) if part == "pictures" else of_gallery(folder / part, wanted, 3, part == "indexed")
    sys.stdout.write(json.dumps(found))
