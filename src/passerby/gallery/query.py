"""What can be asked of a gallery, and the one vector that it comes to.

Sentences and pictures are averaged each among themselves and then weighted against each other; pictures of the gallery
that the answer should be like are added, those that it should be unlike subtracted with half the weight (Rocchio's
relevance feedback). The result is scaled to length one, so that every engine can search it.

Axes: D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from passerby.data.images import ImageSource, decode_image
from passerby.errors import CheckpointError, ConfigError
from passerby.gallery.records import Encoder

#: Share of the mean of unwanted pictures that is subtracted; a whole one leaves the person and finds the opposite.
_UNLIKE = 0.5


@dataclass(frozen=True, slots=True)
class Query:
    """One question.

    Attributes:
        texts: sentences about the person.
        images: pictures of the person.
        like: ids of pictures of the gallery that the answer should be like; they are not part of it.
        unlike: ids of pictures of the gallery that the answer should not be like; they are not part of it.
        text_weight: share of the sentences where there are pictures too, 0 to 1.
    """

    texts: tuple[str, ...] = ()
    images: tuple[ImageSource, ...] = ()
    like: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()
    text_weight: float = 0.5

    def __post_init__(self) -> None:
        if not (self.texts or self.images or self.like):
            with_unlike = (
                "there is nothing to look for, only something to avoid" if self.unlike else "there is no query"
            )
            raise ConfigError(f"{with_unlike}; give a text, an image or both")
        for text in self.texts:
            if not isinstance(text, str) or not text.strip():
                raise ConfigError("the query text is empty; describe a person, for example 'a woman in a red coat'")
        if not 0 <= self.text_weight <= 1:
            raise ConfigError(f"text_weight is {self.text_weight}; expected 0 (only the image) to 1 (only the text)")

    @property
    def text_share(self) -> float:
        """How much of the query is text, 0 to 1."""
        if not self.texts:
            return 0.0
        return self.text_weight if self.images else 0.5 if self.like else 1.0


@dataclass(frozen=True, slots=True)
class Encoded:
    """A query that has become a vector.

    Attributes:
        vector: (D,) unit vector of the whole query.
        words: (D,) unit vector of its sentences, or None where it has none.
        images: its decoded pictures.
        warnings: what was done to its words.
    """

    vector: np.ndarray
    words: np.ndarray | None
    images: tuple[np.ndarray, ...]
    warnings: tuple[str, ...]


def encode_query(
    query: Query, encoder: Callable[[], Encoder], vectors: Callable[[Sequence[str]], np.ndarray]
) -> Encoded:
    """Turn a query into its vector.

    Args:
        query: the question.
        encoder: returns the model; called only where there is something to encode.
        vectors: returns the vectors of pictures of the gallery.

    Raises:
        DataError: a picture cannot be decoded.
        ConfigError: the parts cancel each other out.
    """
    parts: list[np.ndarray] = []
    warnings: list[str] = []
    pixels: tuple[np.ndarray, ...] = ()
    words = None
    if query.texts:
        weight = query.text_weight if query.images else 1.0
        words = _mean(_encode_texts(list(query.texts), encoder(), warnings))
        parts.append(weight * words)
    if query.images:
        model = encoder()
        pixels = tuple(decode_image(image, at_least=model.preprocessing.image_size) for image in query.images)
        weight = 1 - query.text_weight if query.texts else 1.0
        parts.append(weight * _mean(encode_checked(model, list(pixels))))
    if query.like:
        parts.append(_mean(vectors(query.like)))
    wanted = np.sum(parts, axis=0)  # (D,)
    if query.unlike:
        wanted = unit(wanted) - _UNLIKE * _mean(vectors(query.unlike))
    return Encoded(unit(wanted), words, pixels, tuple(warnings))


def unit(vector: np.ndarray) -> np.ndarray:
    """A (D,) vector scaled to length one.

    Raises:
        ConfigError: it is zero or not finite.
    """
    length = float(np.linalg.norm(vector))
    if not np.isfinite(length) or length < 1e-6:
        raise ConfigError("the parts of the query cancel each other out; leave one of them away")
    return (vector / length).astype(np.float32)


def encode_checked(encoder: Encoder, pictures: list[np.ndarray]) -> np.ndarray:
    """Encode pictures and refuse anything but one finite vector each; rows come back with length one.

    Shape:
        (N, D) float32.

    Raises:
        CheckpointError: the shape is wrong, or a number is not finite.
    """
    return unit_rows(encoder.encode_images(pictures), len(pictures), encoder)


def unit_rows(vectors: np.ndarray, count: int, encoder: Encoder) -> np.ndarray:
    """Check what an encoder returned and scale its rows to length one.

    Raises:
        CheckpointError: the shape is wrong, or a row is zero or not finite: such a row would be everybody's neighbour.
    """
    vectors = np.asarray(vectors, np.float32)
    if vectors.shape != (count, encoder.dim):
        raise CheckpointError(
            f"the model {encoder.name} returned vectors of shape {vectors.shape}; expected ({count}, {encoder.dim})"
        )
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)  # (N, 1)
    if not np.isfinite(lengths).all() or not lengths.all():
        raise CheckpointError(
            f"the model {encoder.name} returned a vector that is zero or not finite; its weights are damaged: "
            "load another checkpoint"
        )
    return vectors / lengths


def _mean(vectors: np.ndarray) -> np.ndarray:
    """(D,) mean direction of (N, D) unit vectors."""
    return unit(vectors.mean(axis=0))


def _encode_texts(texts: list[str], model: Encoder, warnings: list[str]) -> np.ndarray:
    tokens = model.tokenize(texts)
    for row in tokens.truncated:
        warnings.append(
            f"the query has {len(texts[row].split()):,} words; the model read its first {tokens.ids.shape[1]} tokens "
            "and ignored the rest"
        )
    for unknown in filter(None, map(int, tokens.unknown)):
        warnings.append(f"{unknown} parts of the query are in no language or script that the model knows")
    return unit_rows(model.encode_texts(texts), len(texts), model)
