"""Whether a map over a picture lies where a phrase's thing is: pointing game, mass inside, precision of a selection.

Maps are coarse, masks are fine, so a mask becomes the share of each place that it covers, and every measure is an
expectation over pixels: a place that is half coat counts as half a hit. What chance reaches is the covered share of the
whole picture, and stands beside every figure.

Axes: M maps, R rows and S columns of places, H, W pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from passerby.errors import DataError

Floats = NDArray[np.floating]


def covered_shares(mask: NDArray[np.bool_], grid: tuple[int, int]) -> Floats:
    """How much of each place a mask covers.

    Args:
        mask: True where the thing is.
        grid: rows and columns of places; pixels are dealt to the place that their middle lies in.

    Shape:
        (H, W) -> (R, S) float64 in [0, 1].

    Raises:
        DataError: the mask has fewer pixels than places on a side.
    """
    height, width = mask.shape
    rows, columns = grid
    if height < rows or width < columns:
        raise DataError(
            f"a mask of {height}x{width} pixels for {rows}x{columns} places; expected at least a pixel each"
        )
    upper = np.arange(rows + 1) * height // rows
    left = np.arange(columns + 1) * width // columns
    sums = np.pad(mask.astype(np.float64).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))  # (H + 1, W + 1)
    corners = sums[np.ix_(upper, left)]
    inside = corners[1:, 1:] - corners[:-1, 1:] - corners[1:, :-1] + corners[:-1, :-1]
    return inside / np.outer(np.diff(upper), np.diff(left))


def pointing_game(maps: Floats, covered: Floats) -> Floats:
    """The covered share of each map's highest place (Zhang et al. 2018, section 4.1, without a tolerance).

    Several highest places are worth their mean, so a flat map scores as chance.

    Args:
        maps: any real values.
        covered: of `covered_shares`.

    Shape:
        (M, R, S), (M, R, S) -> (M,) in [0, 1].

    Raises:
        DataError: the shapes differ, or a value is not finite.
    """
    _check(maps, covered)
    highest = maps == maps.max(axis=(1, 2), keepdims=True)
    return (covered * highest).sum(axis=(1, 2)) / highest.sum(axis=(1, 2))


def mass_inside(maps: Floats, covered: Floats) -> Floats:
    """The share of a map's positive mass that lies on the thing; a map without any counts as flat.

    Shape:
        (M, R, S), (M, R, S) -> (M,) in [0, 1].

    Raises:
        DataError: the shapes differ, or a value is not finite.
    """
    _check(maps, covered)
    mass = np.maximum(maps.astype(np.float64), 0)
    total = mass.sum(axis=(1, 2), keepdims=True)
    mass = np.where(total > 0, mass, 1.0)
    return (mass * covered).sum(axis=(1, 2)) / mass.sum(axis=(1, 2))


def selection_precision(maps: Floats, covered: Floats, ratio: float) -> Floats:
    """The covered share of the highest places of a map.

    Args:
        maps: any real values; of equal ones the earlier place is taken.
        covered: of `covered_shares`.
        ratio: share of the places that are taken, in (0, 1]; at least one is.

    Shape:
        (M, R, S), (M, R, S) -> (M,) in [0, 1].

    Raises:
        DataError: the shapes differ, a value is not finite, or the ratio is out of range.
    """
    _check(maps, covered)
    if not 0 < ratio <= 1:
        raise DataError(f"the ratio of selected places is {ratio}; expected a share above 0 and up to 1")
    flat, share = maps.reshape(len(maps), -1), covered.reshape(len(maps), -1)
    count = max(1, int(ratio * flat.shape[1] + 1e-9))
    places = np.argsort(-flat, axis=1, kind="stable")[:, :count]
    return np.take_along_axis(share, places, axis=1).mean(axis=1)


def chance(covered: Floats) -> Floats:
    """What any measure here gives a map that knows nothing: (M, R, S) -> (M,)."""
    return covered.mean(axis=(1, 2))


def _check(maps: Floats, covered: Floats) -> None:
    if maps.ndim != 3 or maps.shape != covered.shape:
        raise DataError(f"maps {maps.shape} and covered shares {covered.shape}; expected (M, R, S) of both")
    if not np.isfinite(maps).all():
        raise DataError("a map has a value that is not finite; the model that gave it is damaged")
