"""Random changes of captions on token ids: words become the mask token, another word, or nothing.

All of a batch at once and without a loop over captions. A caption never loses its last word, so nothing is ever pooled
over nothing, and whatever ends a sentence in a vocabulary stays its end.

Axes: B captions, L tokens, V words of the vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from passerby.errors import ConfigError
from passerby.models.tokenizer import Tokenizer

_MASK_NAMES = ("<|mask|>", "[MASK]", "<mask>")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Which ids are words.

    Attributes:
        words: the ids that may be touched and that may take another's place, (W,) int64, ascending.
        is_word: the same as a table, (V,) bool.
        mask_id: what a masked word becomes.
    """

    words: Tensor
    is_word: Tensor
    mask_id: int


@dataclass(frozen=True, slots=True)
class ChangedCaptions:
    """Captions after the changes.

    Attributes:
        ids: (B, L) int64, 0 behind the end.
        labels: the words that were touched, at their places, and 0 elsewhere, (B, L) int64. Deleted ones have none.
    """

    ids: Tensor
    labels: Tensor


def vocabulary_of(tokenizer: Tokenizer) -> Vocabulary:
    """The words of a tokenizer and its mask token.

    A vocabulary without a mask token gives one up: CLIP's its last word before the start token, as IRRA does ("jekyll"
    in OpenAI's), so that no embedding is added; one trained on captions its unknown token, which no caption has.
    """
    size = tokenizer.vocabulary_size
    special = sorted({0, *(int(one) for one in tokenizer.encode([""])[0])})  # padding, start and end
    named = (tokenizer.token_id(name) for name in _MASK_NAMES)
    mask = next((one for one in named if one is not None), None)
    if mask is None:
        unknown = tokenizer.token_id("[UNK]")
        # CLIP's start and end are its two last ids, and its highest word is the one before them.
        mask = unknown if unknown is not None else min((one for one in special if one > 0), default=size) - 1
    is_word = torch.ones(size, dtype=torch.bool)
    is_word[[*special, mask]] = False
    return Vocabulary(is_word.nonzero()[:, 0], is_word, mask)


def change_captions(
    ids: Tensor,
    vocabulary: Vocabulary,
    generator: torch.Generator,
    touch: float,
    mask: float,
    replace: float,
    delete: float,
    at_least_one: bool = False,
) -> ChangedCaptions:
    """Touch each word with a probability; a touched word is masked, replaced, deleted, or stays.

    Args:
        ids: token ids on the CPU.
        vocabulary: which of them are words.
        generator: a CPU generator; decides everything.
        touch: probability of each word to be touched.
        mask: share of touched words that become the mask token.
        replace: share of touched words that become a random word.
        delete: share of touched words that are left out; what follows moves up.
        at_least_one: mask the first word of a caption none of whose words was touched.

    Shape:
        ids (B, L) int64 -> two of (B, L).

    Raises:
        ConfigError: a probability lies outside 0 to 1, or the shares are more than the whole.
    """
    if min(touch, mask, replace, delete) < 0 or max(touch, mask + replace + delete) > 1 + 1e-9:
        raise ConfigError(
            f"captions: touch {touch}, mask {mask}, replace {replace}, delete {delete}; expected shares from 0 to 1 "
            "whose last three add up to 1 at most"
        )
    word = vocabulary.is_word[ids]  # (B, L)
    draws = torch.rand((2, *ids.shape), generator=generator)
    touched, kind = word & (draws[0] < touch), draws[1]
    if at_least_one:
        first = _first(word & ~touched.any(dim=1, keepdim=True))
        touched, kind = touched | first, kind.masked_fill(first, -1.0)
    others = vocabulary.words[torch.randint(len(vocabulary.words), ids.shape, generator=generator)]
    changed = torch.where(touched & (kind < mask), vocabulary.mask_id, ids)
    changed = torch.where(touched & (kind >= mask) & (kind < mask + replace), others, changed)
    gone = touched & (kind >= mask + replace) & (kind < mask + replace + delete)
    gone &= ~_first(word & ~(word & ~gone).any(dim=1, keepdim=True))  # the first word stays where all would go
    labels = torch.where(touched, ids, 0)
    if not delete:
        return ChangedCaptions(changed, labels)
    order = gone.long().argsort(dim=1, stable=True)  # what is left moves up
    left = torch.arange(ids.shape[1]) < (~gone).sum(dim=1, keepdim=True)
    moved = torch.where(left, changed.gather(1, order), 0)
    return ChangedCaptions(moved, torch.where(left, labels.gather(1, order), 0))


def _first(wanted: Tensor) -> Tensor:
    """The first True of each row alone: (B, L) -> (B, L)."""
    return wanted & (wanted.cumsum(dim=1) == 1)
