"""InfoNCE in both directions: each sentence belongs to its own picture and to no other of the batch.

Source: van den Oord et al. 2018, eq. 4; symmetric and with a learned scale as in CLIP, Radford et al. 2021, fig. 3.
Where a batch holds several pictures of one person use `identity_contrastive`, which calls them all right.

Axes: Q pairs of this process, N pairs of all processes, D embedding width.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from passerby.errors import ConfigError
from passerby.losses.pairs import scores


def info_nce(
    images: Tensor,
    texts: Tensor,
    scale: Tensor | float,
    all_images: Tensor | None = None,
    all_texts: Tensor | None = None,
    first: int = 0,
) -> Tensor:
    """``1/2 mean_i [ -log softmax_n(scale <v_i, t_n>)_i - log softmax_n(scale <t_i, v_n>)_i ]``.

    Args:
        images: unit image vectors of this process; row i and row i of `texts` belong to the same pair.
        texts: unit text vectors of this process.
        scale: inverse temperature, positive; learned where it is a tensor that asks for a gradient.
        all_images: the image vectors of all processes, gathered with gradient; `images` when there is one process.
        all_texts: likewise for the texts.
        first: row of `all_images` that is the first of `images`.

    Shape:
        images (Q, D), texts (Q, D), all_* (N, D) -> scalar.

    Raises:
        ConfigError: the shapes differ, or the rows of this process lie outside those of all.
    """
    all_images = images if all_images is None else all_images
    all_texts = texts if all_texts is None else all_texts
    if images.shape != texts.shape or all_images.shape != all_texts.shape:
        raise ConfigError(
            f"info_nce: {tuple(images.shape)} images, {tuple(texts.shape)} texts, {tuple(all_images.shape)} and "
            f"{tuple(all_texts.shape)} of all processes; each picture needs its text"
        )
    if not 0 <= first <= len(all_images) - len(images):
        raise ConfigError(f"info_nce: rows {first} to {first + len(images)} of {len(all_images)}; they lie outside")
    own = torch.arange(first, first + len(images), device=images.device)
    of_images = cross_entropy(scale * scores(images, all_texts), own)
    of_texts = cross_entropy(scale * scores(texts, all_images), own)
    return (of_images + of_texts) / 2
