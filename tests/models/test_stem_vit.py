"""The small vision transformer with a convolutional stem: its places, its two poolings, and what it refuses."""

import pytest
import torch

from passerby.errors import ConfigError
from passerby.models.towers import image_tower
from passerby.models.towers.stem_vit import StemVit

SMALL = {"channels": 16, "layers": 2, "heads": 2}


@pytest.mark.parametrize("patch", [8, 16, 32])
@pytest.mark.parametrize("pooling", ["class", "mean"])
def test_a_place_for_each_patch_and_a_class_token_where_one_stands_for_the_picture(patch, pooling):
    torch.manual_seed(0)
    tower = StemVit((64, 32), patch, pooling=pooling, **SMALL)
    images = torch.randn(2, 3, 64, 32)
    tokens = tower.tokens(images)
    assert tower.grid == (64 // patch, 32 // patch)
    assert tokens.shape == (2, tower.grid[0] * tower.grid[1] + (pooling == "class"), 16)
    pooled = tower.pool(tokens)
    expected = tower.dense(tokens)[:, 0] if pooling == "class" else tower.dense(tokens).mean(dim=1)
    torch.testing.assert_close(pooled, expected)
    pooled.square().sum().backward()
    assert all(parameter.grad is not None for parameter in tower.parameters())
    assert len(tower.attention_layers()) == 2


def test_a_patch_moves_its_own_place_most():
    """Without layers a token is what the stem saw there, so a changed corner changes the corner's token alone."""
    torch.manual_seed(1)
    tower = StemVit((64, 32), 16, channels=16, layers=0, heads=2).eval()
    plain = torch.randn(1, 3, 64, 32)
    changed = plain.clone()
    changed[:, :, -4:, -4:] = changed[:, :, -4:, -4:].flip(-1)  # mean and spread of the picture stay as they are
    with torch.no_grad():
        moved = (tower.tokens(changed) - tower.tokens(plain)).abs().sum(dim=-1)[0]
    assert moved.argmax() == len(moved) - 1
    assert float(moved[:-3].max()) < 1e-4


def test_gains_of_a_camera_change_the_standardised_half_little():
    """The stem sees a picture beside its standardised self; without the plain half, a gain hardly matters."""
    torch.manual_seed(2)
    tower = StemVit((64, 32), 8, **SMALL).eval()
    with torch.no_grad():
        tower.first.weight[:, :3] = 0
        images = torch.randn(2, 3, 64, 32) * 3
        near = (tower(images) - tower(images * 1.5 + 0.5)).abs().max()
        tower.first.weight[:, :3] = torch.randn_like(tower.first.weight[:, :3]) * 0.1
        far = (tower(images) - tower(images * 1.5 + 0.5)).abs().max()
    assert near < 0.2 * far


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"patch": 12}, "8, 16, 32"),
        ({"image_size": (60, 32)}, "multiples of the patch"),
        ({"pooling": "max"}, "class or mean"),
        ({"heads": 3}, "cannot be cut"),
    ],
)
def test_wrong_options_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        image_tower("stem_vit", **{"image_size": (64, 32), **SMALL, **options})
