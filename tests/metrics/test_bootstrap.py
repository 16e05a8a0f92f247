"""Bootstrap intervals: against a plain loop, and against what they promise."""

import numpy as np
import pytest

from passerby.errors import ConfigError, DataError
from passerby.metrics import identity_bootstrap


def test_equals_drawing_whole_people_one_by_one():
    random = np.random.default_rng(0)
    values, people = random.random((60, 2)), random.integers(100, 107, 60)
    names = np.unique(people)
    draws = np.random.default_rng(5)
    means = []
    for _ in range(50):
        chosen = names[draws.integers(len(names), size=len(names))]
        drawn = np.concatenate([values[people == who] for who in chosen])
        means.append(drawn.mean(axis=0))
    expected = np.quantile(means, [0.025, 0.975], axis=0).T
    np.testing.assert_allclose(identity_bootstrap(values, people, draws=50, seed=5), expected)


def test_covers_the_true_mean_about_as_often_as_it_says():
    random = np.random.default_rng(1)
    covered = 0
    for trial in range(200):
        person_mean = random.normal(0.5, 0.2, 60)
        values = np.repeat(person_mean, 4) + random.normal(0, 0.1, 240)
        low, high = identity_bootstrap(values[:, None], np.repeat(np.arange(60), 4), draws=300, seed=trial)[0]
        covered += low <= 0.5 <= high
    assert 180 <= covered <= 199


def test_people_vary_more_than_queries_taken_alone():
    values = np.repeat([0.0, 1.0] * 20, 10)[:, None]
    by_person = identity_bootstrap(values, np.repeat(np.arange(40), 10))[0]
    by_query = identity_bootstrap(values, np.arange(400))[0]
    assert np.diff(by_person) > 2 * np.diff(by_query)


def test_same_seed_same_interval_and_nan_rows_are_left_out():
    random = np.random.default_rng(2)
    values, people = random.random((30, 1)), np.arange(30) // 2
    with_gap = np.vstack([values, [[np.nan]]])
    np.testing.assert_array_equal(
        identity_bootstrap(values, people, seed=3), identity_bootstrap(with_gap, np.append(people, 99), seed=3)
    )


@pytest.mark.parametrize("people", [[4, 4, 4], []])
def test_fewer_than_two_people_have_no_interval(people):
    assert np.isnan(identity_bootstrap(np.ones((len(people), 2)), people)).all()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"values": np.ones(3), "identities": [1, 2, 3]}, DataError),
        ({"values": np.ones((3, 1)), "identities": [1, 2]}, DataError),
        ({"values": np.ones((2, 1)), "identities": [1, 2], "draws": 0}, ConfigError),
        ({"values": np.ones((2, 1)), "identities": [1, 2], "level": 1.0}, ConfigError),
    ],
)
def test_wrong_input_is_refused(arguments, error):
    with pytest.raises(error):
        identity_bootstrap(**arguments)
