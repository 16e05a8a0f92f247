"""The drawing board: outlines against a hand-made case, depth order, its limit."""

import numpy as np
import pytest

from passerby.data.world.canvas import Canvas, Fabric, measure, outlines, rasterise
from passerby.errors import DataError

GREY = Fabric((128.0, 128.0, 128.0))


def board(*pieces):
    canvas = Canvas(100, 100)
    for start, end, half, depth, options in pieces:
        tube = canvas.tube(start, end, (half, half))
        canvas.fill(tube, "top", GREY, depth, **options)
    return canvas


def test_a_straight_tube_is_a_rectangle():
    canvas = board(((50, 20), (50, 80), 10, 0.0, {}))
    points = outlines(canvas, measure(canvas))[0]
    assert points[:, 0].min() == pytest.approx(40, abs=1e-3)
    assert points[:, 0].max() == pytest.approx(60, abs=1e-3)
    assert points[:, 1].min() == pytest.approx(20, abs=1e-3)
    assert points[:, 1].max() == pytest.approx(80, abs=1e-3)
    numbers, _, _ = rasterise(canvas, measure(canvas), slice(0, 1))
    assert numbers[50, 50] == 1
    assert numbers[50, 35] == 0
    assert abs(int((numbers == 1).sum()) - 60 * 20) < 120  # polygons include their border


def test_a_patch_covers_its_share_and_round_ends_reach_further():
    whole = board(((50, 20), (50, 80), 10, 0.0, {"caps": (1.0, 1.0)}))
    assert outlines(whole, measure(whole))[0][:, 1].min() == pytest.approx(10, abs=1e-3)
    part = board(((50, 20), (50, 80), 10, 0.0, {"along": (0.5, 1.0), "across": (0.0, 1.0)}))
    points = outlines(part, measure(part))[0]
    assert points[:, 1].min() == pytest.approx(50, abs=1e-3)
    assert points[:, 0].min() == pytest.approx(50, abs=1e-3)


def test_nearer_pieces_are_drawn_over_farther_ones_and_ties_keep_their_order():
    canvas = board(
        ((50, 20), (50, 80), 10, 0.5, {}), ((20, 50), (80, 50), 10, 0.1, {}), ((50, 40), (50, 60), 5, 0.5, {})
    )
    canvas.sort_from(0)
    assert [piece.tube for piece in canvas.pieces] == [1, 0, 2]
    numbers, _, _ = rasterise(canvas, measure(canvas), slice(0, 3))
    assert numbers[50, 50] == 3
    assert numbers[30, 50] == 2
    assert numbers[50, 25] == 1


def test_what_lies_in_front_of_the_person_is_missing_from_the_unhidden_map():
    canvas = board(((50, 20), (50, 80), 10, 0.0, {}), ((20, 50), (80, 50), 10, 0.0, {}))
    numbers, unhidden, _ = rasterise(canvas, measure(canvas), slice(0, 1))
    assert numbers[50, 50] == 2
    assert unhidden[50, 50] == 1
    assert set(np.unique(unhidden)) == {0, 1}


def test_shadow_falls_on_what_lies_behind_and_not_on_the_caster():
    canvas = board(((50, 10), (50, 90), 30, 0.0, {}), ((50, 30), (50, 60), 10, 1.0, {"shadow": 0.8}))
    _, _, shadow = rasterise(canvas, measure(canvas), slice(0, 2))
    assert shadow[45 // 2, 50 // 2] == 0
    assert shadow.max() == int(255 * 0.8)
    assert shadow.shape == (50, 50)


def test_more_pieces_than_a_byte_can_number_are_refused():
    canvas = board(*[((50, 20), (50, 80), 10, 0.0, {})] * 256)
    with pytest.raises(DataError, match="256 pieces"):
        rasterise(canvas, measure(canvas), slice(0, 256))
