import math

import pytest
import torch

from passerby.errors import ConfigError
from passerby.models.dual_encoder import MAX_LOGIT_SCALE, build_dual_encoder
from passerby.models.graphs import ImageGraph, TextGraph
from tiny_models import tiny_model

CONFIG = {
    "image": {"name": "stripe_conv", "options": {"channels": 8, "image_size": [32, 16]}},
    "text": {"name": "conv", "options": {"vocabulary_size": 40, "channels": 16}},
    "embedding_dim": 24,
}


def test_vectors_have_unit_length():
    model = build_dual_encoder(CONFIG).eval()
    images, texts, scale = model(torch.randn(3, 3, 32, 16), torch.randint(1, 40, (5, 6)))
    assert images.shape == (3, 24)
    assert texts.shape == (5, 24)
    torch.testing.assert_close(images.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(texts.norm(dim=1), torch.ones(5))
    assert scale.item() == pytest.approx(1 / 0.07)


def test_the_config_builds_the_same_shapes_again():
    model = build_dual_encoder(CONFIG)
    again = build_dual_encoder(model.config)
    again.load_state_dict(model.state_dict())
    assert again.config == model.config


def test_given_sizes_fill_only_what_is_open():
    open_config = {
        "image": {"name": "stripe_conv"},
        "text": {"name": "conv"},
        "embedding_dim": 8,
        "tokenizer": {"x": 1},
    }
    model = build_dual_encoder(open_config, image_size=(48, 32), vocabulary_size=77, context_length=9)
    assert model.preprocessing.image_size == (48, 32)
    assert model.config["text"]["options"] == {"vocabulary_size": 77}
    fixed = build_dual_encoder(CONFIG, image_size=(48, 32), vocabulary_size=77)
    assert fixed.preprocessing.image_size == (32, 16)
    assert fixed.config["text"]["options"]["vocabulary_size"] == 40


def test_the_logit_scale_is_clamped_and_can_come_down_again():
    model = build_dual_encoder(CONFIG).train()
    with torch.no_grad():
        model.log_scale.fill_(math.log(500))
    scale = model.logit_scale
    assert scale.item() == pytest.approx(MAX_LOGIT_SCALE)
    scale.backward()
    assert model.log_scale.grad.item() > 0
    with torch.no_grad():
        model.log_scale.fill_(math.log(500))
    assert model.eval().logit_scale.item() == pytest.approx(MAX_LOGIT_SCALE)
    assert model.log_scale.item() == pytest.approx(math.log(500)), "evaluation changes no parameter"


def test_the_graphs_fold_the_normalisation():
    model = tiny_model()
    pixels = torch.randint(0, 256, (2, 32, 16, 3), dtype=torch.uint8)
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (model.preprocessing.mean, model.preprocessing.std))
    by_hand = model.encode_images((pixels.permute(0, 3, 1, 2) / 255 - mean) / std)
    torch.testing.assert_close(ImageGraph(model)(pixels), by_hand, rtol=1e-5, atol=1e-6)
    ids = torch.randint(1, 30, (2, 5))
    torch.testing.assert_close(TextGraph(model)(ids), model.encode_texts(ids))


def test_the_projection_gets_gradients_from_both_sides():
    model = build_dual_encoder(CONFIG)
    images, texts, scale = model(torch.randn(4, 3, 32, 16), torch.randint(1, 40, (4, 6)))
    (scale * images @ texts.T).diagonal().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"embeding_dim": 3}, "Did you mean 'embedding_dim'"),
        ({"image": {"nam": "x"}}, "registry name"),
        ({"image": "stripe_conv"}, "registry name"),
        ({"image": {"name": "stripe_conv", "option": {}}}, "a tower has 'name' and 'options'"),
        ({"embedding_dim": 0}, "expected a whole number above zero"),
        ({"embedding_dim": None}, "expected a whole number above zero"),
        ({"projection": "mlpp"}, "no projection"),
        ({"text": {"name": "convv"}}, "Did you mean 'conv'"),
    ],
)
def test_wrong_config(change, words):
    with pytest.raises(ConfigError, match=words):
        build_dual_encoder({**CONFIG, **change})
