"""DistilBERT (Sanh et al. 2019) as a text tower, computed by transformers, with weights from a folder or the hub.

Axes: B sentences, L tokens, C channels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from passerby.errors import CheckpointError, MissingExtraError
from passerby.models.sources import source_folder
from passerby.models.tokenizer import Tokenizer
from passerby.models.towers.base import TextTower
from passerby.models.towers.registry import register_text_tower


@register_text_tower("distilbert")
class DistilBertText(TextTower):
    """DistilBERT with its first token as the sentence; random weights unless made by `from_source`.

    Args:
        vocabulary_size: rows of the embedding; id 0 is padding.
        context_length: most tokens of a sentence, special tokens included.
        channels: C.
        layers: transformer layers.
        heads: attention heads.
        mlp_width: channels inside the perceptrons.
        dropout: share of channels dropped in training.

    Shape:
        ids (B, L) int64 -> tokens (B, L, C) -> pooled (B, C).

    Raises:
        MissingExtraError: transformers is not installed.
    """

    def __init__(
        self,
        vocabulary_size: int = 30522,
        context_length: int = 512,
        channels: int = 768,
        layers: int = 6,
        heads: int = 12,
        mlp_width: int = 3072,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        try:
            from transformers import DistilBertConfig, DistilBertModel
        except ImportError as error:
            raise MissingExtraError("transformers", "train", "the text tower 'distilbert'") from error
        config = DistilBertConfig(
            vocab_size=vocabulary_size,
            max_position_embeddings=context_length,
            dim=channels,
            n_layers=layers,
            n_heads=heads,
            hidden_dim=mlp_width,
            dropout=dropout,
            attention_dropout=dropout,
        )
        self.width = channels
        self.network = DistilBertModel(config)

    @classmethod
    def from_source(cls, source: str, dropout: float = 0.1) -> DistilBertText:
        """The tower with the weights of a local folder or a hub repository in transformers' form.

        Args:
            source: a folder, or ``org/name`` on the hub.
            dropout: share of channels dropped in training.

        Raises:
            CheckpointError: the folder holds no DistilBERT, or its weights are pickled, incomplete or of other shapes.
        """
        folder = source_folder(source)
        config = _read_config(folder)
        tower = cls(
            vocabulary_size=config["vocab_size"],
            context_length=config["max_position_embeddings"],
            channels=config["dim"],
            layers=config["n_layers"],
            heads=config["n_heads"],
            mlp_width=config["hidden_dim"],
            dropout=dropout,
        )
        from passerby.models.restore import load_tensors
        from passerby.models.weight_files import read_weights

        # Checkpoints with a head on top keep the encoder under its own name.
        raw = read_weights(folder, "model.safetensors")
        inner = {name.removeprefix("distilbert."): tensor for name, tensor in raw.items()}
        wanted = tower.network.state_dict()
        load_tensors(
            tower.network, {name: inner[name].float().numpy() for name in inner if name in wanted}, str(folder)
        )
        return tower

    @classmethod
    def tokenizer_of(cls, source: str, context_length: int) -> Tokenizer:
        """The tokenizer that belongs to the weights of a source."""
        return Tokenizer.from_file(source_folder(source) / "tokenizer.json", context_length)

    def structure(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The same shapes without the source."""
        config = self.network.config
        return {
            "vocabulary_size": config.vocab_size,
            "context_length": config.max_position_embeddings,
            "channels": config.dim,
            "layers": config.n_layers,
            "heads": config.n_heads,
            "mlp_width": config.hidden_dim,
            "dropout": config.dropout,
        }

    def tokens(self, ids: Tensor) -> Tensor:
        """(B, L) -> (B, L, C); no word looks at padding."""
        return self.network(input_ids=ids, attention_mask=self.mask(ids).long()).last_hidden_state

    def pool(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """The first token, which DistilBERT gives no other task: (B, L, C) -> (B, C)."""
        return tokens[:, 0]


def _read_config(folder: Path) -> Mapping[str, Any]:
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if config.get("model_type") != "distilbert":
        raise CheckpointError(f"{folder} holds a model of type {config.get('model_type')!r}; expected 'distilbert'")
    if config.get("activation", "gelu") != "gelu":
        raise CheckpointError(f"{path}: activation={config['activation']!r}; expected 'gelu'")
    defaults = {"vocab_size": 30522, "max_position_embeddings": 512, "dim": 768, "n_layers": 6, "n_heads": 12}
    return {**defaults, "hidden_dim": 3072, **config}
