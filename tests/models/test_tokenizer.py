import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passerby.errors import CheckpointError, ConfigError, DataError
from passerby.models.tokenizer import Tokenizer
from tiny_models import CAPTIONS, tiny_tokenizer

TOKENIZER = tiny_tokenizer()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(max_size=60), min_size=1, max_size=4))
def test_any_text_becomes_ids(texts):
    encoding = TOKENIZER.encode_batch(texts)
    ids = encoding.ids
    assert ids.dtype == np.int64
    assert ids.shape[0] == len(texts)
    assert 1 <= ids.shape[1] <= TOKENIZER.context_length
    assert ids.min() >= 0
    assert ids.max() < TOKENIZER.vocabulary_size
    for row in ids:  # padding only at the end
        length = int((row != 0).sum())
        assert (row[:length] != 0).all()


def test_training_is_deterministic_and_survives_json():
    again = tiny_tokenizer()
    assert again.to_json() == TOKENIZER.to_json()
    read = Tokenizer.from_json(TOKENIZER.to_json(), TOKENIZER.context_length)
    assert (read.encode(CAPTIONS) == TOKENIZER.encode(CAPTIONS)).all()


def test_padding_is_zero_and_rows_are_cropped_to_the_longest():
    ids = TOKENIZER.encode(["red", "a red coat"])
    assert ids[0, -1] == 0
    assert (ids[1] != 0).all()


def test_case_width_and_spaces_do_not_matter():
    plain, loud, wide, spread = TOKENIZER.encode(["a red coat", "A RED Coat", "a ｒｅｄ coat", " a  red\n coat "])
    for other in (loud, wide, spread):
        np.testing.assert_array_equal(plain, other)


def test_a_word_is_not_a_part_of_another():
    red, bored = TOKENIZER.encode(["red"])[0], TOKENIZER.encode(["bored"])[0]
    assert red[0] not in bored


def test_no_text_can_write_padding_or_the_unknown_token():
    encoding = TOKENIZER.encode_batch(["[PAD] [UNK] red"])
    assert (encoding.ids != 0).all()


def test_what_is_cut_is_counted(caplog):
    with caplog.at_level(logging.WARNING):
        ids = TOKENIZER.encode(["red " * 10_000, "red"])
    assert ids.shape[1] == TOKENIZER.context_length
    assert "1 of 2 sentences were cut to 16 tokens" in caplog.text
    assert TOKENIZER.encode_batch(["red", "red " * 99]).truncated == (1,)


def test_what_is_not_understood_is_counted():
    encoding = TOKENIZER.encode_batch(["a red coat", "红色外套 red 🧥", "\ud800"])
    assert encoding.unknown[0] == 0
    assert encoding.unknown[1] >= 2


def test_exactly_full_is_not_cut():
    text = " ".join(["red"] * TOKENIZER.context_length)
    assert TOKENIZER.encode_batch([text]).truncated == ()
    assert TOKENIZER.encode_batch([text + " red"]).truncated == (0,)


def test_no_sentences_give_no_rows():
    assert TOKENIZER.encode([]).shape[0] == 0


@pytest.mark.parametrize(
    ("act", "error", "words"),
    [
        (lambda: TOKENIZER.encode([None]), DataError, "NoneType"),
        (lambda: Tokenizer.train([]), DataError, "no captions"),
        (lambda: Tokenizer.train(["  ", ""]), DataError, "no captions"),
        (lambda: Tokenizer.train(CAPTIONS, context_length=0), ConfigError, "context_length is 0"),
        (lambda: Tokenizer.from_json("{}", 8), CheckpointError, "cannot be read"),
        (lambda: Tokenizer.from_json("not json", 8), CheckpointError, "cannot be read"),
    ],
)
def test_wrong_input(act, error, words):
    with pytest.raises(error, match=words):
        act()


def test_a_missing_file(tmp_path):
    with pytest.raises(CheckpointError, match="no tokenizer"):
        Tokenizer.from_file(tmp_path / "tokenizer.json", 8)
