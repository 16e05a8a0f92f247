"""Dual encoders with attention between tokens and pooling: built, saved, exported, and beside other libraries."""

import json
import logging

import numpy as np
import pytest
import torch

import passerby
from attended_models import SMALL, attended_model
from passerby.errors import CheckpointError, ConfigError
from passerby.export.onnx import export_onnx
from passerby.models.attended import AttendedImage, AttendedText, attended_image, token_shape, tower_weights_at
from passerby.models.checkpoint import read_checkpoint
from passerby.models.dual_encoder import attention_of, build_dual_encoder
from passerby.models.folder import write_manifest
from passerby.models.restore import save_dual_encoder
from passerby.models.towers import image_tower, text_tower, text_tower_tokenizer
from tiny_models import spread_weights, tiny_tokenizer

CLOSE = {"rtol": 0, "atol": 1e-5}
RNG = np.random.default_rng(0)


# -- mechanisms on towers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attention", ["self", "sparse"])
@pytest.mark.parametrize("pooling", ["attention", "tower"])
@pytest.mark.parametrize("text", ["conv", "transformer", "distilbert"])
def test_a_tower_with_a_mechanism_is_a_tower(attention, pooling, text):
    chosen = {"name": attention, "options": {**SMALL, "pooling": pooling}}
    model = attended_model({"image": chosen, "text": chosen}, text=text)
    images, ids = torch.randn(2, 3, 64, 32), torch.tensor([[3, 4, 5, 6, 7], [8, 9, 0, 0, 0]])
    with torch.no_grad():
        pictures, sentences, _ = model(images, ids)
        torch.testing.assert_close(model.encode_images(images[1:]), pictures[1:], **CLOSE)
        torch.testing.assert_close(model.encode_texts(ids[1:, :2]), sentences[1:], **CLOSE)
        raw = model(images, ids, unit=False)
    torch.testing.assert_close(torch.nn.functional.normalize(raw[0], dim=1), pictures)
    assert not torch.allclose(raw[0].norm(dim=1), torch.ones(2))
    assert isinstance(model.image_tower, AttendedImage)
    assert isinstance(model.text_tower, AttendedText)
    assert pictures.shape == sentences.shape == (2, 32)


def test_each_side_has_its_own_and_a_name_stands_for_both():
    both = attention_of("self", "image")
    assert both == attention_of("self", "text") == attention_of({"image": "self"}, "image")
    assert attention_of({"image": "self"}, "text") == {"name": "none", "options": {}}
    model = attended_model({"text": {"name": "sparse", "options": {**SMALL, "window": 3}}})
    assert not isinstance(model.image_tower, AttendedImage)
    assert model.config["attention"]["text"]["options"]["window"] == 3
    assert tower_weights_at(model.image_tower, "image") == "image_tower."
    assert tower_weights_at(model.text_tower, "text") == "text_tower.tower."
    names = [name for name, _ in model.named_parameters()]
    assert any(name.startswith("text_tower.tower.") for name in names)
    assert any(name.startswith("text_tower.mixer.") for name in names)


def test_a_model_without_mechanisms_is_what_it_was():
    """Configuration, and with it the fingerprint that galleries are bound to, says nothing of what is not there."""
    model = attended_model("none")
    assert set(model.config) == {"image", "text", "embedding_dim", "projection"}


def test_the_config_builds_the_same_model_again():
    model = attended_model("sparse", reranker=SMALL, projection="residual")
    again = build_dual_encoder(json.loads(json.dumps(model.config)))
    again.load_state_dict(model.state_dict())
    assert json.dumps(again.config) == json.dumps(model.config)


