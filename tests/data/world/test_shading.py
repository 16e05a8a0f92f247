"""The shader: patterns sit on the body and turn with it, light comes from its side, nothing leaks outside."""

import numpy as np
import pytest

from passerby.data.world.canvas import Canvas, Fabric, measure, rasterise
from passerby.data.world.shading import PATTERNS, WEAVES, shade

AHEAD = (0.0, 0.0, 1.0, 0.4)


def cylinder(fabric, yaw=0.0, light=AHEAD):
    """An upright cylinder in the middle of a board of 100 x 100."""
    canvas = Canvas(100, 100)
    tube = canvas.tube((50, 10), (50, 90), (30, 30), length=0.4, radius=0.1, yaw=yaw)
    canvas.fill(tube, "top", fabric, 0.0)
    geometry = measure(canvas)
    numbers, _, shadow = rasterise(canvas, geometry, slice(0, 1))
    return shade(canvas, geometry, numbers, shadow, light, 200.0, 0), numbers


def test_only_drawn_pixels_are_coloured():
    layer, numbers = cylinder(Fabric((200.0, 100.0, 50.0), folds=0.0))
    np.testing.assert_array_equal(layer[:, :, 3], np.where(numbers > 0, 255, 0))
    assert (layer[numbers == 0] == 0).all()


def test_a_lit_cylinder_is_bright_in_its_middle_and_keeps_its_hue():
    layer, _ = cylinder(Fabric((200.0, 100.0, 50.0), folds=0.0))
    middle, edge = layer[50, 50].astype(float), layer[50, 22].astype(float)
    assert middle[:3].sum() > 1.4 * edge[:3].sum()
    assert middle[0] / middle[1] == pytest.approx(2.0, abs=0.05)


def test_light_from_the_left_brightens_the_left():
    layer, _ = cylinder(Fabric((150.0, 150.0, 150.0), folds=0.0), light=(-0.6, 0.0, 0.8, 0.4))
    assert int(layer[50, 28, 0]) > int(layer[50, 72, 0]) + 30


@pytest.mark.parametrize("pattern", [name for name, texture in PATTERNS.items() if texture is not None])
def test_a_pattern_shows_both_colours(pattern):
    layer, numbers = cylinder(Fabric((200.0, 0.0, 0.0), (0.0, 0.0, 200.0), pattern, folds=0.0))
    drawn = layer[numbers > 0].astype(int)
    share = (drawn[:, 2] > drawn[:, 0]).mean()
    assert 0.02 < share < 0.75


@pytest.mark.parametrize("weave", [name for name, texture in WEAVES.items() if texture is not None])
def test_a_weave_changes_brightness_only(weave):
    smooth, numbers = cylinder(Fabric((100.0, 100.0, 100.0), folds=0.0))
    woven, _ = cylinder(Fabric((100.0, 100.0, 100.0), weave=weave, folds=0.0))
    change = woven[numbers > 0, :3].astype(int) - smooth[numbers > 0, :3].astype(int)
    assert np.abs(change).max() >= 2
    assert np.ptp(change, axis=1).max() <= 1


def test_a_print_turns_with_the_body_and_vanishes_from_the_side():
    fabric = Fabric((200.0, 0.0, 0.0), (0.0, 0.0, 200.0), "logo", folds=0.0)

    def where(yaw):
        layer, _ = cylinder(fabric, yaw)
        blue = layer[:, :, 2] > layer[:, :, 0]
        return blue.sum(), np.nonzero(blue)[1].mean() if blue.any() else None

    size, centre = where(0.0)
    assert centre == pytest.approx(50, abs=1.5)
    assert where(30.0)[1] < centre - 5  # 90 shows the left side: the chest moves to the picture's left
    assert where(-30.0)[1] > centre + 5
    assert where(90.0)[0] < 0.5 * size


def test_hidden_piece_numbers_do_not_colour():
    canvas = Canvas(40, 40)
    for colour, depth in (((250.0, 0.0, 0.0), 0.0), ((0.0, 250.0, 0.0), 1.0)):
        canvas.fill(canvas.tube((20, 5), (20, 35), (10, 10)), "top", Fabric(colour, folds=0.0), depth)
    geometry = measure(canvas)
    numbers, _, shadow = rasterise(canvas, geometry, slice(0, 2))
    layer = shade(canvas, geometry, numbers, shadow, AHEAD, 100.0, 0)
    assert layer[20, 20, 1] > 150
    assert layer[..., 0].max() == 0
