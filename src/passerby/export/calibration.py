"""What the ranges of an int8 model are measured on: pictures and sentences, and who is on them where that is known.

By default the synthetic street is drawn, which needs no file and no network. A folder of one's own pictures fits a
model of photographs better; a data set brings its own captions too.

Axes: N pictures, M sentences, K beginnings of sentences, H rows, W columns, L token ids.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from passerby.data.images import ImageSource, decode_image, is_image_file, resize_image
from passerby.data.records import Split
from passerby.errors import DataError
from passerby.export.original import Original

#: Most pictures that ranges are measured on; more change them little.
MOST = 256
#: Fewest pictures of a folder or a split.
FEWEST = 32

_T = TypeVar("_T")
_PEOPLE, _VIEWS, _SEED = 64, 4, 4242
_SHORT, _BEGINNINGS = 6, 64
_SPLITS = ("val", "train")


@dataclass(frozen=True, slots=True)
class Calibration:
    """Inputs of both towers.

    Attributes:
        pixels: pictures at the model's size, (N, H, W, 3) uint8.
        ids: token ids, (M, L) int64.
        short: token ids of beginnings of the sentences, (K, L) int64; ranges of long sentences alone gave queries of
            one or two words a cosine below 0.9.
        people: who is on each picture, (N,); each picture its own person where nobody knows.
        asked: whom each sentence describes, (M,); empty where the sentences do not belong to the pictures.
        about: the source in words.
    """

    pixels: np.ndarray
    ids: np.ndarray
    short: np.ndarray
    people: np.ndarray
    asked: np.ndarray
    about: str

    @property
    def digest(self) -> str:
        """SHA-256 of everything that is computed with."""
        digest = hashlib.sha256()
        for part in (self.pixels, self.ids, self.short):
            digest.update(f"{part.dtype} {part.shape}".encode())
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()


def read_calibration(source: str | Path | None, original: Original) -> Calibration:
    """Read or draw what an int8 model is calibrated on.

    Args:
        source: a folder of pictures, ``NAME:ROOT`` of a data set (its split val, else train), or None for the street.
        original: the model, which says how pictures and sentences are prepared.

    Raises:
        DataError: there is no such folder or data set, it holds too few pictures, or one cannot be read.
        ConfigError: no such reader.
    """
    if source is None:
        pictures, sentences, people, asked = _drawn()
        about = f"{len(pictures)} drawn pictures of the street"
    elif Path(source).is_dir():
        pictures = _pictures(Path(source))
        sentences, people, asked = _drawn_sentences(), list(range(len(pictures))), []
        about = f"{len(pictures)} pictures of a folder, sentences of the street"
    else:
        if ":" not in str(source):
            raise DataError(f"no folder at {source}; --calibrate takes a folder of pictures or NAME:ROOT of a data set")
        pictures, sentences, people, asked, about = _of_dataset(str(source))
    if len(pictures) < FEWEST:
        raise DataError(f"{source} holds {len(pictures)} pictures to calibrate on; expected at least {FEWEST}")
    preprocessing = original.config.pictures
    size, way = preprocessing.image_size, preprocessing.interpolation
    pixels = np.stack([resize_image(decode_image(one, at_least=size), size, way) for one in pictures])  # (N, H, W, 3)
    ids = original.tokenizer.encode_batch(sentences).ids  # (M, L)
    beginnings = [" ".join(text.split()[: 1 + row % _SHORT]) for row, text in enumerate(sentences[:_BEGINNINGS])]
    short = original.tokenizer.encode_batch(beginnings).ids  # (K, L)
    return Calibration(pixels, ids, short, np.array(people), np.array(asked, dtype=np.int64), about)


def _drawn() -> tuple[list[ImageSource], list[str], list[int], list[int]]:
    from passerby.data.world.street import Street, inhabitants, take_picture

    street = Street(seed=_SEED, train=0, val=_PEOPLE, test=0, test_views=_VIEWS)
    pictures: list[ImageSource] = []
    sentences: list[str] = []
    people: list[int] = []
    for place, identity in enumerate(inhabitants(street)["val"]):
        for number in range(_VIEWS):
            picture = take_picture(street, "val", place, identity, number, captions=1)
            pictures.append(picture.rendering.image)
            sentences.append(picture.descriptions[0].text)
            people.append(identity.person_id)
    return pictures, sentences, people, people


def _drawn_sentences() -> list[str]:
    return _drawn()[1]


def _pictures(folder: Path) -> list[ImageSource]:
    return list(_spread(sorted(path for path in folder.rglob("*") if is_image_file(path))))


def _of_dataset(source: str) -> tuple[list[ImageSource], list[str], list[int], list[int], str]:
    from passerby.data.readers import open_dataset

    dataset = open_dataset(source)
    name = next((name for name in _SPLITS if name in dataset.splits), None)
    if name is None:
        raise DataError(
            f"{source} has neither a split val nor train to calibrate on; it has {', '.join(dataset.splits)}"
        )
    split: Split = dataset.split(name)
    images = _spread(split.images)
    numbers = {image.image_id: row for row, image in enumerate(images)}
    people = [row if image.person_id is None else image.person_id for row, image in enumerate(images)]
    captions = [caption for caption in split.captions if caption.image_id in numbers]
    about = f"{len(images)} pictures of {dataset.name}, split {name}"
    if not captions:
        return [image.path for image in images], _drawn_sentences(), people, [], f"{about}, sentences of the street"
    captions = list(_spread(captions))
    asked = [people[numbers[caption.image_id]] for caption in captions]
    return [image.path for image in images], [caption.text for caption in captions], people, asked, about


def _spread(items: Sequence[_T]) -> Sequence[_T]:
    """At most `MOST` items, evenly from the whole."""
    if len(items) <= MOST:
        return items
    return [items[row] for row in np.linspace(0, len(items) - 1, MOST).round().astype(int)]
