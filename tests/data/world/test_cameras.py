"""Cameras and scenery: every camera leaves its own mark, every place can be cut at every size."""

import numpy as np
import pytest
from PIL import Image

from passerby.data.world.cameras import CAMERAS, LIGHTS, expose
from passerby.data.world.scenery import PLACES, background

CHART = Image.fromarray(
    np.repeat(np.array([[[200, 60, 60], [60, 200, 60], [60, 60, 200], [128, 128, 128]]], np.uint8), 64, 0).repeat(16, 1)
)


def test_cameras_are_told_apart_by_their_colours():
    means = [expose(CHART, index, "day", np.random.default_rng(0)).mean(axis=(0, 1)) for index in range(len(CAMERAS))]
    for index, one in enumerate(means):
        for other in means[index + 1 :]:
            assert np.abs(one - other).max() > 2.0


def test_names_are_unique_and_settings_in_range():
    assert len(CAMERAS) >= 6
    assert len({camera.name for camera in CAMERAS}) == len(CAMERAS)
    for camera in CAMERAS:
        assert camera.scenery in PLACES
        assert 40 <= camera.jpeg_quality <= 100
        assert 100 <= camera.crop_rows[0] < camera.crop_rows[1] <= 384


@pytest.mark.parametrize("light", list(LIGHTS))
@pytest.mark.parametrize("camera", range(len(CAMERAS)))
def test_the_order_of_colours_survives(camera, light):
    """Red stays the reddest patch, green the greenest, blue the bluest: a colour can still be named."""
    picture = expose(CHART, camera, light, np.random.default_rng(1)).astype(float)
    patches = np.stack([picture[:, start + 4 : start + 12].mean(axis=(0, 1)) for start in (0, 16, 32)])
    assert (patches.argmax(axis=0) == np.arange(3)).all()


def test_noise_is_of_the_promised_strength_and_differs_between_pictures():
    flat = Image.new("RGB", (64, 128), (128, 128, 128))

    def picture(light, seed):
        return expose(flat, 0, light, np.random.default_rng(seed)).astype(float)

    def strength(array):
        return array.std(axis=(0, 1)).mean()

    assert strength(picture("day", 0)) == pytest.approx(CAMERAS[0].noise, rel=0.3)
    assert strength(picture("night", 0)) > strength(picture("day", 0))
    assert (picture("day", 0) != picture("day", 1)).any()


@pytest.mark.parametrize("place", list(PLACES))
@pytest.mark.parametrize("size", [(16, 16), (128, 64), (384, 128), (40, 400)])
def test_a_place_is_cut_at_any_size_and_anywhere(place, size):
    one = background(place, size, np.random.default_rng(0))
    other = background(place, size, np.random.default_rng(1))
    assert (one.height, one.width) == size
    assert np.asarray(one).std() > 1
    assert (np.asarray(one) != np.asarray(other)).any()
