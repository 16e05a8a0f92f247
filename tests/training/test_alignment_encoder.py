"""What an alignment trains: a CLIP taken whole at another size, with a local branch, and what has nothing to hold."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from passerby.errors import CheckpointError, ConfigError
from passerby.models.clip_folder import read_clip
from passerby.models.itself import build_itself
from passerby.models.preprocessing import Preprocessing
from passerby.models.restore import save_dual_encoder, save_model
from passerby.training.tasks.alignment_encoder import build_encoder, freeze_patches, set_text_dropout
from passerby.training.tasks.alignment_recipe import AlignmentModel
from tiny_models import spread_weights, tiny_model, tiny_tokenizer, write_clip_tokenizer


def test_a_clip_is_taken_whole_and_brought_to_the_recipes_size(tmp_path):
    from transformers import CLIPConfig, CLIPModel

    size, end = write_clip_tokenizer(tmp_path / "tokenizer.json")
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**shape, "vocab_size": size, "max_position_embeddings": 16, "eos_token_id": end, "bos_token_id": end - 1}
    vision = {**shape, "image_size": 32, "patch_size": 8}
    theirs = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=12))
    spread_weights(theirs)
    theirs.save_pretrained(tmp_path)
    pixels = {"mean": [0.5, 0.4, 0.3], "interpolation": "bilinear"}
    config = AlignmentModel.model_validate(
        {"clip": str(tmp_path), "pixels": pixels, "local": {"dim": 8, "norm": "layer"}}
    )
    encoder, tokenizer = build_encoder(config, (48, 16), [])
    own = read_clip(tmp_path).config.preprocessing
    assert encoder.preprocessing == Preprocessing((48, 16), (0.5, 0.4, 0.3), own.std, "bilinear")
    assert (encoder.image_tower.grid, encoder.local_dim, tokenizer.vocabulary_size) == ((6, 2), 8, size)
    plain = read_clip(tmp_path).model
    torch.testing.assert_close(encoder.image_projection.weight, plain.image_projection.weight)
    torch.testing.assert_close(encoder.text_tower.embedding.weight, plain.text_tower.embedding.weight)


def test_how_pixels_are_read_is_said_of_a_clip_only():
    with pytest.raises(ValueError, match="there is none"):
        AlignmentModel.model_validate({"start": "street", "pixels": {"interpolation": "bilinear"}})


def test_a_trained_model_of_ours_is_gone_on_from(tmp_path):
    trained, tokenizer = tiny_model(), tiny_tokenizer()
    save_dual_encoder(trained, tokenizer, tmp_path / "plain", name="plain")
    size = trained.preprocessing.image_size
    config = AlignmentModel.model_validate({"start": str(tmp_path / "plain")})
    encoder, read = build_encoder(config, size, [])
    assert encoder.training
    assert read.encode(["a red coat"]).tolist() == tokenizer.encode(["a red coat"]).tolist()
    for ours, theirs in zip(encoder.state_dict().values(), trained.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs)
    with pytest.raises(ConfigError, match=f"reads {size[0]}x{size[1]}; set data.image_size"):
        build_encoder(config, (16, 16), [])
    with pytest.raises(CheckpointError, match="no model"):
        build_encoder(AlignmentModel.model_validate({"start": "nowhere"}), size, [])


def test_a_model_with_a_local_branch_is_not_gone_on_from(tmp_path):
    shape = {"channels": 8, "layers": 1, "heads": 2}
    model = build_itself(
        {
            "image": {"name": "stem_vit", "options": shape},
            "text": {"name": "transformer", "options": shape},
            "embedding_dim": 8,
            "local": {"dim": 8, "norm": "layer"},
        },
        image_size=(32, 16),
        vocabulary_size=tiny_tokenizer().vocabulary_size,
        context_length=16,
    )
    saved = {"kind": "itself", "name": "local", "preprocessing": model.preprocessing, "tokenizer": tiny_tokenizer()}
    save_model(model, tmp_path / "local", **saved)
    with pytest.raises(ConfigError, match="a itself model; an alignment goes on from a plain dual encoder"):
        build_encoder(AlignmentModel.model_validate({"start": str(tmp_path / "local")}), (32, 16), [])


def test_what_has_nothing_to_freeze_or_drop_is_refused():
    model = tiny_model()
    with pytest.raises(ConfigError, match="has no attention to drop from"):
        set_text_dropout(model, 0.1)
    model.image_tower = torch.nn.Identity()
    model.image_tower.name = "flat"
    with pytest.raises(ConfigError, match="the image tower flat has no patches"):
        freeze_patches(model)
