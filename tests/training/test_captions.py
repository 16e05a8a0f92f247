"""Random changes of captions: their shares, what they never touch, empty captions, and the words of a vocabulary."""

import sys
from pathlib import Path

import pytest
import tokenizers
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import models, pre_tokenizers

sys.path.insert(0, str(Path(__file__).parent.parent))

from passerby.errors import ConfigError
from passerby.models.tokenizer import Tokenizer
from passerby.training.captions import Vocabulary, change_captions, vocabulary_of
from tiny_models import tiny_tokenizer, write_clip_tokenizer

START, END = 98, 99


def vocabulary():
    is_word = torch.zeros(100, dtype=torch.bool)
    is_word[1:97] = True
    return Vocabulary(is_word.nonzero()[:, 0], is_word, 97)


def captions(rows, length, seed=0):
    """Start, some words, end, padding; some captions without a word."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.zeros(rows, length + 2, dtype=torch.int64)
    counts = torch.randint(0, length + 1, (rows,), generator=generator)
    for row, count in enumerate(counts.tolist()):
        words = torch.randint(1, 97, (count,), generator=generator).tolist()
        ids[row, : count + 2] = torch.tensor([START, *words, END])
    return ids


def change(ids, seed=0, **shares):
    chosen = {"touch": 0.2, "mask": 0.6, "replace": 0.2, "delete": 0.2, **shares}
    return change_captions(ids, vocabulary(), torch.Generator().manual_seed(seed), **chosen)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 6),
    length=st.integers(0, 8),
    seed=st.integers(0, 999),
    touch=st.sampled_from([0.2, 1.0]),
    delete=st.sampled_from([0.0, 0.4, 1.0]),
)
def test_equals_a_loop_and_keeps_a_word_and_the_end(rows, length, seed, touch, delete):
    ids, shares = captions(rows, length, seed), {"mask": (1 - delete) / 2, "replace": (1 - delete) / 4}
    found = change(ids, seed, touch=touch, delete=delete, **shares)
    generator = torch.Generator().manual_seed(seed)
    draws = torch.rand((2, *ids.shape), generator=generator)
    others = vocabulary().words[torch.randint(96, ids.shape, generator=generator)]
    for row in range(rows):
        kept, labels, words = [], [], [one for one in ids[row].tolist() if 0 < one < 97]
        gone_all = sum(_deleted(draws, row, place, touch, shares, delete) for place in _places(ids, row)) == len(words)
        first = next(iter(_places(ids, row)), None)
        for place, one in enumerate(ids[row].tolist()):
            if not 0 < one < 97:
                kept, labels = [*kept, one], [*labels, 0]
                continue
            touched, kind = float(draws[0, row, place]) < touch, float(draws[1, row, place])
            if _deleted(draws, row, place, touch, shares, delete) and not (gone_all and place == first):
                continue
            new = one
            if touched and kind < shares["mask"]:
                new = 97
            elif touched and kind < shares["mask"] + shares["replace"]:
                new = int(others[row, place])
            kept, labels = [*kept, new], [*labels, one if touched else 0]
        padding = [0] * (ids.shape[1] - len(kept))
        assert found.ids[row].tolist() == kept + padding
        assert found.labels[row].tolist() == labels + padding
        assert END in found.ids[row].tolist()
        assert not words or any(0 < one < 98 for one in found.ids[row].tolist())


def _places(ids, row):
    return [place for place, one in enumerate(ids[row].tolist()) if 0 < one < 97]


def _deleted(draws, row, place, touch, shares, delete):
    kind, low = float(draws[1, row, place]), shares["mask"] + shares["replace"]
    return float(draws[0, row, place]) < touch and low <= kind < low + delete


def test_the_shares_are_those_asked_for():
    ids = torch.randint(1, 97, (400, 50), generator=torch.Generator().manual_seed(1))
    found = change(ids, delete=0.0, replace=0.2, mask=0.6)
    touched = found.labels != 0
    assert float(touched.float().mean()) == pytest.approx(0.2, abs=0.01)
    assert float((found.ids == 97).float().mean()) == pytest.approx(0.12, abs=0.01)
    assert (found.ids[~touched] == ids[~touched]).all()
    gone = change(ids, mask=0.0, replace=0.0, delete=1.0)
    assert float((gone.ids == 0).float().mean()) == pytest.approx(0.2, abs=0.01)


def test_a_caption_whose_every_word_would_go_keeps_its_first():
    ids = torch.tensor([[START, 5, 6, END], [START, END, 0, 0], [0, 0, 0, 0]])
    found = change(ids, touch=1.0, mask=0.0, replace=0.0, delete=1.0)
    assert found.ids.tolist() == [[START, 5, END, 0], [START, END, 0, 0], [0, 0, 0, 0]]


def test_an_untouched_caption_has_its_first_word_masked_where_asked():
    ids = torch.tensor([[START, 5, 6, END], [START, END, 0, 0]])
    found = change(ids, touch=0.0, delete=0.0, at_least_one=True)
    assert found.ids.tolist() == [[START, 97, 6, END], [START, END, 0, 0]]
    assert found.labels.tolist() == [[0, 5, 0, 0], [0, 0, 0, 0]]


def test_the_seed_decides():
    ids = captions(5, 8)
    assert torch.equal(change(ids, 3).ids, change(ids, 3).ids)
    assert not torch.equal(change(ids, 3).ids, change(ids, 4).ids)


@pytest.mark.parametrize("wrong", [{"touch": 1.5}, {"mask": -0.1}, {"mask": 0.9, "replace": 0.2}])
def test_shares_that_are_none_are_refused(wrong):
    with pytest.raises(ConfigError, match="expected shares from 0 to 1"):
        change(captions(2, 3), **wrong)


def test_a_trained_vocabulary_masks_by_its_unknown_token():
    tokenizer = tiny_tokenizer()
    found = vocabulary_of(tokenizer)
    assert found.mask_id == tokenizer.token_id("[UNK]") == 1
    assert found.words.tolist() == list(range(2, tokenizer.vocabulary_size))


def test_clips_vocabulary_gives_up_its_last_word(tmp_path):
    size, end = write_clip_tokenizer(tmp_path / "tokenizer.json")
    found = vocabulary_of(Tokenizer.from_file(tmp_path / "tokenizer.json", 16))
    assert (end, found.mask_id) == (size - 1, size - 3)
    assert found.words.tolist() == list(range(1, size - 3))


def test_a_mask_token_of_its_own_is_taken():
    words = ["[PAD]", "[UNK]", "[MASK]", "red", "coat"]
    backend = tokenizers.Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    found = vocabulary_of(Tokenizer(backend, 8))
    assert (found.mask_id, found.words.tolist()) == (2, [1, 3, 4])
