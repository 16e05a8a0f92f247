"""Sets drawn around a centre: who may be in them, what the seed decides, and sizes that the data does not have."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passerby.data.neighbour_sets import nearest_to_centre
from passerby.errors import ConfigError


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 60), size=st.integers(1, 80), seed=st.integers(0, 999))
def test_no_row_twice_and_none_from_afar(rows, size, seed):
    features = np.random.default_rng(seed).normal(size=(rows, 4))
    drawn = nearest_to_centre(features, size, np.random.default_rng(seed))
    assert len(drawn) == len(set(drawn.tolist())) == min(size, rows)
    random = np.random.default_rng(seed)
    centre, share = int(random.integers(rows)), random.random()
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    nearest = np.argsort(-(unit @ unit[centre]))[: int(min(size, rows) * (1 + share))]
    assert set(drawn.tolist()) <= set(nearest.tolist())


def test_a_set_holds_more_of_each_person_than_a_random_draw():
    random = np.random.default_rng(0)
    owner = np.repeat(np.arange(100), 10)
    features = random.normal(size=(100, 16))[owner] + 0.3 * random.normal(size=(1000, 16))
    near = owner[nearest_to_centre(features, 200, random)]
    anyhow = owner[random.permutation(1000)[:200]]
    assert len(near) / len(set(near.tolist())) > 1.5 * len(anyhow) / len(set(anyhow.tolist()))


def test_the_seed_decides_and_more_than_there_are_is_all_of_them():
    features = np.random.default_rng(0).normal(size=(30, 4))
    one, two = (nearest_to_centre(features, 8, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(one, two)
    assert sorted(nearest_to_centre(features, 7000, np.random.default_rng(0))) == list(range(30))


@pytest.mark.parametrize(("rows", "size"), [(10, 0), (0, 5)])
def test_nothing_to_draw_is_refused(rows, size):
    with pytest.raises(ConfigError, match=f"a set of {size} of {rows} features"):
        nearest_to_centre(np.zeros((rows, 4)), size, np.random.default_rng(0))
