"""Positions brought to another grid, against a loop of bilinear weights, and the patches that fit a picture."""

import math

import pytest
import torch

from passerby.errors import ConfigError
from passerby.nn.position_grid import patch_grid, resample_positions


def naive(cells, new):
    """Bilinear between cell centres, borders repeated: (R, S, C) -> (U, V, C)."""
    rows, columns = cells.shape[:2]
    found = torch.zeros(*new, cells.shape[2])
    for u in range(new[0]):
        for v in range(new[1]):
            y = min(max((u + 0.5) * rows / new[0] - 0.5, 0.0), rows - 1.0)
            x = min(max((v + 0.5) * columns / new[1] - 0.5, 0.0), columns - 1.0)
            top, left = math.floor(y), math.floor(x)
            low, right = min(top + 1, rows - 1), min(left + 1, columns - 1)
            a, b = y - top, x - left
            found[u, v] = (1 - a) * ((1 - b) * cells[top, left] + b * cells[top, right]) + a * (
                (1 - b) * cells[low, left] + b * cells[low, right]
            )
    return found


@pytest.mark.parametrize("new", [(24, 8), (7, 7), (3, 20)])
def test_equals_a_loop_and_keeps_the_class_token(new):
    positions = torch.randn(1 + 14 * 14, 3)
    found = resample_positions(positions, (14, 14), new)
    assert found.shape == (1 + new[0] * new[1], 3)
    assert torch.equal(found[0], positions[0])
    expected = naive(positions[1:].view(14, 14, 3), new).flatten(0, 1)
    torch.testing.assert_close(found[1:], expected, rtol=1e-5, atol=1e-5)


def test_clips_positions_at_384x128():
    grid = patch_grid((384, 128), 16)
    assert grid == (24, 8)
    assert resample_positions(torch.zeros(197, 768), (14, 14), grid).shape == (193, 768)


def test_the_same_grid_changes_nothing():
    positions = torch.randn(7, 2)
    assert resample_positions(positions, (2, 3), (2, 3)) is positions


@pytest.mark.parametrize(("stride", "grid"), [(None, (24, 8)), (16, (24, 8)), (8, (47, 15)), (4, (93, 29))])
def test_patches_that_overlap_are_more(stride, grid):
    assert patch_grid((384, 128), 16, stride) == grid


@pytest.mark.parametrize(
    ("size", "stride", "message"),
    [
        ((384, 100), None, "both must be multiples of the patch, 16"),
        ((384, 128), 17, "the stride is 17; expected 1 to 16"),
        ((384, 128), 0, "the stride is 0"),
        ((8, 128), 8, "both must be 16 and some strides of 8 more"),
        ((383, 128), 8, "both must be 16 and some strides"),
    ],
)
def test_patches_that_do_not_fit_are_refused(size, stride, message):
    with pytest.raises(ConfigError, match=message):
        patch_grid(size, 16, stride)


def test_too_few_positions_are_refused():
    with pytest.raises(ConfigError, match="5 positions for a grid of 3x2"):
        resample_positions(torch.zeros(5, 2), (3, 2), (4, 4))
