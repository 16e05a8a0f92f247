"""What models hand to the losses of alignment, and a CLIP at another picture size."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from passerby.errors import ConfigError
from passerby.models.alignment import Moment, pair_features_of, rows_of_groups
from passerby.models.clip_folder import read_clip
from passerby.models.clip_formats import read_clip_parts
from passerby.models.clip_resize import at_size
from passerby.models.dual_encoder import build_dual_encoder
from passerby.nn.position_grid import resample_positions
from tiny_models import spread_weights, tiny_model, write_clip_tokenizer


def vit():
    torch.manual_seed(0)
    return build_dual_encoder(
        {
            "image": {"name": "clip", "options": {"patch": 8, "channels": 16, "layers": 1, "heads": 2}},
            "text": {"name": "transformer", "options": {"channels": 16, "layers": 1, "heads": 2}},
            "embedding_dim": 12,
        },
        image_size=(32, 16),
        vocabulary_size=50,
        context_length=9,
    ).eval()


GROUPS = [torch.tensor([[5, 6, 0], [7, 8, 9]]), torch.tensor([[1, 2, 3, 4, 5]])]
PLACE = torch.tensor([1, 2, 0])  # pair 0 is the second sentence, pair 1 the third, pair 2 the first


def test_rows_of_groups_turn_places_round():
    rows = rows_of_groups(GROUPS, PLACE)
    assert [one.tolist() for one in rows] == [[2, 0], [1]]


def test_a_dual_encoders_vectors_and_tokens_are_its_own():
    model, images = vit(), torch.randn(3, 3, 32, 16)
    features = pair_features_of(model, images, GROUPS, PLACE, Moment(3, 2), tokens=True)
    torch.testing.assert_close(torch.nn.functional.normalize(features.images), model.encode_images(images))
    texts = torch.cat([model.encode_texts(group) for group in GROUPS])[PLACE]
    torch.testing.assert_close(torch.nn.functional.normalize(features.texts), texts)
    torch.testing.assert_close(features.image_tokens[:, 0], features.images)  # the class token is the picture
    assert features.image_tokens.shape == (3, 9, 12)
    assert [group.tokens.shape for group in features.text_tokens] == [(2, 3, 12), (1, 5, 12)]
    assert features.local_images is None
    assert Moment(3, 2).epochs == 1.5


def test_tokens_of_another_width_are_refused():
    model = tiny_model()  # pools rows of a map into something wider
    with pytest.raises(ConfigError, match=r"losses on tokens \(mlm\) need a vision transformer"):
        pair_features_of(model, torch.randn(3, 3, 32, 16), GROUPS, PLACE, tokens=True)


def test_what_has_no_pairs_is_refused():
    with pytest.raises(ConfigError, match="not Linear"):
        pair_features_of(torch.nn.Linear(2, 2), torch.zeros(1), GROUPS, PLACE)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    from transformers import CLIPConfig, CLIPModel

    folder = tmp_path_factory.mktemp("clip")
    size, end = write_clip_tokenizer(folder / "tokenizer.json")
    text = {"vocab_size": size, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
            "num_attention_heads": 2, "max_position_embeddings": 16, "eos_token_id": end,
            "bos_token_id": end - 1}  # fmt: skip
    vision = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
              "image_size": 32, "patch_size": 8}  # fmt: skip
    theirs = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=12))
    spread_weights(theirs)
    theirs.save_pretrained(folder)
    return folder


def test_a_clip_is_brought_to_another_size_only_when_asked(clip, caplog):
    plain, parts = read_clip(clip).model, read_clip_parts(clip)
    assert plain.preprocessing.image_size == (32, 32)
    assert not caplog.records
    assert at_size(parts) is parts
    with caplog.at_level("INFO"):
        tall = read_clip(clip, (48, 16), 4).model
    assert "from 4x4 to 11x3 patches" in caplog.text
    assert tall.preprocessing.image_size == (48, 16)
    assert tall.image_tower.grid == (11, 3)
    expected = resample_positions(parts.tensors["image_tower.positions"], (4, 4), (11, 3))
    torch.testing.assert_close(tall.image_tower.positions.data, expected)
    assert tall.encode_images(torch.zeros(1, 3, 48, 16)).shape == (1, 12)
    again = build_dual_encoder(tall.config)  # a checkpoint builds the same shape
    assert {name: p.shape for name, p in again.named_parameters()} == {n: p.shape for n, p in tall.named_parameters()}
    with pytest.raises(ConfigError, match="multiples of the patch, 8"):
        read_clip(clip, (50, 16))