@pytest.mark.parametrize("name", ["timm:test_vit", "timm:resnet10t", "fastvit_t8", "clip"])
def test_mechanisms_find_the_grid_of_every_kind_of_tower(name):
    options = {"image_size": (64, 32)}
    options |= {"patch": 8, "channels": 16, "layers": 1, "heads": 2} if name == "clip" else {"weights": "random"}
    tower = image_tower(name, **options).eval()
    count, _ = token_shape(tower)
    assert tower.grid is not None
    in_front = count - tower.grid[0] * tower.grid[1]
    assert in_front == (1 if name in ("clip", "timm:test_vit") else 0)
    assert tower.grid[0] == 2 * tower.grid[1], "twice as high as wide, like the picture"
    attended = attended_image(tower, "sparse", {**SMALL, "pooling": "tower", "window": 1}).eval()
    images = torch.randn(2, 3, 64, 32)
    with torch.no_grad():
        torch.testing.assert_close(attended(images), tower(images), msg="the change starts at nothing")
        torch.testing.assert_close(attended.fused()(images), attended(images), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("attention", "words"),
    [
        ("sprase", "Did you mean 'sparse'"),
        ("cross", "it is a re-ranker"),
        ({"picture": "self"}, "model.attention.picture: no such key"),
        ({"image": {"name": "self", "option": {}}}, "expected a mechanism's name"),
        ({"text": {"name": "self", "options": {"haeds": 2}}}, "Did you mean 'heads'"),
        ({"text": 3}, "model.attention.text is 3"),
    ],
)
def test_wrong_attention(attention, words):
    with pytest.raises(ConfigError, match=words):
        attended_model(attention)


def test_tokens_without_places_are_refused():
    tower = image_tower("stripe_conv", image_size=(32, 16), channels=8)
    tower.grid = None
    with pytest.raises(ConfigError, match="tower stripe_conv gives 2 tokens without places"):
        attended_image(tower, "self", {})


# -- checkpoints and exports ----------------------------------------------------------------------------------------


def test_saved_loaded_and_exported_it_gives_the_same_vectors(tmp_path):
    model, tokenizer = attended_model("sparse", reranker=SMALL), tiny_tokenizer()
    save_dual_encoder(model, tokenizer, tmp_path / "m", name="attended")
    report = export_onnx(tmp_path / "m")
    assert max(report.image.max_difference, report.text.max_difference) < 1e-4
    pictures = [RNG.integers(0, 256, (40, 20, 3), dtype=np.uint8) for _ in range(3)]
    texts = ["a woman in a red coat", "jeans", "a man with a black backpack and grey trainers"]
    by_torch, by_onnx = (passerby.load(tmp_path / "m", runtime=name, threads=1) for name in ("torch", "onnxruntime"))
    np.testing.assert_allclose(by_onnx.encode_images(pictures), by_torch.encode_images(pictures), atol=1e-4)
    np.testing.assert_allclose(by_onnx.encode_texts(texts), by_torch.encode_texts(texts), atol=1e-4)
    with torch.no_grad():
        expected = model.encode_texts(torch.from_numpy(tokenizer.encode(texts))).numpy()
    np.testing.assert_allclose(by_torch.encode_texts(texts), expected, atol=1e-5)


def test_the_shipped_checkpoint_still_loads_whole_and_gives_the_vectors_of_its_export():
    """Written before there were mechanisms; its export was, too, so equal vectors mean that nothing has moved."""
    by_torch, by_onnx = (passerby.load("street", runtime=name, threads=1) for name in ("torch", "onnxruntime"))
    pictures = [RNG.integers(0, 256, (96, 48, 3), dtype=np.uint8) for _ in range(2)]
    texts = ["a woman in a red coat with a black backpack", "a man"]
    for encode, items in (("encode_images", pictures), ("encode_texts", texts)):
        one, other = (getattr(loaded, encode)(items) for loaded in (by_torch, by_onnx))
        assert (one * other).sum(axis=1).min() > 0.9999
    folder = passerby.load("street", runtime="torch")
    assert folder.fingerprint == by_onnx.fingerprint


def test_weights_of_another_width_are_refused_with_both_shapes(tmp_path):
    save_dual_encoder(attended_model("self"), tiny_tokenizer(), tmp_path / "m", name="attended")
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    config["model"]["attention"]["image"]["options"]["mlp_ratio"] = 3.0
    (tmp_path / "m" / "config.json").write_text(json.dumps(config))
    (tmp_path / "m" / "manifest.json").unlink()
    write_manifest(tmp_path / "m")
    checkpoint = read_checkpoint(tmp_path / "m")
    from passerby.models.restore import restore_model

    with pytest.raises(
        CheckpointError,
        match=r"mixer\.layers\.0\.(widen|narrow).*shape \(.*32.*\), the configuration asks for \(.*48.*\)",
    ):
        restore_model(checkpoint)


