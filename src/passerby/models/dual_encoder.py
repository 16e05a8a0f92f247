"""The dual encoder: an image tower and a text tower that meet in one space, where a dot product is the score.

Neither tower sees what the other sees, so a gallery is encoded once and every sentence is compared with all of it.
Either may have an attention mechanism between its tokens and its pooling (`passerby.models.attended`), and a re-ranker
that looks at sentence and picture together may come along (`passerby.models.reranker`).

Axes: B pictures or sentences, L token ids, T tokens of a picture, C channels of a token, D width of the shared space.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from passerby.errors import ConfigError, nearest
from passerby.models.attended import attended_image, attended_text
from passerby.models.preprocessing import Preprocessing
from passerby.models.reranker import FusionReranker, build_reranker
from passerby.models.towers.base import ImageTower, TextTower
from passerby.models.towers.registry import image_tower, image_tower_options, text_tower, text_tower_options
from passerby.nn.ghost_batches import GhostBatches
from passerby.nn.projection import build_projection
from passerby.nn.side_by_side import side_by_side
from passerby.nn.token_mixer import mechanism_options

#: Largest logit scale, as in CLIP (Radford et al. 2021, section 2.5): beyond it training becomes unstable.
MAX_LOGIT_SCALE = 100.0

_CONFIG_KEYS = ("image", "text", "embedding_dim", "projection", "attention", "reranker", "tokenizer")
_TOWER_KEYS = ("name", "options")


class DualEncoder(nn.Module):
    """Two towers, a projection head each, and a learned logit scale.

    Args:
        image: the image tower.
        text: the text tower.
        embedding_dim: D.
        projection: registry name of both projection heads.
        temperature: initial temperature; the logit scale is its inverse.
        attention: what `config` says of the towers' attention mechanisms; empty where they have none.
        reranker: the second stage, which the vectors do not depend on; None for most models.
    """

    def __init__(
        self,
        image: ImageTower,
        text: TextTower,
        embedding_dim: int,
        projection: str = "linear",
        temperature: float = 0.07,
        attention: Mapping[str, Any] = MappingProxyType({}),
        reranker: FusionReranker | None = None,
    ) -> None:
        super().__init__()
        self.image_tower, self.text_tower = image, text
        self.image_projection = build_projection(projection, image.width, embedding_dim)
        self.text_projection = build_projection(projection, text.width, embedding_dim)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))
        self.embedding_dim, self.projection, self.attention = embedding_dim, projection, dict(attention)
        self.reranker = reranker
        self._ghosts: GhostBatches | None = None

    @property
    def preprocessing(self) -> Preprocessing:
        """What the pictures must look like."""
        return self.image_tower.preprocessing

    @property
    def config(self) -> dict[str, Any]:
        """The mapping from which `build_dual_encoder` makes a model of the same shape, nothing fetched."""
        image, text = self.image_tower, self.text_tower
        config = {
            "image": {"name": image.name, "options": dict(image.options)},
            "text": {"name": text.name, "options": dict(text.options)},
            "embedding_dim": self.embedding_dim,
            "projection": self.projection,
        }
        # Only where there are any: a checkpoint of plain towers keeps the fingerprint that its galleries know.
        if self.attention:
            config["attention"] = dict(self.attention)
        if self.reranker is not None:
            config["reranker"] = dict(self.reranker.options)
        return config

    @property
    def parameter_count(self) -> int:
        """How many numbers the weights and running statistics are."""
        return sum(tensor.numel() for tensor in self.state_dict().values())

    @property
    def logit_scale(self) -> Tensor:
        """Inverse temperature, a scalar in (0, 100]."""
        if not self.training:
            return self.log_scale.exp().clamp(max=MAX_LOGIT_SCALE)
        # Clamping the parameter and not the value keeps the gradient that can lower it again.
        with torch.no_grad():
            self.log_scale.clamp_(max=math.log(MAX_LOGIT_SCALE))
        return self.log_scale.exp()

    def encode_images(self, images: Tensor) -> Tensor:
        """Normalised pictures (B, 3, H, W) -> unit vectors (B, D)."""
        return unit_rows(self.image_projection(self.image_tower(images)))

    def encode_texts(self, ids: Tensor) -> Tensor:
        """Token ids (B, L) int64, 0 = padding -> unit vectors (B, D)."""
        return unit_rows(self.text_projection(self.text_tower(ids)))

    def project_images(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures (B, 3, H, W) -> vectors (B, D) of any length, and the tower's tokens (B, T, C) for a re-ranker."""
        tokens = self.image_tower.tokens(images)
        return self.image_projection(self.image_tower.pool(tokens)), tokens

    def project_texts(self, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Token ids (B, L) -> vectors (B, D) of any length, the tower's tokens (B, L, C) and their mask (B, L)."""
        tokens, mask = self.text_tower.tokens(ids), self.text_tower.mask(ids)
        return self.text_projection(self.text_tower.pool(tokens, mask)), tokens, mask

    def forward(
        self, images: Tensor, ids: Tensor | Sequence[Tensor], unit: bool = True
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Encode a batch of both kinds: (B, 3, H, W), (B', L) -> (B, D), (B', D), logit scale ().

        Sentences may come in groups of like length, each padded for itself; their vectors come one group after the
        other. Without `unit` the vectors keep the length that the projection gave them, as the soft-target loss wants
        them.
        """
        groups = [ids] if isinstance(ids, Tensor) else ids
        if self._ghosts is not None and self.training:
            seen, read = self._in_ghost_batches(self._ghosts, images, groups)
        else:
            seen, read = self.image_tower(images), torch.cat([self.text_tower(group) for group in groups])
        pictures, sentences = self.image_projection(seen), self.text_projection(read)
        if unit:
            pictures, sentences = unit_rows(pictures), unit_rows(sentences)
        return pictures, sentences, self.logit_scale

    def use_ghost_batches(self, parts: int) -> None:
        """Normalise the pictures of a training batch in parts that know nothing of each other; 1 is the whole batch.

        On a CPU with several cores the parts, and groups of sentences beside them, are then computed at the same time,
        where the towers draw no random numbers.
        """
        self._ghosts = GhostBatches(self.image_tower, parts) if parts > 1 else None

    def _in_ghost_batches(
        self, ghosts: GhostBatches, images: Tensor, groups: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Both towers' pooled vectors: (B, 3, H, W), (B', L) in groups -> (B, D'), (B', D'')."""
        pictures = list(zip(ghosts.copies(), images.chunk(ghosts.parts), strict=False))
        # The largest first, so that no core is left alone with it at the end.
        beside = [] if self.text_tower.draws else sorted(range(len(groups)), key=lambda at: -groups[at].numel())
        work = [partial(tower, part) for tower, part in pictures]
        work += [partial(self.text_tower, groups[at]) for at in beside]
        towers = [*self.image_tower.parameters(), *self.text_tower.parameters()]
        found = [part() for part in work] if self.image_tower.draws else side_by_side(work, towers)
        ghosts.gather_statistics(len(pictures))
        seen, done = found[: len(pictures)], dict(zip(beside, found[len(pictures) :], strict=True))
        read = [done[at] if at in done else self.text_tower(group) for at, group in enumerate(groups)]
        return torch.cat(seen), torch.cat(read)


def build_dual_encoder(
    config: Mapping[str, Any],
    *,
    image_size: tuple[int, int] | None = None,
    vocabulary_size: int | None = None,
    context_length: int | None = None,
    temperature: float = 0.07,
) -> DualEncoder:
    """Build a dual encoder from a mapping such as ``recipe.model.model_dump()`` or a checkpoint's ``model``.

    Args:
        config: ``image`` and ``text`` (each ``name`` and optional ``options``), ``embedding_dim``, and optionally
            ``projection``, ``attention`` (see `attention_of`) and ``reranker`` (options of `FusionReranker`, or None);
            a recipe's ``tokenizer`` may be there and is not looked at.
        image_size: (height, width), given to an image tower that takes it unless its options name one.
        vocabulary_size: given to a text tower that takes it unless its options name one.
        context_length: likewise; longest sentence in tokens.
        temperature: initial temperature.

    Raises:
        ConfigError: a key, a tower or an option is unknown or missing.
    """
    for key in config:
        if key not in _CONFIG_KEYS:
            raise ConfigError(
                f"model.{key}: no such key; known: {', '.join(_CONFIG_KEYS)}.{nearest(key, _CONFIG_KEYS)}"
            )
    attention = {side: attention_of(config.get("attention", "none"), side) for side in ("image", "text")}
    image_name, image_options = _tower(config, "image")
    text_name, text_options = _tower(config, "text")
    image_given = {"image_size": image_size}
    text_given = {"vocabulary_size": vocabulary_size, "context_length": context_length}
    image = image_tower(
        image_name, **_filled(image_given, image_tower_options(image_name, **image_options), image_options)
    )
    text = text_tower(text_name, **_filled(text_given, text_tower_options(text_name, **text_options), text_options))
    dim = config.get("embedding_dim")
    if not isinstance(dim, int) or dim < 1:
        raise ConfigError(f"model.embedding_dim is {dim!r}; expected a whole number above zero")
    reranker = None if config.get("reranker") is None else build_reranker(config["reranker"], image, text)
    plain = all(chosen["name"] == "none" for chosen in attention.values())
    return DualEncoder(
        attended_image(image, **attention["image"]),
        attended_text(text, **attention["text"]),
        dim,
        str(config.get("projection", "linear")),
        temperature,
        {} if plain else attention,
        reranker,
    )


def attention_of(section: Any, side: str) -> dict[str, Any]:
    """What a configuration's ``attention`` asks of one side.

    Args:
        section: a mechanism's name for both sides, or a mapping with ``image``, ``text`` or both; each is a name or a
            mapping with ``name`` and optional ``options``. A side that is not there has "none".
        side: "image" or "text".

    Returns:
        ``name`` and ``options``.

    Raises:
        ConfigError: a key, a mechanism or an option is unknown.
    """
    if isinstance(section, Mapping):
        for key in section:
            if key not in ("image", "text"):
                raise ConfigError(
                    f"model.attention.{key}: no such key; expected 'image' and 'text', or one mechanism's name"
                )
        section = section.get(side, "none")
    if isinstance(section, str):
        section = {"name": section}
    if not isinstance(section, Mapping) or not isinstance(section.get("name"), str) or set(section) - {*_TOWER_KEYS}:
        raise ConfigError(
            f"model.attention.{side} is {section!r}; expected a mechanism's name, or a mapping with 'name' and "
            "'options'"
        )
    return {"name": section["name"], "options": mechanism_options(section["name"], section.get("options") or {})}


def _tower(config: Mapping[str, Any], kind: str) -> tuple[str, dict[str, Any]]:
    section = config.get(kind)
    if not isinstance(section, Mapping) or not isinstance(section.get("name"), str):
        raise ConfigError(f"model.{kind} is {section!r}; expected a mapping with the tower's registry name as 'name'")
    for key in section:
        if key not in _TOWER_KEYS:
            raise ConfigError(f"model.{kind}.{key}: no such key; a tower has 'name' and 'options'")
    return section["name"], dict(section.get("options") or {})


def _filled(given: Mapping[str, Any], accepted: set[str], options: Mapping[str, Any]) -> dict[str, Any]:
    usable = {key: value for key, value in given.items() if value is not None and key in accepted}
    return {**usable, **options}


def unit_rows(vectors: Tensor) -> Tensor:
    """Rows of unit length: (B, D) -> (B, D) float32."""
    # In float32 whatever the precision around it: a norm in half precision moves scores in the third digit.
    return nn.functional.normalize(vectors.float(), dim=-1)
