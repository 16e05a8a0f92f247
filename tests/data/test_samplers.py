"""Plans of epochs: everything once, nobody twice in a batch, neighbours together, the same plan from the same seed."""

import numpy as np
import pytest

from passerby.data.samplers import Pairs, sample_epoch
from passerby.errors import ConfigError, DataError


def pairs(people=40, views=3, captions=2):
    images = people * views
    return Pairs(np.repeat(np.arange(images), captions), np.repeat(np.arange(people), views))


@pytest.mark.parametrize("name", ["shuffled", "identities", "neighbours"])
def test_every_picture_once_with_one_of_its_own_captions(name):
    data = pairs()
    features = np.random.default_rng(1).normal(size=(40, 8)).astype(np.float32)
    plan = sample_epoch(name, data, 20, np.random.default_rng(0), features)
    assert plan.shape == (6, 20, 2)
    images, captions = plan.reshape(-1, 2).T
    assert sorted(images) == list(range(120))
    assert (data.image_of[captions] == images).all()


@pytest.mark.parametrize("name", ["identities", "neighbours"])
def test_nobody_twice_in_a_batch(name):
    data = pairs()
    features = np.random.default_rng(1).normal(size=(40, 8)).astype(np.float32)
    for batch in sample_epoch(name, data, 20, np.random.default_rng(3), features):
        persons = data.person_of[batch[:, 0]]
        assert len(set(persons)) == len(persons)


def test_neighbours_share_a_batch():
    """Forty people in ten tight clusters of four: each cluster lies side by side."""
    rng = np.random.default_rng(0)
    centres = np.repeat(rng.normal(size=(10, 16)), 4, axis=0)
    features = centres + 0.01 * rng.normal(size=centres.shape)
    features = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
    plan = sample_epoch("neighbours", pairs(views=1), 20, np.random.default_rng(5), features)
    for batch in plan:
        clusters = pairs(views=1).person_of[batch[:, 0]] // 4
        assert np.bincount(clusters)[np.unique(clusters)].tolist() == [4] * 5


def test_same_seed_same_plan_other_seed_other_plan():
    first = sample_epoch("identities", pairs(), 20, np.random.default_rng(7))
    assert np.array_equal(first, sample_epoch("identities", pairs(), 20, np.random.default_rng(7)))
    assert not np.array_equal(first, sample_epoch("identities", pairs(), 20, np.random.default_rng(8)))


def test_fewer_pictures_than_a_batch_make_one_batch():
    assert sample_epoch("identities", pairs(3, 1), 128, np.random.default_rng(0)).shape == (1, 3, 2)


def test_unknown_sampler_names_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'neighbours'"):
        sample_epoch("neighbors", pairs(), 4, np.random.default_rng(0))


def test_no_captions_and_dangling_captions_are_refused():
    with pytest.raises(DataError, match="no caption to train on"):
        Pairs(np.array([], dtype=np.int64), np.array([0]))
    with pytest.raises(DataError, match="points at picture 5"):
        Pairs(np.array([5]), np.array([0]))


def test_captions_of_the_person_come_from_all_its_pictures():
    data = pairs(people=20, views=3)
    images, captions = (
        sample_epoch("identities", data, 60, np.random.default_rng(0), captions_of="person").reshape(-1, 2).T
    )
    own = data.image_of[captions] == images
    assert (data.person_of[data.image_of[captions]] == data.person_of[images]).all()
    assert 0.1 < own.mean() < 0.6
    with pytest.raises(ConfigError, match="expected image or person"):
        sample_epoch("identities", data, 60, np.random.default_rng(0), captions_of="camera")


@pytest.mark.parametrize("name", ["shuffled", "identities", "neighbours"])
def test_an_epoch_of_persons_shows_one_picture_of_each_and_the_next_in_turn(name):
    """Persons with 1, 2, 3 and 4 pictures, listed in disorder."""
    person_of = np.random.default_rng(2).permutation(np.repeat(np.arange(20), np.tile([1, 2, 3, 4], 5)))
    data = Pairs(np.arange(len(person_of)), person_of)
    features = np.random.default_rng(1).normal(size=(20, 8)).astype(np.float32)
    seen = []
    for turn in range(12):
        plan = sample_epoch(name, data, 20, np.random.default_rng(turn), features, epoch_of="person", turn=turn)
        assert plan.shape == (1, 20, 2)
        images, captions = plan[0].T
        assert sorted(person_of[images]) == list(range(20))
        assert (data.image_of[captions] == images).all()
        seen.append(images)
    shown = np.bincount(np.concatenate(seen), minlength=len(person_of))
    assert (shown == 12 // np.bincount(person_of)[person_of]).all()  # everybody's pictures equally often


def test_people_begin_at_different_pictures():
    data = pairs(people=20, views=2, captions=1)
    (first,) = sample_epoch("identities", data, 20, np.random.default_rng(0), epoch_of="person")
    assert 5 < (first[:, 0] % 2).sum() < 15
    with pytest.raises(ConfigError, match="epoch_of is 'camera'; expected image or person"):
        sample_epoch("identities", data, 20, np.random.default_rng(0), epoch_of="camera")
