"""Sentences become token ids: a byte-pair encoding trained on the captions, or the one that a text tower brings along.

Everything is in one ``tokenizer.json`` that the `tokenizers` library reads, so the same ids come out in training, in a
search without torch, and in any other program. Nothing is lost silently: what was cut or not understood is counted.

Axes: B sentences, L tokens of the longest one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, trainers

from passerby.errors import CheckpointError, ConfigError, DataError

_LOGGER = logging.getLogger(__name__)
_PADDING, _UNKNOWN = "[PAD]", "[UNK]"
#: Spelled out whatever the captions hold, so that any English word can be written.
_ALPHABET = [*"abcdefghijklmnopqrstuvwxyz0123456789.,;:-'"]


@dataclass(frozen=True, slots=True)
class Encoding:
    """Token ids and what happened on the way to them.

    Attributes:
        ids: (B, L) int64, 0 after the end of a sentence.
        truncated: rows that were cut to the context length, ascending.
        unknown: for each row, how many of its tokens the vocabulary does not have, (B,) int64.
    """

    ids: np.ndarray
    truncated: tuple[int, ...]
    unknown: np.ndarray


class Tokenizer:
    """A tokenizer with a fixed context length; id 0 fills up short rows.

    Args:
        backend: the `tokenizers` object; its own truncation and padding are replaced.
        context_length: most tokens of a sentence, special tokens included.

    Raises:
        ConfigError: the context length leaves no room for words.
    """

    def __init__(self, backend: tokenizers.Tokenizer, context_length: int) -> None:
        specials = backend.num_special_tokens_to_add(is_pair=False)
        if context_length <= specials:
            raise ConfigError(f"context_length is {context_length}; this tokenizer adds {specials} special tokens")
        backend.no_padding()
        backend.enable_truncation(context_length)
        backend.encode_special_tokens = True  # a user who types "[PAD]" means the five characters
        self._backend = backend
        self.context_length = context_length
        self._unknown_id = backend.token_to_id(_UNKNOWN)

    @property
    def vocabulary_size(self) -> int:
        """Number of ids, padding and special tokens included."""
        return self._backend.get_vocab_size(with_added_tokens=True)

    def token_id(self, token: str) -> int | None:
        """The id of a token as the vocabulary spells it; None where it has none."""
        return self._backend.token_to_id(token)

    def encode_batch(self, sentences: Sequence[str]) -> Encoding:
        """Encode sentences and report what was cut or not understood.

        Raises:
            DataError: something in the list is no string.
            CheckpointError: the tokenizer itself is incomplete.
        """
        for sentence in sentences:
            if not isinstance(sentence, str):
                raise DataError(f"expected sentences as str, found {type(sentence).__name__}: {sentence!r}")
        # Lone surrogates, as they come from file names and broken terminals, cannot be handed to the backend.
        clean = [sentence.encode("utf-8", errors="replace").decode("utf-8") for sentence in sentences]
        try:
            rows = self._backend.encode_batch(clean)
        except Exception as error:  # the backend raises bare Exception, for example where an unknown token is missing
            raise CheckpointError(f"the model's tokenizer.json does not work: {error}; restore it") from error
        longest = max((len(row.ids) for row in rows), default=0)
        ids = np.zeros((len(rows), max(longest, 1)), dtype=np.int64)  # (B, L)
        for index, row in enumerate(rows):
            ids[index, : len(row.ids)] = row.ids
        truncated = tuple(index for index, row in enumerate(rows) if row.overflowing)
        unknown = (ids == self._unknown_id).sum(axis=1) if self._unknown_id else np.zeros(len(rows), dtype=np.int64)
        return Encoding(ids, truncated, unknown)

    def encode(self, sentences: Sequence[str]) -> np.ndarray:
        """Token ids (B, L) int64, cropped to the longest sentence; how many were cut goes to the log.

        Raises:
            DataError: something in the list is no string.
        """
        encoding = self.encode_batch(sentences)
        if encoding.truncated:
            _LOGGER.warning(
                "%d of %d sentences were cut to %d tokens", len(encoding.truncated), len(sentences), self.context_length
            )
        return encoding.ids

    @classmethod
    def train(cls, captions: Iterable[str], vocabulary: int = 800, context_length: int = 64) -> Tokenizer:
        """Train a byte-pair encoding on captions (Sennrich et al. 2016, section 3.2); deterministic.

        Text is compatibility-normalised and lower-cased, words and punctuation are separated, and each word starts with
        a marker, so that "red" alone and in "bored" are different tokens. Characters that no caption has become one
        unknown token, which callers can count.

        Args:
            captions: the training sentences.
            vocabulary: most ids, padding (0) and unknown (1) included.
            context_length: most tokens of a sentence.

        Raises:
            DataError: there are no captions.
        """
        captions = [caption for caption in captions if caption.strip()]
        if not captions:
            raise DataError("a tokenizer was to be trained on no captions; the training split has none")
        backend = tokenizers.Tokenizer(models.BPE(unk_token=_UNKNOWN, fuse_unk=True))
        # NFKC and not NFC: full-width letters and ligatures, as they are pasted from elsewhere, become plain ones.
        backend.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Whitespace(), pre_tokenizers.Metaspace(prepend_scheme="always")]
        )
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary,
            min_frequency=2,
            special_tokens=[_PADDING, _UNKNOWN],
            initial_alphabet=_ALPHABET,
            show_progress=False,
        )
        backend.train_from_iterator(captions, trainer)
        return cls(backend, context_length)

    def to_json(self) -> str:
        """The content of ``tokenizer.json``."""
        return self._backend.to_str(pretty=False)

    @classmethod
    def from_json(cls, text: str, context_length: int) -> Tokenizer:
        """Read what `to_json` wrote, or any other ``tokenizer.json``.

        Raises:
            CheckpointError: the text is not a tokenizer.
        """
        try:
            backend = tokenizers.Tokenizer.from_str(text)
        except Exception as error:  # the backend raises bare Exception
            raise CheckpointError(f"the tokenizer cannot be read: {error}; restore tokenizer.json") from error
        return cls(backend, context_length)

    @classmethod
    def from_file(cls, path: Path, context_length: int) -> Tokenizer:
        """Read a ``tokenizer.json``.

        Raises:
            CheckpointError: the file is missing or no tokenizer.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CheckpointError(f"no tokenizer could be read at {path}: {error}") from error
        return cls.from_json(text, context_length)
