"""How queries score the gallery: the dot product of their vectors, or anything else that comes in blocks.

A `Scoring` is the place where re-ranking enters an evaluation: it is given the vectors of those that ask and of those
that are searched, and hands out scores some queries at a time. Its name goes into the report, and with it whether it
looked at other queries while it judged one.

Axes: Q queries, G gallery items, D dimensions, B queries of one block.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from passerby.errors import ConfigError, MissingExtraError, nearest
from passerby.metrics import block_rows

Vectors: TypeAlias = "NDArray[np.floating]"
Integers: TypeAlias = "NDArray[np.int64]"
#: Where dot products are computed; "auto" takes a GPU that torch has already been loaded for.
Device: TypeAlias = Literal["auto", "cpu", "cuda"]

#: Called with (Q, D) and (G, D) finite vectors, and with (Q,) the gallery row that is each query's own picture (-1
#: where the gallery has none); gives float32 or float64 scores of (B, G), Q rows together, higher being better.
Blocks: TypeAlias = Callable[[Vectors, Vectors, Integers], Iterator[Vectors]]


@dataclass(frozen=True, slots=True)
class Scoring:
    """A way to score, with what a report has to say about it.

    Attributes:
        name: with its numbers, for example "k-reciprocal (k1 20, k2 6, lambda 0.3)".
        blocks: computes the scores; junk pictures of the data set are not in the gallery that it is given.
        transductive: whether the answer to one query depends on the other queries.
    """

    name: str
    blocks: Blocks
    transductive: bool = False


def dot_product(device: Device = "auto") -> Scoring:
    """Score by the dot product, block by block, so that the matrix of queries by gallery is never whole in memory.

    Args:
        device: where it is computed; the figures are those of float32 in both places.

    Raises:
        ConfigError: the device is unknown, or there is no GPU.
        MissingExtraError: "cuda" is asked for and torch is not installed.
    """
    known = get_args(Device)
    if device not in known:
        raise ConfigError(f"no device {device!r}; expected one of {', '.join(known)}.{nearest(device, known)}")
    return Scoring("dot product", _on_gpu if _has_gpu(device) else _on_cpu)


def _on_cpu(queries: Vectors, gallery: Vectors, own: Integers) -> Iterator[Vectors]:
    dtype = np.result_type(queries.dtype, gallery.dtype, np.float32)
    left, right = queries.astype(dtype, copy=False), gallery.astype(dtype, copy=False)
    step = block_rows(len(right), dtype)
    return (left[first : first + step] @ right.T for first in range(0, len(left), step))


def _on_gpu(queries: Vectors, gallery: Vectors, own: Integers) -> Iterator[Vectors]:
    import torch

    dtype = np.result_type(queries.dtype, gallery.dtype, np.float32)
    left, right = (torch.from_numpy(side.astype(dtype, copy=False)).to("cuda") for side in (queries, gallery))
    step = block_rows(len(right), dtype)
    fast = torch.backends.cuda.matmul.allow_tf32
    for first in range(0, len(left), step):
        torch.backends.cuda.matmul.allow_tf32 = False  # ten bits of mantissa would make ties of near neighbours
        try:
            block = left[first : first + step] @ right.T  # (B, G)
        finally:
            torch.backends.cuda.matmul.allow_tf32 = fast
        yield block.cpu().numpy()


def _has_gpu(device: Device) -> bool:
    if device == "cpu" or (device == "auto" and "torch" not in sys.modules):
        return False
    try:
        import torch
    except ModuleNotFoundError as error:
        raise MissingExtraError("torch", "train", "scoring on a GPU") from error
    if torch.cuda.is_available():
        return True
    if device == "cuda":
        raise ConfigError("scores are to be computed on cuda, but torch sees no GPU; use --device cpu")
    return False