# -- beside timm and transformers -----------------------------------------------------------------------------------


def reports_model(tmp_path, trunk):
    """The reports' dual encoder from folders in timm's and transformers' real formats, and the originals beside it."""
    import timm
    from safetensors.torch import save_file
    from transformers import DistilBertConfig, DistilBertModel

    torch.manual_seed(0)
    theirs = timm.create_model(trunk, num_classes=0).eval()
    for part in theirs.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 2)
    (tmp_path / "image").mkdir()
    save_file(timm.create_model(trunk).state_dict() | theirs.state_dict(), tmp_path / "image" / "model.safetensors")
    bert = DistilBertModel(
        DistilBertConfig(vocab_size=120, dim=32, n_layers=2, n_heads=4, hidden_dim=64, max_position_embeddings=20)
    ).eval()
    spread_weights(bert)
    bert.save_pretrained(tmp_path / "text")
    (tmp_path / "text" / "tokenizer.json").write_text(tiny_tokenizer().to_json())
    config = {
        "image": {"name": trunk, "options": {"weights": str(tmp_path / "image"), "image_size": [64, 32]}},
        "text": {"name": "distilbert", "options": {"source": str(tmp_path / "text")}},
        "embedding_dim": 256,
        "projection": "residual",
    }
    return build_dual_encoder(config).eval(), theirs, bert


@pytest.mark.parametrize("trunk", ["resnet10t", "fastvit_t8"])
def test_the_reports_dual_encoder_equals_timm_and_transformers(tmp_path, trunk):
    ours, theirs, bert = reports_model(tmp_path, trunk)
    images, ids = torch.randn(2, 3, 64, 32), torch.tensor([[3, 4, 5, 0, 0], [7, 8, 9, 2, 1]])

    def head(projection, vectors):
        projected = torch.nn.functional.linear(vectors, projection.enter.weight, projection.enter.bias)
        refined = torch.nn.functional.linear(
            torch.nn.functional.gelu(projected), projection.refine.weight, projection.refine.bias
        )
        return torch.nn.functional.layer_norm(refined + projected, (256,))

    with torch.no_grad():
        features = theirs(images)
        words = bert(ids, attention_mask=(ids != 0).long()).last_hidden_state[:, 0]
        torch.testing.assert_close(ours.image_tower(images), features, **CLOSE)
        torch.testing.assert_close(ours.text_tower(ids), words, **CLOSE)
        pictures, sentences, _ = ours(images, ids, unit=False)
        torch.testing.assert_close(pictures, head(ours.image_projection, features), **CLOSE)
        torch.testing.assert_close(sentences, head(ours.text_projection, words), **CLOSE)


def test_a_caption_over_the_limit_is_cut_and_counted(tmp_path, caplog):
    (tmp_path / "tokenizer.json").write_text(tiny_tokenizer().to_json())
    tokenizer = text_tower_tokenizer("distilbert", 6, source=str(tmp_path))
    assert tokenizer is not None
    with caplog.at_level(logging.WARNING):
        ids = tokenizer.encode(
            ["a man", "a woman in a red coat with a black backpack " * 4, "a woman in a red coat, " * 3]
        )
    assert ids.shape == (3, 6)
    assert "2 of 3 sentences were cut to 6 tokens" in caplog.text


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: image_tower("fastvit_t9", weights="random"), "Did you mean 'fastvit_t"),
        (lambda: image_tower("resnet_50", weights="random"), "Did you mean 'resnet50"),
        (lambda: text_tower("distilbet"), "Did you mean 'distilbert'"),
    ],
)
def test_unknown_towers_name_the_nearest(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


def test_pretrained_weights_are_wanted_unless_random_ones_are_asked_for(monkeypatch):
    """No tower falls back to random weights silently: the hub does not answer here, and that is an error."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for name in ("resnet50", "fastvit_t8"):
        with pytest.raises(ConfigError, match=r"could not be fetched.*weights=FOLDER.*weights=random"):
            image_tower(name)
    with pytest.raises(CheckpointError, match="distilbert-base-uncased"):
        text_tower("distilbert:distilbert/distilbert-base-uncased")
