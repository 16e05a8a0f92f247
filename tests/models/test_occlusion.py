"""Explaining by taking away: what is covered, that a place's heat is what the score loses, that any model will do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colour_encoder import ColourEncoder, person
from passerby.models.explained import without
from passerby.models.occlusion import covered, explain_by_occlusion, grid_of


@pytest.mark.parametrize(
    ("size", "grid"), [((96, 48), (16, 8)), ((224, 224), (12, 11)), ((2, 1), (2, 1)), ((1, 500), (1, 128))]
)
def test_places_are_nearly_square(size, grid):
    rows, columns = grid_of(*size)
    assert abs(rows - grid[0]) <= 1
    assert abs(columns - grid[1]) <= 1


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(4, 200))
def test_every_picture_has_a_grid_and_every_pixel_is_covered_once_at_least(height, width, places):
    rows, columns = grid_of(height, width, places)
    assert 1 <= rows <= height
    assert 1 <= columns <= width
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3)).astype(np.uint8)
    mean = pixels.reshape(-1, 3).mean(axis=0).round().astype(np.uint8)
    pictures = covered(pixels, rows, columns)
    assert len(pictures) == rows * columns
    changed = np.zeros((height, width), int)
    for one in pictures:
        inside = (one != pixels).any(axis=2)
        assert (one[inside] == mean).all()
        changed += (one == mean).all(axis=2)
    assert (changed > 0).all()


def test_heat_is_what_the_score_loses_and_lies_where_the_word_is():
    model, sentence = ColourEncoder(), "red blue"
    pixels = person("red", "blue", seed=3, size=(24, 12), noise=0)
    found = explain_by_occlusion(model, pixels, sentence, places=32)
    rows, columns = found.relevance.shape
    text, rest = model.encode_texts([sentence]), model.encode_texts([without(sentence, 0, 3), without(sentence, 4, 8)])
    vector = model.encode_images([pixels])[0]
    assert found.how == "occlusion"
    assert found.score == pytest.approx(float(vector @ text[0]), abs=1e-6)
    np.testing.assert_allclose(found.weights, vector @ (text - rest).T, atol=1e-6)
    for at, one in enumerate(covered(pixels, rows, columns)):
        lost = vector - model.encode_images([one])[0]
        assert found.relevance[at // columns, at % columns] == pytest.approx(float(lost @ text[0]), abs=1e-6)
    half = rows // 2 - 1  # windows reach one place further
    above, below = found.word_relevance[:, :half].mean(axis=(1, 2)), found.word_relevance[:, -half:].mean(axis=(1, 2))
    assert above[0] > below[0], "red is above"
    assert below[1] > above[1], "blue is below"


def test_a_sentence_without_words_and_a_plain_picture_have_a_map_too():
    found = explain_by_occlusion(ColourEncoder(), np.full((24, 12, 3), 200, np.uint8), "?!", places=8)
    assert found.words == ()
    assert found.word_relevance.shape == (0, *found.relevance.shape)
    np.testing.assert_allclose(found.relevance, 0, atol=1e-6)
