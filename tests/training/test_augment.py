"""Augmentation on tensors: off means untouched, on means what it says, the seed decides everything."""

import torch

from passerby.training.augment import augment
from passerby.training.recipe import AugmentationConfig


def pictures(count=16, height=24, width=12):
    return torch.randint(
        0, 256, (count, height, width, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )


def run(config, seed=0, pixels=None):
    return augment(pictures() if pixels is None else pixels, config, torch.Generator().manual_seed(seed))


OFF = AugmentationConfig(flip=0, shift=0, colour=0, erase=0)


def test_all_off_is_plain_scaling():
    torch.testing.assert_close(run(OFF), pictures().permute(0, 3, 1, 2).float() / 255)


def test_certain_flip_is_the_mirror_image():
    flipped = run(OFF.model_copy(update={"flip": 1.0}))
    torch.testing.assert_close(flipped, run(OFF).flip(3))


def test_shift_moves_and_repeats_the_border():
    moved = run(OFF.model_copy(update={"shift": 0.25}))
    original = run(OFF)
    assert moved.shape == original.shape
    for new, old in zip(moved, original, strict=True):
        padded = torch.nn.functional.pad(old[None], (3, 3, 6, 6), mode="replicate")[0]
        places = [(y, x) for y in range(13) for x in range(7) if torch.equal(padded[:, y : y + 24, x : x + 12], new)]
        assert places


def test_erasing_fills_with_the_mean_and_spares_the_rest():
    erased = run(OFF.model_copy(update={"erase": 1.0}))
    changed = (erased != run(OFF)).any(dim=1).float().mean(dim=(1, 2))
    assert (changed > 0).all()
    assert (changed < 0.5).all()


def test_colour_stays_in_range_and_the_seed_decides():
    config = AugmentationConfig(colour=0.4, erase=0.5)
    first = run(config, 3)
    assert first.min() >= 0
    assert first.max() <= 1
    torch.testing.assert_close(first, run(config, 3))
    assert not torch.equal(first, run(config, 4))
