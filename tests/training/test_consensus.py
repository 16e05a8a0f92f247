"""The division of noisy pairs: it finds two heaps, agrees with the densities, uses its coin only on dispute."""

import math

import numpy as np
import pytest

from passerby.errors import DataError
from passerby.training.consensus import believed, divide


def heaps(good=300, bad=100, seed=0):
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.normal(0.2, 0.05, good), rng.normal(1.5, 0.2, bad)]), np.arange(good + bad) < good


def test_two_heaps_are_parted():
    losses, good = heaps()
    assert ((believed(losses) > 0.5) == good).mean() > 0.99


def test_posteriors_are_those_of_the_fitted_densities():
    losses, good = heaps()
    scaled = (losses - losses.min()) / np.ptp(losses)
    heap = [scaled[good], scaled[~good]]  # so far apart that the fit is each heap's own mean and variance
    for value, found in zip(scaled[::40], believed(losses)[::40], strict=True):
        density = [
            len(part) * math.exp(-((value - part.mean()) ** 2) / (2 * (part.var() + 1e-6))) / (part.var() + 1e-6) ** 0.5
            for part in heap
        ]
        assert found == pytest.approx(density[0] / sum(density), abs=1e-2)


def test_scale_and_order_do_not_matter():
    losses, _ = heaps()
    order = np.random.default_rng(1).permutation(len(losses))
    np.testing.assert_allclose(believed(7 * losses[order] + 3), believed(losses)[order], atol=1e-6)


def test_pairs_that_all_fit_alike_are_all_believed_but_for_a_hundredth():
    assert believed(np.full(200, 0.3)).tolist() == [1.0] * 200
    assert divide(np.full(200, 0.3), np.full(200, 0.3), np.random.default_rng(0)).sum() == 198


def test_a_coin_decides_disputes_alone_and_has_a_seed():
    losses, _ = heaps()
    other = losses.copy()
    other[:150] += 1.3  # the second branch doubts half of the good ones
    found = [divide(losses, other, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert (found[0] == found[1]).all()
    assert (found[0] != found[2]).any()
    assert found[0][150:300].mean() > 0.97
    assert found[0][300:].mean() < 0.03
    assert 0.3 < found[0][:150].mean() < 0.7
    assert set(found[0].tolist()) == {0.0, 1.0}


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (np.ones(3), np.ones(2), "of 3 pairs and the other of 2"),
        (np.ones(0), np.ones(0), "0 losses of pairs"),
        (np.array([1.0, np.nan]), np.ones(2), "of which 1 are finite"),
    ],
)
def test_wrong_losses_are_refused(first, second, message):
    with pytest.raises(DataError, match=message):
        divide(first, second, np.random.default_rng(0))
