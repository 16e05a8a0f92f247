"""A model small enough for tests: mean colours of six stripes, and sentences that name a colour for each.

It is a real encoder in that pictures and sentences meet in one space: "red blue" is nearest to a picture that is red
above and blue below.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 180, 60),
    "blue": (30, 60, 220),
    "yellow": (230, 220, 40),
    "black": (10, 10, 10),
    "white": (245, 245, 245),
}
STRIPES = 6
LONGEST = 64


@dataclass(frozen=True)
class Preprocessing:
    image_size: tuple[int, int] = (24, 12)


@dataclass(frozen=True)
class Tokens:
    ids: np.ndarray
    truncated: tuple[int, ...]
    unknown: np.ndarray


@dataclass
class ColourEncoder:
    """Counts the pictures it encodes, so that tests can see what was not encoded again."""

    name: str = "colour"
    fingerprint: str = "c010" * 16
    dim: int = 3 * STRIPES
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    encoded: int = 0

    def encode_images(self, images):
        self.encoded += len(images)
        return np.stack([self._unit(self._stripes(image)) for image in images])

    def encode_texts(self, texts):
        return np.stack([self._unit(self._words(text)) for text in texts])

    def tokenize(self, texts):
        words = [text.split() for text in texts]
        foreign = [sum(not word.isascii() for word in row[:LONGEST]) for row in words]
        long = tuple(index for index, row in enumerate(words) if len(row) > LONGEST)
        return Tokens(np.ones((len(texts), min(LONGEST, max(map(len, words)))), np.int64), long, np.array(foreign))

    def _stripes(self, image):
        parts = np.array_split(np.asarray(image, np.float32), min(STRIPES, len(image)))
        means = [part.reshape(-1, 3).mean(0) for part in parts]
        return np.stack([means[index * len(means) // STRIPES] for index in range(STRIPES)])

    def _words(self, text):
        known = [COLOURS[word] for word in text.lower().split() if word in COLOURS][:STRIPES] or [(128, 90, 70)]
        return np.array([known[index * len(known) // STRIPES] for index in range(STRIPES)], np.float32)

    def _unit(self, colours):
        centred = colours.reshape(-1) - 120.0
        return (centred / np.linalg.norm(centred)).astype(np.float32)


def person(top, bottom, seed=0, size=(48, 24), noise=14):
    """A picture: one colour above, one below, and noise that makes its bytes unique."""
    height, width = size
    pixels = np.empty((height, width, 3), np.float32)
    pixels[: height // 2], pixels[height // 2 :] = COLOURS[top], COLOURS[bottom]
    pixels += np.random.default_rng(seed).normal(0, noise, pixels.shape)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def jpeg(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def write_people(folder, count, seed=0):
    """`count` pictures in a folder, named as in the field; returns name -> (top, bottom)."""
    folder.mkdir(parents=True, exist_ok=True)
    names = list(COLOURS)
    outfits = {}
    for index in range(count):
        top, bottom = names[index % 6], names[(index // 6) % 6]
        name = f"{index:04d}_c{index % 3 + 1}s1_{index:06d}.jpg"
        (folder / name).write_bytes(jpeg(person(top, bottom, seed=seed + index)))
        outfits[name] = (top, bottom)
    return outfits


def all_bytes(folder):
    """Every file of a folder, path to content."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
