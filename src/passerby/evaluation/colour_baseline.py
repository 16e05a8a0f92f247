"""What colours alone can find: histograms by body stripe against colour words.

The baseline that a trained model must beat by far. Each picture is cut into four stripes, each stripe described by
how much of it looks like each named colour; a caption scores the stripes it names a colour for. Nothing is learned; the
two constants were chosen on a street of another seed.

Axes: N images, C captions, S stripes, K colours, H x W pixels.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from passerby.data.images import decode_image, resize_image
from passerby.data.records import Split
from passerby.data.world.attributes import COLOURS
from passerby.errors import ConfigError
from passerby.evaluation.colour_words import STRIPES, colour_mentions
from passerby.evaluation.evaluate import evaluate_scores
from passerby.evaluation.protocol import Protocol
from passerby.evaluation.report import Report

Floats: TypeAlias = "NDArray[np.float32]"

_SIZE_HW = (64, 32)
#: Distance in CIELAB at which a pixel is as good as another colour; a just noticeable difference is about 2.
_SOFTNESS = 10.0
#: Share that a stripe always has of each colour, so that one missing colour does not outweigh everything else.
_FLOOR = 0.01


def evaluate_colour_baseline(split: Split, protocol: Protocol, *, dataset: str = "", seed: int = 0) -> Report:
    """Report what colour histograms and colour words find in a split.

    Args:
        split: the split that the protocol reports.
        protocol: the rules; captions must ask.
        dataset: name of the data set, for the report.
        seed: of the bootstrap.

    Raises:
        ConfigError: pictures ask.
        DataError: a picture cannot be read, or the split has nothing to find.
    """
    if protocol.query != "text":
        raise ConfigError(f"the colour baseline reads words, but under the protocol {protocol.name!r} pictures ask")
    shares = np.stack([stripe_colours(image.path) for image in split.images])  # (N, S, K)
    evidence = np.log(shares + _FLOOR).reshape(len(shares), -1)  # (N, S * K)
    named = np.stack([_named_colours(caption.text) for caption in split.captions]).reshape(-1, evidence.shape[1])
    return evaluate_scores(named @ evidence.T, split, protocol, name="colour baseline", dataset=dataset, seed=seed)


def stripe_colours(path: Path) -> Floats:
    """How much of each body stripe of a crop looks like each colour of `COLOURS`.

    Args:
        path: a picture of one upright person.

    Shape:
        returns (S, K), each row sums to 1.

    Raises:
        DataError: the picture cannot be read.
    """
    pixels = resize_image(decode_image(path, at_least=_SIZE_HW), _SIZE_HW).astype(np.int64) >> 3  # (H, W, 3) of 5 bits
    code = (pixels[..., 0] << 10 | pixels[..., 1] << 5 | pixels[..., 2]).reshape(-1)  # (H * W,)
    return _stripe_weights() @ _colour_table()[code]


def _named_colours(text: str) -> Floats:
    """(S, K) share of each colour among those that a caption names for each stripe."""
    named = np.zeros((len(STRIPES), len(COLOURS)), np.float32)
    stripes, colours = list(STRIPES), list(COLOURS)
    for stripe, colour in colour_mentions(text):
        named[stripes.index(stripe), colours.index(colour)] = 1
    return named / np.maximum(named.sum(axis=1, keepdims=True), 1)


@cache
def _stripe_weights() -> Floats:
    """(S, H * W) shares of the pixels in each stripe: the person stands in the middle, the street at the sides."""
    height, width = _SIZE_HW
    row = (np.arange(height) + 0.5) / height
    column = (np.arange(width) + 0.5) / width - 0.5
    middle = np.exp(-((column / 0.17) ** 2) / 2)
    weights = [np.outer((row >= top) & (row < bottom), middle).reshape(-1) for top, bottom in STRIPES.values()]
    return np.stack([weight / weight.sum() for weight in weights]).astype(np.float32)


@cache
def _colour_table() -> Floats:
    """(32768, K) shares of each colour in each sRGB value of 5 bits a channel, by distance in CIELAB."""
    level = (np.arange(32) + 0.5) / 32
    rgb = np.stack(np.meshgrid(level, level, level, indexing="ij"), axis=-1).reshape(-1, 3)
    named = np.array(list(COLOURS.values())) / 255
    distance = np.linalg.norm(_lab(rgb)[:, None] - _lab(named)[None], axis=2)  # (32768, K)
    likeness = np.exp(-((distance / _SOFTNESS) ** 2) / 2) + 1e-9
    return (likeness / likeness.sum(axis=1, keepdims=True)).astype(np.float32)


def _lab(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """CIELAB (D65) of sRGB in 0..1, by the CIE 1976 formulas."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    ratio = linear @ matrix.T / matrix.sum(axis=1)
    cubed = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    lightness = 116 * cubed[..., 1] - 16
    return np.stack([lightness, 500 * (cubed[..., 0] - cubed[..., 1]), 200 * (cubed[..., 1] - cubed[..., 2])], axis=-1)
