"""Whom galleries of 300, 1,000 and 4,000 pictures call a match, asked in short and in long, about people and nobody.

The people of the street are known, so it is known whom a sentence fits: everybody with the traits that it names. Asked
are whole captions, captions cut off behind one or two phrases, and sentences of one and of two traits ("a man in black
trousers"), each about people in the gallery and about traits that nobody there has; and sentences about things, none
of which the gallery was measured with. Counted is what is answered and what is called strong; of people who are there,
only sentences that have a right picture among their first ten. The street is drawn with a seed that no training saw.
Run: python benchmarks/match_bands.py [--model street] [--folder DIR] [--out FILE]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import passerby
from passerby.data.readers import open_dataset
from passerby.data.world.attributes import Identity
from passerby.data.world.narrators import Description
from passerby.data.world.sidecar import read_descriptions, read_people
from passerby.data.world.street import Street
from passerby.data.world.writing import write
from passerby.gallery.bands import Bands, measure_bands
from passerby.models.runtimes.choice import cpu_features, cpu_name

RESULTS = Path(__file__).parent / "results" / "match_bands.json"
SEED, PEOPLE, VIEWS, ASKED, DEPTH = 501, 1_250, 4, 300, 10
SIZES = (75, 250, 1_000)
THINGS = (
    "a plate of pancakes with syrup", "the history of the roman empire", "an old steam train in a valley",
    "a cup of coffee on a desk", "three ducks on a pond", "the periodic table of elements", "a recipe for onion bread",
    "an airplane above the clouds", "a lighthouse on a cliff", "a broken television set", "the stock market fell today",
    "two elephants at a river", "a bouquet of tulips", "the surface of mars", "a computer screen full of code",
    "a pile of bricks", "a violin and a bow", "a field of sunflowers", "a bridge over a canal", "a washing machine",
    "how do i change a tyre", "a chess board", "rain on a window", "a map of europe", "a castle on a hill",
    "a bus stop without anybody", "a garden hose", "frozen lake in winter", "a tractor in the mud",
    "the opening hours of the library", "a lemon", "fish in an aquarium", "mathematics", "invoice number 4711",
    "kittens", "a traffic jam on the motorway", "an anchor", "the door is closed", "a supermarket shelf",
    "what time is it",
)  # fmt: skip
COLOURED = (
    "a red car", "a black dog on the grass", "a white van parked at the kerb", "a green tree", "a yellow taxi",
    "a blue bird in a cage", "a brown horse", "a grey stone wall", "an orange cat", "a pink balloon",
    "a black cat with white paws", "a blue sky with white clouds", "a red fire hydrant", "a purple flower",
    "a teal sofa and a beige carpet", "a white refrigerator", "a green bottle on a shelf", "a dark forest at night",
    "a blue bicycle leaning on a wall", "a maroon curtain",
)  # fmt: skip
_PLURAL = frozenset({"trousers", "jeans", "shorts", "sneakers", "boots", "sandals", "dress shoes"})
_WORN = {"bottom": "in", "top": "in", "outer": "in", "bag": "with", "headwear": "wearing", "shoes": "in"}


@dataclass(frozen=True)
class Question:
    """A sentence, and the places of the people whom it fits."""

    text: str
    fits: frozenset[int]


@dataclass(frozen=True)
class World:
    """The people of a street, what narrators say of each, and the vectors of their pictures."""

    people: Sequence[Identity]
    said: Sequence[Sequence[Description]]
    vectors: np.ndarray  # (people, views, D)


def drawn(folder: Path, model: Any) -> World:
    """Draw the street and encode it."""
    write(Street(seed=SEED, train=0, val=0, test=PEOPLE, test_views=VIEWS), folder, workers=1)
    split = open_dataset(f"rstpreid:{folder}").split("test")
    people, said = read_people(folder, "test"), read_descriptions(folder, "test")
    order = sorted(range(len(split.images)), key=lambda at: (split.images[at].person_id or 0, at))
    vectors = model.encode_images([split.images[at].path for at in order])
    owner = {image.image_id: place // VIEWS for place, image in enumerate(split.images[at] for at in order)}
    of_each: list[list[Description]] = [[] for _ in people]
    for (path, _), description in said.items():
        of_each[owner[path]].append(description)
    return World(people, of_each, vectors.reshape(len(people), VIEWS, -1))


def with_article(words: str, thing: str) -> str:
    if thing in _PLURAL:
        return words
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def of_traits(person: Identity, count: int, chance: random.Random) -> tuple[str, dict[str, str]] | None:
    """A sentence that names so many things which a person wears or has, and what must be true of whom it fits."""
    has = person.attributes()
    parts = [part for part in _WORN if has.get(part, "none") != "none"]
    if len(parts) < count:
        return None
    who = chance.choice([f"a {person.gender}", "a person", "someone"])
    needed = {"gender": person.gender} if person.gender in who else {}
    said = []
    for part in chance.sample(parts, count):
        colour, thing = has[f"{part}_colour"], has[part]
        needed |= {part: thing, f"{part}_colour": colour}
        said.append(f"{_WORN[part]} {with_article(f'{colour} {thing}', thing)}")
    return f"{who} {' and '.join(said)}", needed


def cut_off(description: Description, phrases: int) -> tuple[str, dict[str, str]]:
    """The beginning of a caption, and what it claims."""
    kept = sorted(description.phrases, key=lambda phrase: phrase.start)[:phrases]
    claims = {fact.attribute: fact.stated for phrase in kept for fact in phrase.facts}
    return description.text[: kept[-1].end].strip(" ,.;:"), claims


def questions(world: World, held: Sequence[int], others: Sequence[int]) -> dict[str, dict[str, list[Question]]]:
    """Questions of each kind, about people who are there and about nobody there."""
    chance = random.Random(0)

    def fitting(needed: dict[str, str]) -> frozenset[int]:
        return frozenset(
            at for at in held if all(world.people[at].attributes().get(name) == value for name, value in needed.items())
        )

    def asked(about: Sequence[int], make: Callable[[int], tuple[str, Any] | None], there: bool) -> list[Question]:
        found: dict[str, Question] = {}
        for _ in range(20 * ASKED):
            made = make(chance.choice(about))
            if made is None or not made[1] or made[0] in found:
                continue
            fits = fitting(made[1]) if isinstance(made[1], dict) else made[1] & frozenset(held)
            if bool(fits) == there:
                found[made[0]] = Question(made[0], fits)
            if len(found) == ASKED:
                break
        return list(found.values())

    kinds: dict[str, Callable[[int], tuple[str, Any] | None]] = {
        "a whole caption": lambda at: (chance.choice(world.said[at]).text, frozenset({at})),
        "its first phrases": lambda at: cut_off(chance.choice(world.said[at]), chance.choice((1, 2))),
        "two traits": lambda at: of_traits(world.people[at], 2, chance),
        "one trait": lambda at: of_traits(world.people[at], 1, chance),
    }
    return {
        name: {"there": asked(held, make, True), "not there": asked(others, make, False)}
        for name, make in kinds.items()
    } | {
        "things": {"not there": [Question(text, frozenset()) for text in THINGS]},
        "things with colours": {"not there": [Question(text, frozenset()) for text in COLOURED]},
    }


def called(bands: Bands, model: Any, gallery: np.ndarray, owners: np.ndarray, asked: list[Question]) -> dict[str, Any]:
    """Shares of bands among questions, those about people who are there only where a right picture is found."""
    words = np.asarray(model.encode_texts([one.text for one in asked]), np.float32)
    scores = words @ gallery.T  # (Q, N)
    counts = {"strong": 0, "weak": 0, "none": 0}
    for row, vector, one in zip(scores, words, asked, strict=True):
        first = np.argsort(-row)[:DEPTH]
        if one.fits and not one.fits & set(owners[first].tolist()):
            continue
        counts[bands.limits(vector, 1.0).band(float(row[first[0]]))] += 1
    total = sum(counts.values())
    return {"asked": len(asked), "counted": total} | {name: count / total for name, count in counts.items()}


def of_size(world: World, model: Any, count: int) -> dict[str, Any]:
    """One gallery: measured by itself, then asked."""
    order = list(range(len(world.people)))
    random.Random(0).shuffle(order)
    held, others = sorted(order[:count]), sorted(order[count : count + 250])
    gallery = world.vectors[held].reshape(count * VIEWS, -1).astype(np.float16).astype(np.float32)
    owners = np.repeat(held, VIEWS)
    names = [f"{number:032x}" for number in random.Random(1).sample(range(10**9), len(gallery))]
    place = {name: at for at, name in enumerate(names)}

    def best(queries: np.ndarray, own: Iterable[str | None]) -> np.ndarray:
        scores = queries @ gallery.T
        for row, name in zip(scores, own, strict=True):
            if name is not None:
                row[place[name]] = -1
        return scores.max(axis=1)

    bands = measure_bands(names, lambda ids: gallery[[place[name] for name in ids]], best, model)
    assert bands.words is not None
    vector, cpu = model.encode_texts(["a man in black trousers"])[0], time.process_time()
    for _ in range(1_000):
        bands.limits(vector, 1.0)
    each_ms = time.process_time() - cpu
    kinds = {
        kind: {where: called(bands, model, gallery, owners, asked) for where, asked in sides.items() if asked}
        for kind, sides in questions(world, held, others).items()
    }
    return {"pictures": len(gallery), "people": count, "limits_cpu_ms": each_ms, "kinds": kinds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="street")
    parser.add_argument("--folder", type=Path, help="keep the street here")
    parser.add_argument("--out", type=Path, default=RESULTS)
    wanted = parser.parse_args()
    machine = {"cpu": cpu_name(), "cores": os.cpu_count(), "features": cpu_features(), "load": os.getloadavg()[0]}
    model = passerby.load(wanted.model, threads=1)
    with tempfile.TemporaryDirectory() as temporary:
        world = drawn(wanted.folder or Path(temporary) / "street", model)
    record = {
        "machine": machine,
        "model": wanted.model if wanted.model == "street" else Path(wanted.model).name,
        "fingerprint": model.fingerprint,
        "seed": SEED,
        "depth": DEPTH,
        "sizes": [of_size(world, model, count) for count in SIZES],
    }
    wanted.out.write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
