"""Whether a model of the attention study sees what it must not: the leak guards, put to the model itself.

Axes: Q queries, N pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from passerby.evaluation.leaks import (
    Scorer,
    noise_captions,
    noise_diagnosis,
    pairing_diagnosis,
    permutation_diagnosis,
)
from passerby.evaluation.protocol import Protocol
from passerby.evaluation.task import set_up
from passerby.metrics.second_stage import second_stage_scores
from passerby.models.dual_encoder import DualEncoder, unit_rows
from passerby.models.reranker import encode_gallery, rerank
from passerby.models.tokenizer import Tokenizer
from passerby.studies.attention_measure import Encoded, look_twice, trimmed
from passerby.training.tasks.pair_data import unchanged

_NOISE, _PAIRS = 200, 8


def leak_diagnoses(model: DualEncoder, tokenizer: Tokenizer, encoded: Encoded, protocol: Protocol, k: int) -> list[str]:
    """What the guards say of a model, each stage for itself; empty where there is nothing to say.

    Args:
        model: in evaluation mode.
        tokenizer: the model's.
        encoded: the split that is reported.
        protocol: its protocol.
        k: candidates of the re-ranker, where there is one.
    """
    found = _noise(model, tokenizer, encoded, protocol, k)
    described, first = np.unique(encoded.prepared.pairs.image_of, return_index=True)  # a gallery may hold others too
    texts = [encoded.prepared.token_ids[row] for row in first[:_PAIRS]]
    pictures = [encoded.prepared.pixels[place] for place in described[:_PAIRS]]
    for scorer in _scorers(model):
        found += permutation_diagnosis(scorer, texts, pictures)
        if len(pictures) > 1:
            found += pairing_diagnosis(scorer, texts, pictures)
    return found


@torch.inference_mode()
def _noise(model: DualEncoder, tokenizer: Tokenizer, encoded: Encoded, protocol: Protocol, k: int) -> list[str]:
    noise = noise_captions(encoded.split)
    count = min(_NOISE, len(noise.captions))
    chosen = np.linspace(0, len(noise.captions) - 1, count).astype(int)
    asked = replace(noise, captions=tuple(noise.captions[row] for row in chosen))
    relevance = set_up(asked, protocol).relevance
    ids = tokenizer.encode([caption.text for caption in asked.captions])
    texts = model.project_texts(torch.from_numpy(trimmed(ids)).to(encoded.images.device))[0].float()
    first = (unit_rows(texts) @ unit_rows(encoded.images).T).cpu().numpy()
    found = noise_diagnosis(first, relevance)
    if encoded.maps is not None:
        second = look_twice(model, replace(encoded, texts=texts, prepared=replace(encoded.prepared, token_ids=ids)), k)
        found += noise_diagnosis(second_stage_scores(first, second.candidates, second.second), relevance)
    return found


def _scorers(model: DualEncoder) -> list[Scorer[np.ndarray, np.ndarray]]:
    """What each stage makes of sentences (token ids) and pictures (pixels)."""
    device = next(model.parameters()).device

    def read(texts: Sequence[np.ndarray], pictures: Sequence[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
        ids = torch.from_numpy(trimmed(np.stack(texts))).to(device)
        return ids, unchanged(np.stack(pictures), model.preprocessing, device)

    @torch.inference_mode()
    def first(texts: Sequence[np.ndarray], pictures: Sequence[np.ndarray]) -> NDArray[np.floating]:
        ids, images = read(texts, pictures)
        return (model.encode_texts(ids) @ model.encode_images(images).T).cpu().numpy()

    @torch.inference_mode()
    def second(texts: Sequence[np.ndarray], pictures: Sequence[np.ndarray]) -> NDArray[np.floating]:
        ids, images = read(texts, pictures)
        vectors, maps = encode_gallery(model, [images])
        found = rerank(model, ids, vectors, maps, len(pictures), weight=1.0)
        return torch.empty_like(found.scores).scatter(1, found.candidates, found.scores).cpu().numpy()

    return [first] if model.reranker is None else [first, second]
