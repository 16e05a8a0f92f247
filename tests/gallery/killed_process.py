"""A process that adds, deletes, optimises and copies without pause and says what was acknowledged, to be killed.

Used by the tests and, for many more kills, by `benchmarks/gallery.py`. The vector of a picture follows from its id,
so that whoever opens the gallery afterwards can tell whether a row is the one that was added.
"""

from __future__ import annotations

import hashlib
import random
import sys
from pathlib import Path

import numpy as np

from passerby.gallery import edge
from passerby.gallery.copying import copy_rows
from passerby.gallery.local import LocalStore
from passerby.gallery.manifest import Manifest
from passerby.gallery.records import Picture, Row
from passerby.gallery.store import parse_address

DIM = 32


def small_index():
    """Let the index be made for few rows, so that a kill meets it."""
    edge._INDEX_FROM, edge._LONGEST_TAIL, edge._FEW = 40, 20, 5


def picture_id(number):
    return hashlib.sha256(str(number).encode()).hexdigest()[:32]


def vector_of(name):
    row = np.random.default_rng(int(name[:8], 16)).normal(size=DIM).astype(np.float32)
    return row / np.linalg.norm(row)


def create(address):
    engine = parse_address(address).engine or "edge"
    return LocalStore.create(parse_address(address), Manifest(engine, DIM, "none", "00" * 32, "2026"))


def row_of(number):
    name = picture_id(number)
    return Row(Picture(name, Path(f"{number}.jpg"), camera=f"c{number % 3}"), vector_of(name), name.encode())


def work(address, start, seed):
    """Change the gallery for ever; one line for each thing that is done."""
    chance = random.Random(seed)
    small_index()
    number = start
    store = LocalStore.open(parse_address(address))
    copies = 0
    say("ready")
    while True:
        kind = chance.choice(["add", "add", "add", "delete", "optimize", "copy"])
        with store.writing():
            if kind == "add":
                rows = [row_of(at) for at in range(number, number + chance.randint(1, 30))]
                say("adding " + " ".join(row.picture.id for row in rows))
                store.put(rows)
                number += len(rows)
                say("added " + " ".join(row.picture.id for row in rows))
                store.settle()
            elif kind == "delete" and len(store):
                gone = chance.sample(store.ids(), min(5, len(store)))
                say("deleting " + " ".join(gone))
                store.remove(gone)
                say("deleted " + " ".join(gone))
            elif kind == "optimize":
                store.optimize(False)
                say("optimized")
        if kind == "copy" and len(store):
            place = f"exact:{address.split(':')[-1]}-copy-{seed}-{copies % 2}"
            target = LocalStore.open(parse_address(place)) if Path(place[6:]).exists() else create(place)
            copy_rows(store, target)
            target.close()
            copies += 1
            say("copied")


def say(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    work(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
