"""The PK sampler: exact length, whole batches, every picture, cameras in turn; against counting by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passerby.data.pk_sampler import pk_steps, plan_pk_epoch
from passerby.errors import ConfigError

COUNTS = st.lists(st.integers(1, 30), min_size=2, max_size=25)


def people(counts):
    return np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))


@settings(deadline=None, max_examples=25)
@given(COUNTS, st.integers(1, 6), st.integers(1, 5), st.booleans(), st.booleans(), st.integers(0, 3))
def test_every_batch_is_p_people_with_k_pictures_and_the_length_is_known(counts, p, k, cover_all, balanced, seed):
    p = min(p, len(counts))
    person_of = people(counts)
    cameras = np.random.default_rng(1).integers(0, 4, len(person_of)) if balanced else None
    plan = plan_pk_epoch(person_of, p, k, np.random.default_rng(seed), cover_all, cameras)
    assert plan.shape == (pk_steps(np.array(counts), p, k, cover_all), p, k)
    for batch in plan:
        owners = person_of[batch]
        assert (owners == owners[:, :1]).all()
        assert len(set(owners[:, 0].tolist())) == p
        for row in batch:  # no picture twice unless the person has too few
            assert len(set(row.tolist())) == min(k, counts[person_of[row[0]]])
    if cover_all:
        assert set(plan.ravel().tolist()) == set(range(len(person_of)))


@settings(deadline=None, max_examples=25)
@given(COUNTS, st.integers(1, 6), st.integers(1, 5))
def test_without_cover_all_no_longer_epoch_of_whole_groups_would_fit(counts, p, k):
    p = min(p, len(counts))
    groups = np.maximum(np.array(counts) // k, 1)
    fits = [s for s in range(1, groups.sum() + 1) if np.minimum(groups, s).sum() >= s * p]
    assert pk_steps(np.array(counts), p, k, cover_all=False) == max(fits)


def test_the_plan_follows_from_the_seed_alone():
    person_of = people([7, 3, 9, 4, 4])
    one, same, other = (plan_pk_epoch(person_of, 2, 2, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert (one == same).all()
    assert one.shape == other.shape
    assert (one != other).any()


def test_a_group_holds_as_many_cameras_as_there_are():
    person_of = np.repeat([0, 1, 2], 16)
    cameras = np.tile([0] * 13 + [1, 2, 3], 3)  # nearly everything is of one camera
    plan = plan_pk_epoch(person_of, 3, 4, np.random.default_rng(0), cameras=cameras)
    balanced = [len(set(cameras[row].tolist())) for row in plan.reshape(-1, 4)]
    assert balanced.count(4) == 3  # each person's first group has all four
    even = np.tile(np.arange(4), 12)
    plan = plan_pk_epoch(person_of, 3, 4, np.random.default_rng(0), cameras=even)
    assert all(len(set(even[row].tolist())) == 4 for row in plan.reshape(-1, 4))
    plain = plan_pk_epoch(person_of, 3, 4, np.random.default_rng(0))
    assert not all(len(set(even[row].tolist())) == 4 for row in plain.reshape(-1, 4))


def test_somebody_with_one_picture_comes_as_copies_of_it():
    person_of = np.array([0, 1, 1, 1, 1, 2, 2, 2, 2])
    plan = plan_pk_epoch(person_of, 3, 4, np.random.default_rng(0))
    alone = plan[person_of[plan[:, :, 0]] == 0]
    assert (alone == 0).all()
    assert alone.shape == (1, 4)


def test_processes_get_whole_people():
    plan = plan_pk_epoch(people([8] * 8), 4, 2, np.random.default_rng(0))
    owners = people([8] * 8)[plan]
    for step in owners:
        halves = [set(half.ravel().tolist()) for half in np.split(step, 2)]
        assert not halves[0] & halves[1]


@pytest.mark.parametrize(
    ("p", "k", "message"),
    [
        (4, 2, "a batch of 4 people was asked for, and the data show 3; lower the batch size to at most 3 x 2 = 6"),
        (0, 2, "one or more of both"),
        (2, 0, "one or more of both"),
    ],
)
def test_impossible_batches_are_refused(p, k, message):
    with pytest.raises(ConfigError, match=message):
        plan_pk_epoch(people([3, 3, 3]), p, k, np.random.default_rng(0))
