"""Augmentation on tensors: off means untouched, on means what it says, the seed decides everything."""

import pytest
import torch

from passerby.training.augment import augment, padded_crop
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


def test_a_padded_crop_is_a_shift_into_black():
    pixels = torch.arange(1, 2 * 5 * 4 * 3 + 1, dtype=torch.uint8).reshape(2, 5, 4, 3)
    shifts = set()
    for seed in range(40):
        cropped = padded_crop(pixels, 2, torch.Generator().manual_seed(seed))
        again = padded_crop(pixels, 2, torch.Generator().manual_seed(seed))
        assert torch.equal(cropped, again)
        for before, after in zip(pixels, cropped, strict=True):
            fits = []
            for down in range(-2, 3):
                for right in range(-2, 3):
                    expected = torch.zeros(9, 8, 3, dtype=torch.uint8)
                    expected[2:7, 2:6] = before
                    if torch.equal(after, expected[2 + down : 7 + down, 2 + right : 6 + right]):
                        fits.append((down, right))
            assert len(fits) == 1
            shifts.add(fits[0])
    assert len(shifts) > 15
    assert padded_crop(pixels, 0, torch.Generator()) is pixels


def test_the_largest_erased_share_is_what_was_asked_for():
    config = AugmentationConfig(flip=0, shift=0, colour=0, erase=1)
    pixels = torch.randint(0, 255, (64, 64, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    plain = pixels.permute(0, 3, 1, 2).float() / 255
    shares = {}
    for largest in (0.05, 0.4):
        changed = augment(pixels, config, torch.Generator().manual_seed(1), largest)
        shares[largest] = (changed != plain).any(dim=1).float().mean(dim=(1, 2))
    assert shares[0.05].max() < 0.07
    assert 0.2 < shares[0.4].max() < 0.42


@pytest.mark.parametrize("colour", [None, (0.25, 0.5, 0.75)])
def test_erased_rectangles_have_the_colour_that_was_asked_for(colour):
    pixels = torch.randint(0, 256, (6, 24, 12, 3), dtype=torch.uint8)
    plain = AugmentationConfig(flip=0, shift=0, colour=0)
    erased = AugmentationConfig(flip=0, shift=0, colour=0, erase=1, erase_colour=colour)
    before = augment(pixels, plain, torch.Generator().manual_seed(1))
    after = augment(pixels, erased, torch.Generator().manual_seed(1))
    for one, other in zip(before, after, strict=True):
        changed = (one != other).any(dim=0)
        expected = one.mean(dim=(1, 2)) if colour is None else torch.tensor(colour)
        assert changed.any()
        torch.testing.assert_close(other[:, changed], expected[:, None].expand(-1, int(changed.sum())))


def test_published_recipes_erase_with_the_mean_that_was_written_after_normalising():
    from passerby.training.recipe import load_recipe

    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # CLIP's
    for name in ("irra", "irra-sdm-id", "itself", "rde", "tal-cid"):
        colour = load_recipe(name).augmentation.erase_colour
        assert colour == pytest.approx([m + s * m for m, s in zip(mean, std, strict=True)], abs=1e-4)
