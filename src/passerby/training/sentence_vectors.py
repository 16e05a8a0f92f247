"""Vectors that a frozen text tower gives to captions, computed once and kept on disk.

The name of a file is a digest of everything that decides its content: the tower's name, shape and weights, the
tokenizer, and the captions.

Axes: C captions, L token ids, D width of the tower's pooled vector.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence

import numpy as np
import torch

from passerby.models.tokenizer import Tokenizer
from passerby.models.towers.base import TextTower
from passerby.training.kept_arrays import kept_array

_FORMAT = "sentences-v1"
_BLOCK = 256


def sentence_vectors(
    tower: TextTower,
    tokenizer: Tokenizer,
    captions: Sequence[str],
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """The tower's pooled vector of each caption, without dropout; read where an earlier call has computed them.

    Args:
        tower: the frozen tower, on the CPU.
        tokenizer: makes the token ids.
        captions: the sentences.
        progress: called with (captions encoded, of all).

    Shape:
        (C, D) float32.

    Raises:
        DataError: a file of the cache is damaged, or cannot be written.
    """
    return kept_array(
        "sentences",
        _digest(tower, tokenizer, captions),
        (len(captions), tower.width),
        np.float32,
        lambda: encoded(tower, tokenizer.encode(captions), progress),
    )


def encoded(tower: TextTower, ids: np.ndarray, progress: Callable[[int, int], None] | None = None) -> np.ndarray:
    """A tower's pooled vectors, sentences of like length together: (C, L) int64, 0 is padding -> (C, D) float32."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tower = tower.eval().to(device)
    lengths = np.maximum(1, ids.shape[1] - (ids[:, ::-1] != 0).argmax(axis=1))
    order = np.argsort(lengths, kind="stable")
    vectors = np.empty((len(ids), tower.width), np.float32)
    with torch.inference_mode():
        for start in range(0, len(order), _BLOCK):
            rows = order[start : start + _BLOCK]
            cut = np.ascontiguousarray(ids[rows, : lengths[rows].max()])
            vectors[rows] = tower(torch.from_numpy(cut).to(device)).float().cpu().numpy()
            if progress is not None:
                progress(start + len(rows), len(order))
    tower.cpu()
    return vectors


def _digest(tower: TextTower, tokenizer: Tokenizer, captions: Sequence[str]) -> str:
    shape = json.dumps([tower.name, dict(tower.options)], sort_keys=True, default=str)
    digest = hashlib.sha256(f"{_FORMAT}|{shape}|{tokenizer.context_length}|{len(captions)}\n".encode())
    digest.update(tokenizer.to_json().encode())
    for name, tensor in tower.state_dict().items():
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    for caption in captions:
        text = caption.encode("utf-8", errors="replace")
        digest.update(f"{len(text)}|".encode() + text)
    return digest.hexdigest()[:32]
