"""Grounding measures against loops over pixels and places."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passerby.errors import DataError
from passerby.metrics.grounding import chance, covered_shares, mass_inside, pointing_game, selection_precision


def naive_shares(mask, grid):
    rows, columns = grid
    inside = [[[] for _ in range(columns)] for _ in range(rows)]
    for r in range(rows):
        for s in range(columns):
            for y in range(r * mask.shape[0] // rows, (r + 1) * mask.shape[0] // rows):
                for x in range(s * mask.shape[1] // columns, (s + 1) * mask.shape[1] // columns):
                    inside[r][s].append(float(mask[y, x]))
    return np.array([[np.mean(cell) for cell in row] for row in inside])


@settings(deadline=None)
@given(st.integers(0, 99), st.integers(1, 5), st.integers(1, 4))
def test_shares_equal_a_loop_over_pixels(seed, rows, columns):
    mask = np.random.default_rng(seed).random((13, 7)) < 0.4
    np.testing.assert_allclose(covered_shares(mask, (rows, columns)), naive_shares(mask, (rows, columns)))


@settings(deadline=None)
@given(st.integers(0, 99))
def test_measures_equal_a_loop_over_places(seed):
    rng = np.random.default_rng(seed)
    maps, covered = rng.normal(size=(3, 4, 2)).round(1), rng.random((3, 4, 2))
    for index in range(3):
        heat, share = maps[index].ravel(), covered[index].ravel()
        best = [share[place] for place in range(8) if heat[place] == heat.max()]
        assert pointing_game(maps, covered)[index] == pytest.approx(np.mean(best))
        mass = [max(value, 0) for value in heat]
        mass = mass if sum(mass) else [1] * 8
        expected = sum(m * s for m, s in zip(mass, share, strict=True)) / sum(mass)
        assert mass_inside(maps, covered)[index] == pytest.approx(expected)
        order = sorted(range(8), key=lambda place, heat=heat: (-heat[place], place))[:3]
        assert selection_precision(maps, covered, 0.4)[index] == pytest.approx(share[order].mean())


def test_perfect_and_flat_maps():
    covered = np.zeros((1, 4, 2))
    covered[0, 1] = 1
    assert pointing_game(covered, covered) == mass_inside(covered, covered) == 1
    assert selection_precision(covered, covered, 0.25) == 1
    flat = np.zeros_like(covered)
    assert pointing_game(flat, covered) == mass_inside(flat, covered) == chance(covered) == 0.25
    assert selection_precision(flat, covered, 1.0) == 0.25
    assert mass_inside(-covered, covered) == 0.25, "a map without positive mass says nothing"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: covered_shares(np.ones((2, 2), bool), (3, 1)), "2x2 pixels for 3x1"),
        (lambda: pointing_game(np.ones((1, 2, 2)), np.ones((1, 2, 3))), r"\(1, 2, 2\)"),
        (lambda: mass_inside(np.full((1, 2, 2), np.nan), np.ones((1, 2, 2))), "not finite"),
        (lambda: selection_precision(np.ones((1, 2, 2)), np.ones((1, 2, 2)), 0), "ratio"),
    ],
)
def test_wrong_input_is_refused(call, message):
    with pytest.raises(DataError, match=message):
        call()
