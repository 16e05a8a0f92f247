"""The image encoder of stage 1: its neck, its widths, its last stride, and what it refuses."""

import pytest
import torch

from passerby.errors import ConfigError
from passerby.models.kinds import KINDS
from passerby.models.reid import build_reid_model
from passerby.models.towers.registry import image_tower
from passerby.nn.last_stride import undo_last_stride

TINY = {"name": "stripe_conv", "options": {"channels": 8, "image_size": (32, 16)}}


def test_forward_gives_what_the_losses_read_and_the_vector_comes_after_the_neck():
    torch.manual_seed(0)
    model = build_reid_model({"image": TINY, "embedding_dim": 12}, classes=5)
    images = torch.randn(6, 3, 32, 16)
    vectors, logits = model.train()(images)
    assert vectors.shape == (6, 12)
    assert logits.shape == (6, 5)
    neck = (vectors - vectors.mean(0)) / (vectors.var(0, unbiased=False) + model.neck.eps).sqrt()
    torch.testing.assert_close(logits, neck @ model.classifier.weight.T, atol=1e-5, rtol=1e-5)
    model.eval()
    expected = torch.nn.functional.normalize(model.neck(model(images)[0]), dim=1)
    torch.testing.assert_close(model.encode_images(images), expected)
    assert not model.neck.bias.requires_grad
    assert model.neck.bias.abs().max() == 0
    doubled = model(images, lambda rows: torch.cat([rows, rows]))  # what another process would bring
    assert doubled[0].shape == (12, 12)


def test_the_native_width_has_no_projection():
    model = build_reid_model({"image": TINY, "embedding_dim": None}, classes=5)
    assert model.embedding_dim == model.image_tower.width
    again = build_reid_model(model.config)
    assert again.config == model.config
    assert {name: value.shape for name, value in again.state_dict().items()} == {
        name: value.shape for name, value in model.state_dict().items()
    }


@pytest.mark.parametrize("source", ["resnet18", "resnet50d", "test_convnext"])
def test_last_stride_1_doubles_the_map_and_takes_the_same_weights(source):
    plain = image_tower("timm", source=source, weights="random", image_size=(64, 32))
    finer = image_tower("timm", source=source, weights="random", image_size=(64, 32), last_stride=1)
    assert finer.grid[0] in (2 * plain.grid[0], 2 * plain.grid[0] - 1)  # a patchifying kernel loses one
    finer.load_state_dict(plain.state_dict())
    assert finer(torch.zeros(2, 3, 64, 32)).shape == plain(torch.zeros(2, 3, 64, 32)).shape
    assert finer.options["last_stride"] == 1
    assert "last_stride" not in plain.options
    assert image_tower(finer.name, **finer.options).grid == finer.grid


def test_a_network_without_stages_has_no_last_stride():
    with pytest.raises(ConfigError, match="does not reduce its pictures in stages"):
        image_tower("timm", source="test_vit", weights="random", last_stride=1)
    with pytest.raises(ConfigError, match="expected 1 or 2"):
        image_tower("timm", source="resnet18", weights="random", last_stride=3)
    with pytest.raises(ConfigError, match="leave the option out"):
        undo_last_stride(_Flat(), (8, 8))


class _Flat(torch.nn.Module):
    def forward_features(self, images):
        return images


@pytest.mark.parametrize(
    ("config", "classes", "message"),
    [
        ({"image": TINY, "embedding_dim": 8, "classes": 751}, 750, "tells 751 identities apart, the data has 750"),
        ({"image": TINY, "embedding_dim": 8}, None, "model.classes is None"),
        ({"image": TINY, "embedding_dim": 0}, 3, "above zero"),
        ({"image": TINY, "embedding_dim": 8, "projection": False}, 3, "without a projection"),
        ({"image": TINY, "embeding_dim": 8}, 3, "embedding_dim"),
        ({"image": "resnet50"}, 3, "expected a mapping"),
        ({"image": {"name": "stripe_cnov"}, "embedding_dim": 8}, 3, "stripe_conv"),
    ],
)
def test_wrong_configurations_are_refused(config, classes, message):
    with pytest.raises(ConfigError, match=message):
        build_reid_model(config, classes=classes)


def test_the_kind_is_one_of_pictures_alone():
    assert KINDS["reid"].pictures
    assert not KINDS["reid"].sentences
