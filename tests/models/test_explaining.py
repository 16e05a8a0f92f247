"""Explanations against what they are derived from: what the score loses, and gradients written out by hand."""

import json

import numpy as np
import pytest
import torch

from itself_models import save_itself
from passerby import load
from passerby.errors import CheckpointError, ConfigError, DataError
from passerby.evaluation.explanation_sheet import explanation_sheet, heat_panel, selection_panel
from passerby.models.explained import without, words_of
from passerby.models.explainer import Explainer, open_explainer
from passerby.models.explaining import RELEVANCES, SALIENCIES, relevances
from tiny_models import save_tiny, tiny_model, tiny_tokenizer

SENTENCE = "a woman in a red coat"


def picture(height=48, width=24):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_words_and_what_is_left_without_them():
    words = words_of("A man, wearing light-blue jeans.")
    assert [word.text for word in words] == ["A", "man", "wearing", "light-blue", "jeans"]
    assert [without(SENTENCE, *span) for span in ((0, 1), (13, 16), (17, 21))] == [
        "woman in a red coat", "a woman in a coat", "a woman in a red",
    ]  # fmt: skip
    assert without("red", 0, 3) == "."
    assert words_of("?!") == ()


def test_a_word_weighs_what_the_score_loses_without_it(tmp_path):
    save_itself(tmp_path / "model", tmp_path)
    retriever = load(tmp_path / "model", runtime="torch", device="cpu")
    image = picture()
    told = retriever.explain(image, SENTENCE)
    vector = retriever.encode_images([image])[0]
    texts = [SENTENCE] + [without(SENTENCE, word.start, word.stop) for word in told.words]
    scores = retriever.encode_texts(texts) @ vector
    assert told.score == pytest.approx(float(scores[0]), abs=1e-5)
    np.testing.assert_allclose(told.weights, scores[0] - scores[1:], atol=1e-5)
    assert told.relevance.shape == (6, 3)
    assert told.word_relevance.shape == (6, 6, 3)
    assert set(told.saliency) == set(SALIENCIES)
    assert told.selected.sum() == 7
    assert json.loads(json.dumps(told.as_dict()))["words"][4]["text"] == "red"


def test_where_pooling_and_projection_are_linear_places_add_up_to_the_score():
    """Mean of places, a matrix, then unit length: each place's share is its own token's dot product."""
    tokenizer = tiny_tokenizer()
    model = tiny_model(tokenizer)
    explainer = Explainer(model, tokenizer)
    pixels = picture(32, 16)
    places = explainer.places(pixels)
    tokens = torch.randn_like(places.tokens)
    model.image_tower.pool = lambda tokens, mask=None: tokens.mean(dim=1)
    model.image_projection = torch.nn.Linear(tokens.shape[2], 32, bias=False)
    places.tokens = tokens
    asked = torch.nn.functional.normalize(torch.randn(2, 32), dim=1)
    found = places.gradient(asked)
    whole = model.image_projection(tokens.mean(dim=1))[0]
    length, unit = whole.norm(), whole / whole.norm()
    own = model.image_projection(tokens[0]) / tokens.shape[1]  # (N, D)
    expected = torch.stack([(own @ one - (own @ unit) * (unit @ one)) / length for one in asked])
    torch.testing.assert_close(found.flatten(1), expected, rtol=0, atol=1e-5)


def test_plain_dual_encoders_and_vision_transformers_are_explained(tmp_path):
    save_tiny(tmp_path / "conv")
    told = load(tmp_path / "conv", runtime="torch", device="cpu").explain(picture(32, 16), SENTENCE)
    assert told.selected is None
    assert told.saliency == {}
    assert np.abs(told.relevance).max() > 0
    model, tokenizer = save_itself(tmp_path / "model", tmp_path)
    places = Explainer(model, tokenizer).places(picture())
    assert set(relevances(places)) == set(RELEVANCES)


def test_the_sheet_holds_a_panel_for_each_map(tmp_path):
    save_itself(tmp_path / "model", tmp_path)
    told = load(tmp_path / "model", runtime="torch", device="cpu").explain(picture(), SENTENCE)
    few, many = explanation_sheet(told, picture(96, 48), 0), explanation_sheet(told, picture(96, 48), 6)
    assert many.height > few.height or many.width > few.width
    heat = np.zeros((6, 3), np.float32)
    heat[0, 0], heat[5, 2] = 1, -1
    panel = heat_panel(np.full((60, 30, 3), 128, np.uint8), heat)
    assert panel[3, 3, 0] > panel[3, 3, 2]
    assert panel[57, 27, 2] > panel[57, 27, 0]
    assert (np.ptp(heat_panel(np.full((60, 30, 3), 128, np.uint8), 0 * heat), axis=2) == 0).all()
    marked = selection_panel(np.full((60, 30, 3), 128, np.uint8), heat > 0)
    assert (marked[5, 5] == 128).all()
    assert (marked[40, 20] != 128).all()


def test_without_torch_or_weights_places_are_covered_instead(tmp_path, monkeypatch):
    save_tiny(tmp_path / "model")
    retriever = load(tmp_path / "model", runtime="torch", device="cpu")
    assert retriever.explain(picture(32, 16), SENTENCE).how == "gradient"
    covered = retriever.explain(picture(32, 16), SENTENCE, "occlusion")
    assert covered.how == "occlusion"
    with pytest.raises(ConfigError, match="Did you mean 'occlusion'"):
        retriever.explain(picture(32, 16), SENTENCE, "oclusion")
    monkeypatch.setattr("passerby.retriever.installed", lambda name: name != "torch")
    np.testing.assert_array_equal(retriever.explain(picture(32, 16), SENTENCE).relevance, covered.relevance)


def test_what_cannot_be_explained(tmp_path):
    save_tiny(tmp_path / "model")
    retriever = load(tmp_path / "model", runtime="torch", device="cpu")
    for text in ("", "  ", None):
        with pytest.raises(DataError, match="one sentence"):
            retriever.explain(picture(32, 16), text)
    with pytest.raises(DataError):
        retriever.explain(b"no picture", SENTENCE)
    with pytest.raises(CheckpointError, match="has changed"):
        open_explainer(str(tmp_path / "model"), "0" * 64)
    tokenizer = tiny_tokenizer()
    model = tiny_model(tokenizer)
    model.image_tower.grid = None
    with pytest.raises(ConfigError, match="tokens without places"):
        Explainer(model, tokenizer).places(picture(32, 16))
