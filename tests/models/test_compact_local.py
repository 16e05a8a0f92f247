"""Smaller vectors: exact where nothing is thrown away, measured where something is."""

import numpy as np
import pytest
import torch

from itself_models import clip_tokenizer, tiny_itself
from passerby.errors import ConfigError, DataError
from passerby.models.checkpoint import read_checkpoint
from passerby.models.compact_local import compact_loss, compacted, fit_projection, from_int8, int8_rows
from passerby.models.restore import restore_model, save_model


def test_all_directions_keep_every_score_and_fewer_keep_most():
    torch.manual_seed(0)
    model = tiny_itself()
    images = torch.randn(40, 3, 48, 24)
    with torch.no_grad():
        _, local = model.picture_branches(images)
        vectors = model.encode_images(images).numpy()
        full = compacted(model, fit_projection(local, 32)).encode_images(images).numpy()
        few = compacted(model, fit_projection(local, 8))
        small = few.encode_images(images).numpy()
    np.testing.assert_allclose(full @ full.T, vectors @ vectors.T, atol=1e-5)
    assert small.shape == (40, 28)
    np.testing.assert_allclose(np.linalg.norm(small, axis=1), 1, atol=1e-5)
    hits = np.eye(40, dtype=bool)
    loss = compact_loss((vectors, vectors), (small, small), hits)
    assert loss.floats == 28
    assert loss.bytes == 112
    assert loss.largest == pytest.approx(np.abs(vectors @ vectors.T - small @ small.T).max())
    assert loss.r1[0] == 100
    assert few.branches["local"] == (20, 28)
    assert model.compact is None, "the model itself stays as it was"


def test_a_compact_model_is_saved_and_restored(tmp_path):
    tokenizer = clip_tokenizer(tmp_path)
    model = tiny_itself(tokenizer.vocabulary_size)
    smaller = compacted(model, torch.linalg.qr(torch.randn(32, 5)).Q.T.contiguous())
    save_model(
        smaller, tmp_path / "model", kind="itself", name="small", preprocessing=model.preprocessing, tokenizer=tokenizer
    )
    again = restore_model(read_checkpoint(tmp_path / "model"))
    images = torch.randn(2, 3, 48, 24)
    with torch.no_grad():
        torch.testing.assert_close(again.encode_images(images), smaller.encode_images(images))


def test_eight_bits_stay_within_half_a_level():
    vectors = np.random.default_rng(0).normal(size=(5, 16)).astype(np.float32)
    vectors[3] = 0
    codes, scale = int8_rows(vectors)
    assert codes.dtype == np.int8
    assert (np.abs(from_int8(codes, scale) - vectors) <= scale[:, None] / 2 + 1e-6).all()


def test_what_is_refused():
    local = torch.randn(6, 32)
    for width in (0, 7):
        with pytest.raises(ConfigError, match="expected 1 to 6"):
            fit_projection(local, width)
    model = tiny_itself()
    with pytest.raises(ConfigError, match="local branch of 32"):
        compacted(model, torch.randn(4, 31))
    with pytest.raises(ConfigError, match="not compact yet"):
        compacted(compacted(model, torch.randn(4, 32)), torch.randn(4, 32))
    with pytest.raises(DataError, match="same vectors"):
        compact_loss((np.ones((2, 3)), np.ones((2, 3))), (np.ones((1, 3)), np.ones((2, 3))), np.ones((2, 2), bool))
