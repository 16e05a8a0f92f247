"""ITSELF (Nguyen et al. 2026): a dual encoder with a second, local branch made of the tokens that attention points at.

Both branches come from one pass. A picture answers with one vector, ``[sqrt(l) global ; sqrt(1 - l) local]`` of unit
parts, whose dot product is the mixed score ``l cos(global) + (1 - l) cos(local)``, so that every engine can search it.

Axes: B pictures or sentences, L token ids, N tokens, K selected tokens, C channels, G global width, E local width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from passerby.errors import ConfigError
from passerby.models.alignment import Moment, PairFeatures, TextGroup, rows_of_groups
from passerby.models.dual_encoder import DualEncoder, build_dual_encoder, unit_rows
from passerby.models.itself_options import LocalOptions, branch_columns
from passerby.models.towers.base import ImageTower, TextTower
from passerby.nn.attention_rows import WatchedLayers
from passerby.nn.grab import GrabHead, TokenGroup
from passerby.nn.selection_ratio import scheduled_ratio, token_count
from passerby.nn.token_selection import Selector, gather_tokens, select_tokens

_OWN_KEYS = ("global_dim", "local")


class Selected(NamedTuple):
    """The tokens of one tower and those of them that attention points at.

    Attributes:
        tokens: all tokens of the tower, (B, N, C).
        places: where the selected ones stand, (B, K) int64.
        taken: which of those are pooled, (B, K) bool; the rest fills up short sentences.
        counted: which of them the head's normalisation counts, (B, K) bool.
    """

    tokens: Tensor
    places: Tensor
    taken: Tensor
    counted: Tensor


class Itself(DualEncoder):
    """A dual encoder and its local branch.

    Args:
        encoder: the towers and projections; they become part of this model.
        local: the local branch.

    Raises:
        ConfigError: a tower has no attention to select by, or an option is wrong.
    """

    compact: Tensor | None

    def __init__(self, encoder: DualEncoder, local: LocalOptions) -> None:
        if encoder.attention or encoder.reranker is not None:
            raise ConfigError("a local branch needs plain towers, without attention mechanism and without a re-ranker")
        super().__init__(encoder.image_tower, encoder.text_tower, encoder.embedding_dim, encoder.projection)
        self.image_projection, self.text_projection = encoder.image_projection, encoder.text_projection
        self.log_scale = encoder.log_scale
        self.global_dim, self.local = encoder.embedding_dim, local
        self.image_local = GrabHead(self.global_dim, local.dim, local.pooling, local.norm)
        self.text_local = GrabHead(self.global_dim, local.dim, local.pooling, local.norm)
        self.register_buffer("compact", None if local.compact is None else torch.zeros(local.compact, local.dim))
        self.embedding_dim = self.global_dim + local.width
        self.selector = Selector(
            local.selector, local.layers, local.discard, local.normalisation, local.discard_among, local.diversity
        )
        self.test_selector = Selector("last") if "last_layer_test" in local.compat else self.selector
        chosen = (self.selector, self.test_selector)
        self._image_depth = _depth(self.image_tower, "image", chosen)
        self._text_depth = _depth(self.text_tower, "text", chosen)

    @property
    def local_dim(self) -> int:
        """E, the width of a local vector in training."""
        return self.local.dim

    @property
    def config(self) -> dict[str, Any]:
        """The mapping from which `build_itself` makes a model of the same shape, nothing fetched."""
        return {**super().config, "global_dim": self.global_dim, "local": self.local.to_dict()}

    @property
    def branches(self) -> dict[str, tuple[int, int]]:
        """Columns of each branch that the mixture holds; see `branch_columns`."""
        return branch_columns(self.global_dim, self.local)

    def set_mix(self, mix: float) -> None:
        """Set the global branch's share of the score.

        Raises:
            ConfigError: it lies outside 0 to 1.
        """
        self.local = replace(self.local, mix=float(mix))

    # -- selection ---------------------------------------------------------------------------------------------------

    def select_patches(self, images: Tensor, ratio: float | None = None, selector: Selector | None = None) -> Selected:
        """The patches of pictures (B, 3, H, W) that go on into the local branch.

        Args:
            images: normalised pictures.
            ratio: share of the patches that are taken, in (0, 1]; the option's where it is None.
            selector: how they are ranked; as in training or at test where it is None.
        """
        chosen = selector or self._selector
        with WatchedLayers(self.image_tower.attention_layers(), chosen.reads(self._image_depth)) as seen:
            tokens = self.image_tower.tokens(images)
        count, total = tokens.shape[:2]
        places = torch.arange(total, device=tokens.device).expand(count, -1)
        front = front_tokens(self.image_tower, total)
        eligible = places >= front
        if chosen.name == "none":
            return Selected(tokens, places[:, front:], eligible[:, front:], eligible[:, front:])
        at = image_summary(tokens, front)
        scores = chosen.scores(seen, self._image_depth, at)
        found, taken = chosen.pick(scores, eligible, token_count(ratio or self.local.ratio, total - front), tokens)
        return Selected(tokens, found, taken, taken)

    def select_words(self, ids: Tensor, ratio: float | None = None, selector: Selector | None = None) -> Selected:
        """The words of sentences (B, L) that go on into the local branch.

        As many are taken as a sentence of full length would give, so that short sentences keep every word. A sentence
        without words is represented by its last token.
        """
        chosen, tower = selector or self._selector, self.text_tower
        padded = self.training and "padded_statistics" in self.local.compat
        longest = int(tower.options["context_length"])
        if padded:
            ids = nn.functional.pad(ids, (0, longest - ids.shape[1]))
        with WatchedLayers(tower.attention_layers(), chosen.reads(self._text_depth)) as seen:
            tokens = tower.tokens(ids)
        places = torch.arange(ids.shape[1], device=ids.device).expand(len(ids), -1)
        mask, words, at = tower.mask(ids), tower.words(ids), tower.summary(ids)
        last = places == (mask.sum(dim=1, keepdim=True) - 1).clamp(min=0)
        eligible = words | (last & ~words.any(dim=1, keepdim=True))
        if chosen.name == "none":
            return Selected(tokens, places, eligible, eligible)
        scores = chosen.scores(seen, self._text_depth, at, mask | (places == 0), tower.causal)
        count = token_count(ratio or self.local.ratio, longest - tower.specials)
        if not padded:
            found, taken = chosen.pick(scores, eligible, count, tokens)
            return Selected(tokens, found, taken, taken)
        # Padding has no attention, so it comes after every word and before what may not be taken at all.
        found, counted = select_tokens(scores, eligible | ~mask, count)
        return Selected(tokens, found, eligible.gather(1, found), counted)

    @property
    def _selector(self) -> Selector:
        return self.selector if self.training else self.test_selector

    # -- branches ----------------------------------------------------------------------------------------------------

    def picture_branches(self, images: Tensor, ratio: float | None = None) -> tuple[Tensor, Tensor]:
        """Pictures (B, 3, H, W) -> global (B, G) and local (B, E) vectors of any length; `ratio` as in selection."""
        selected = self.select_patches(images, ratio)
        return self._global_pictures(selected), self.local_pictures(selected)

    def sentence_branches(self, ids: Tensor | Sequence[Tensor], ratio: float | None = None) -> tuple[Tensor, Tensor]:
        """Sentences (B, L), or groups of them -> global (B, G) and local (B, E) vectors of any length."""
        groups = [ids] if isinstance(ids, Tensor) else ids
        selected = [self.select_words(group, ratio) for group in groups]
        return self._global_sentences(groups, selected), self.local_sentences(selected)

    def local_pictures(self, selected: Selected) -> Tensor:
        """Selected patches -> local vectors (B, E) of any length."""
        chosen = self.image_tower.dense(gather_tokens(selected.tokens, selected.places))
        return self.image_local([TokenGroup(self.image_projection(chosen))])

    def local_sentences(self, selected: Sequence[Selected]) -> Tensor:
        """Selected words of groups of sentences -> local vectors (B, E) of any length, one group after the other."""
        chosen = [self.text_projection(gather_tokens(one.tokens, one.places)) for one in selected]
        groups = zip(chosen, selected, strict=True)
        return self.text_local([TokenGroup(tokens, one.taken, one.counted) for tokens, one in groups])

    def _global_pictures(self, selected: Selected) -> Tensor:
        return self.image_projection(self.image_tower.pool(selected.tokens))

    def _global_sentences(self, groups: Sequence[Tensor], selected: Sequence[Selected]) -> Tensor:
        tower = self.text_tower
        pooled = [
            tower.pool(one.tokens[:, : ids.shape[1]], tower.mask(ids))
            for ids, one in zip(groups, selected, strict=True)
        ]
        return self.text_projection(torch.cat(pooled))

    def mixed(self, whole: Tensor, local: Tensor) -> Tensor:
        """``[sqrt(l) g ; sqrt(1 - l) v]`` of unit parts: (B, G), (B, E) -> unit vectors (B, G + E')."""
        share = self.local.mix
        part = unit_rows(local)
        if self.compact is not None:
            part = unit_rows(part @ self.compact.T)
        return torch.cat([share**0.5 * unit_rows(whole), (1 - share) ** 0.5 * part], dim=1)

    def encode_images(self, images: Tensor) -> Tensor:
        """Normalised pictures (B, 3, H, W) -> unit vectors (B, G + E')."""
        return self.mixed(*self.picture_branches(images))

    def encode_texts(self, ids: Tensor) -> Tensor:
        """Token ids (B, L) int64 -> unit vectors (B, G + E')."""
        return self.mixed(*self.sentence_branches(ids))

    def pair_features(
        self, images: Tensor, groups: Sequence[Tensor], place: Tensor, moment: Moment, tokens: bool
    ) -> PairFeatures:
        """Both branches of a batch of pairs for the losses; see `passerby.models.alignment.pair_features_of`."""
        local = self.local
        ratio = scheduled_ratio(
            local.schedule,
            step=moment.step,
            steps_per_epoch=moment.steps_per_epoch,
            fixed=local.ratio,
            start=local.start,
            end=local.end,
            until_epochs=local.until_epochs,
        )
        pictures = self.select_patches(images, ratio)
        sentences = [self.select_words(group, ratio) for group in groups]
        features = PairFeatures(
            self._global_pictures(pictures),
            self._global_sentences(groups, sentences)[place],
            self.logit_scale,
            self.local_pictures(pictures),
            self.local_sentences(sentences)[place],
        )
        if not tokens:
            return features
        shared = [
            self.text_projection(one.tokens[:, : ids.shape[1]]) for ids, one in zip(groups, sentences, strict=True)
        ]
        return features._replace(
            image_tokens=self.image_projection(self.image_tower.dense(pictures.tokens)),
            text_tokens=tuple(map(TextGroup, rows_of_groups(groups, place), shared)),
        )


def front_tokens(tower: ImageTower, total: int) -> int:
    """How many of an image tower's `total` tokens stand before the patches, such as a class token."""
    if tower.grid is None:
        raise ConfigError(f"the image tower {tower.name} gives tokens without places; choose a vision transformer")
    return total - tower.grid[0] * tower.grid[1]


def image_summary(tokens: Tensor, front: int) -> Tensor:
    """Which row of attention stands for the picture: places (B,) of the class token, or equal shares (B, N)."""
    if front:
        return tokens.new_zeros(tokens.shape[0], dtype=torch.int64)
    return tokens.new_full(tokens.shape[:2], 1 / tokens.shape[1], dtype=torch.float32)


def build_itself(
    config: Mapping[str, Any],
    *,
    image_size: tuple[int, int] | None = None,
    vocabulary_size: int | None = None,
    context_length: int | None = None,
    temperature: float = 0.07,
) -> Itself:
    """Build the model from a mapping such as a checkpoint's ``model``.

    Args:
        config: as for `build_dual_encoder`, with ``local`` (`LocalOptions`) and ``global_dim``; where there is no
            ``global_dim``, ``embedding_dim`` is the width of the global branch.
        image_size: (height, width), given to an image tower that takes it unless its options name one.
        vocabulary_size: given to a text tower that takes it unless its options name one.
        context_length: likewise; longest sentence in tokens.
        temperature: initial temperature of the contrastive losses.

    Raises:
        ConfigError: a key, a tower, a selector or an option is unknown or missing.
    """
    plain = {key: value for key, value in config.items() if key not in _OWN_KEYS}
    plain["embedding_dim"] = config.get("global_dim", config.get("embedding_dim"))
    local = config.get("local")
    if not isinstance(local, Mapping):
        raise ConfigError(f"model.local is {local!r}; expected the options of the local branch, as a mapping")
    encoder = build_dual_encoder(
        plain,
        image_size=image_size,
        vocabulary_size=vocabulary_size,
        context_length=context_length,
        temperature=temperature,
    )
    return Itself(encoder, LocalOptions.from_dict(local))


def _depth(tower: ImageTower | TextTower, side: str, selectors: Sequence[Selector]) -> int:
    """How many attention layers a tower has; refuses what the selectors cannot read."""
    depth = len(tower.attention_layers())
    width, tokens = _attended_tokens(tower)
    if any(selector.name != "none" for selector in selectors):
        if depth == 0 or width != tokens:
            raise ConfigError(
                f"the {side} tower {tower.name} has no attention over its tokens to select by; choose a transformer "
                "(clip, or a vision transformer of timm, for pictures; clip or transformer for sentences), or "
                "local.selector=none"
            )
        for selector in selectors:
            if max(selector.reads(depth)) >= depth:
                raise ConfigError(
                    f"local.layers is {list(selector.layers)}; the {side} tower {tower.name} has the layers 0 to "
                    f"{depth - 1}"
                )
    return depth


def _attended_tokens(tower: ImageTower | TextTower) -> tuple[int, int]:
    """Tokens that the last attention layer saw, 0 without one, and tokens that the tower gives, found by a dry run."""
    layers = tower.attention_layers()
    if isinstance(tower, ImageTower):
        example = torch.zeros(1, 3, *tower.preprocessing.image_size)
    else:
        example = torch.ones(1, 2, dtype=torch.int64)
    was_training = tower.training
    tower.eval()
    with torch.no_grad(), WatchedLayers(layers[-1:], range(len(layers[-1:]))) as seen:
        tokens = tower.tokens(example)
    tower.train(was_training)
    if tokens.shape[2] != tower.width:
        raise ConfigError(
            f"the tower {tower.name} has tokens of {tokens.shape[2]} channels and vectors of {tower.width}; a local "
            "branch needs both of one width, as in a vision transformer"
        )
    return (seen.query_key(0)[0].shape[2] if layers else 0), int(tokens.shape[1])
