"""CLIP's text transformer (Radford et al. 2021, section 2.4), our own modules with anybody's weights.

Axes: B sentences, L tokens, C channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from passerby.models.sources import source_folder
from passerby.models.tokenizer import Tokenizer
from passerby.models.towers.base import TextTower
from passerby.models.towers.registry import register_text_tower
from passerby.nn.transformer import Stack


@register_text_tower("clip")
class ClipText(TextTower):
    """Causal layers over byte-pair tokens; the normalised end token is the sentence.

    Args:
        vocabulary_size: rows of the embedding.
        context_length: most tokens of a sentence, start and end included.
        channels: C.
        layers: transformer layers.
        heads: attention heads.
        mlp_width: channels inside the perceptrons; 4 * C by default.
        activation: "quick_gelu" for OpenAI's weights, "gelu" for most others.
        end_id: the token that ends a sentence; None when it is the highest id of each row, as in OpenAI's vocabulary.
        causal: whether a token looks only at those before it. MobileCLIP's tokens look at all others, those of the
            padding up to `context_length` included, as they did in its training; that costs the full length.

    Shape:
        ids (B, L) int64 -> tokens (B, L, C) -> pooled (B, C).
    """

    specials = 2

    def __init__(
        self,
        vocabulary_size: int = 49408,
        context_length: int = 77,
        channels: int = 512,
        layers: int = 12,
        heads: int = 8,
        mlp_width: int | None = None,
        activation: str = "quick_gelu",
        end_id: int | None = None,
        causal: bool = True,
    ) -> None:
        super().__init__()
        self._structure = {
            "vocabulary_size": vocabulary_size,
            "context_length": context_length,
            "channels": channels,
            "layers": layers,
            "heads": heads,
            "mlp_width": mlp_width,
            "activation": activation,
            "end_id": end_id,
        }
        if not causal:  # written down only where it differs, so that checkpoints of plain CLIPs keep their fingerprint
            self._structure["causal"] = False
        self.width = channels
        self.end_id, self.causal = end_id, causal
        self.embedding = nn.Embedding(vocabulary_size, channels)
        self.positions = nn.Parameter(0.01 * torch.randn(context_length, channels))
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.layers = Stack(layers, channels, heads, mlp_width, activation)
        self.norm_after = nn.LayerNorm(channels)

    @classmethod
    def from_source(cls, source: str) -> ClipText:
        """The text tower of a CLIP in transformers' or open_clip's form, from a local folder or the hub.

        Args:
            source: a folder, or ``org/name`` on the hub.

        Raises:
            CheckpointError: the folder holds no CLIP, or its weights are pickled, incomplete or of other shapes.
        """
        from passerby.models.clip_formats import read_clip_parts
        from passerby.models.restore import load_tensors

        parts = read_clip_parts(source_folder(source))
        tower = cls(**parts.text)
        load_tensors(tower, {name: value.numpy() for name, value in parts.of("text_tower").items()}, source)
        return tower

    @classmethod
    def tokenizer_of(cls, source: str, context_length: int) -> Tokenizer:
        """The tokenizer that belongs to the weights of a source."""
        return Tokenizer.from_file(source_folder(source) / "tokenizer.json", context_length)

    def structure(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The same shapes without the source."""
        return dict(self._structure)

    def mask(self, ids: Tensor) -> Tensor:
        """True up to the first end token, as id 0 is a word of this vocabulary: (B, L) -> (B, L)."""
        marks = ids if self.end_id is None else (ids == self.end_id).long()
        return torch.arange(ids.shape[1], device=ids.device) <= marks.argmax(dim=1, keepdim=True)

    def words(self, ids: Tensor) -> Tensor:
        """True between the start token and the end token: (B, L) -> (B, L)."""
        places = torch.arange(ids.shape[1], device=ids.device)
        return (places > 0) & (places < self.summary(ids)[:, None])

    def summary(self, ids: Tensor) -> Tensor:
        """The place of the end token: (B, L) -> (B,)."""
        return self.mask(ids).sum(dim=1) - 1

    def tokens(self, ids: Tensor) -> Tensor:
        """(B, L) -> (B, L, C). Where it is causal, what follows the end token changes nothing before it."""
        length = ids.shape[1]
        if not self.causal:
            padding = ids.new_zeros((ids.shape[0], self.positions.shape[0] - length))
            ids = torch.cat([ids, padding], dim=1)
        state = self.embedding(ids) + self.positions[: ids.shape[1]]
        return self.norm_after(self.layers(state, causal=self.causal))[:, :length]

    def pool(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """The last token of the mask: (B, L, C), (B, L) -> (B, C)."""
        last = mask.sum(dim=1) - 1  # (B,)
        return tokens[torch.arange(tokens.shape[0], device=tokens.device), last]
