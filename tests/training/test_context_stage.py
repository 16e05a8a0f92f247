"""Stage 2 on made-up features: context helps, seeds decide, and data that does not fit is refused."""

import numpy as np
import pytest
import torch

from passerby.errors import ConfigError, DataError
from passerby.models.context import ContextEncoder
from passerby.models.context_config import context_config
from passerby.models.context_protocols import gallery_in_context
from passerby.training.context_stage import ContextTraining, parameter_groups, train_context


def crowd(people, each, noise, seed, width=32):
    """Noisy features of some people."""
    random = np.random.default_rng(seed)
    directions = random.normal(size=(people, width))
    owner = np.repeat(np.arange(people), each)
    return (directions[owner] + noise * random.normal(size=(len(owner), width))).astype(np.float32), owner


def mean_precision(queries, gallery, asked, owner):
    """mAP by loops; a query that is itself in the gallery is passed over."""
    precisions = []
    for row, scores in enumerate(queries @ gallery.T):
        hits = owner[np.argsort(-scores)] == asked[row]
        places = np.flatnonzero(hits) + 1
        precisions.append(np.mean(np.arange(1, len(places) + 1) / places))
    return float(np.mean(precisions))


def small(**settings):
    return context_config("magformer", 32, 40, **{"layers": 2, "k": 8, **settings})


QUICK = ContextTraining(epochs=3, set_size=256, rate=1e-3)


@pytest.fixture(scope="module")
def trained():
    features, owner = crowd(150, 8, 1.2, seed=0, width=64)
    return train_context(context_config("magformer", 64, 150, layers=2, k=8), features, owner, QUICK)


def test_losses_fall(trained):
    losses = [step["loss"] for step in trained.history]
    assert len(losses) == 3 * (1200 // 30)
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])
    assert set(trained.history[0]) == {"loss", "cross_entropy", "triplet", "center"}
    assert not trained.model.training


def test_context_lifts_the_map_of_people_never_seen(trained):
    """Under protocol B, on features too noisy to be ranked well by themselves."""
    features, owner = crowd(60, 10, 1.2, seed=1, width=64)
    asked = np.arange(len(owner)) % 10 == 0
    queries, gallery = features[asked], features[~asked]
    plain = [one / np.linalg.norm(one, axis=1, keepdims=True) for one in (queries, gallery)]
    before = mean_precision(*plain, owner[asked], owner[~asked])
    after = mean_precision(*gallery_in_context(trained.model, queries, gallery), owner[asked], owner[~asked])
    assert before < 0.9
    assert after > before + 0.03


def test_the_seed_decides_and_the_callers_random_numbers_stay():
    features, owner = crowd(40, 4, 1.0, seed=2)
    short = ContextTraining(epochs=1, set_size=60, seed=5)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    one, two = (train_context(small(), features, owner, short) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert one.history == two.history
    for name, tensor in one.model.state_dict().items():
        assert torch.equal(tensor, two.model.state_dict()[name]), name
    other = train_context(small(), features, owner, ContextTraining(epochs=1, set_size=60, seed=6))
    assert other.history != one.history


def test_several_sets_several_views_and_progress():
    features, owner = crowd(40, 3, 1.0, seed=2)
    views = np.stack([features, features + 0.1])
    seen = []
    run = train_context(
        small(landmarks="learned"),
        views,
        owner + 1000,
        ContextTraining(epochs=1, set_size=50, sets=2, schedule="cosine", warmup=1),
        progress=lambda done, steps, losses: seen.append((done, steps, losses["loss"])),
    )
    assert [done for done, _, _ in seen] == list(range(1, 5))
    assert all(np.isfinite(loss) for _, _, loss in seen)
    assert run.set_size == 50


def test_a_set_larger_than_the_data_is_all_of_it():
    features, owner = crowd(40, 2, 1.0, seed=2)
    assert train_context(small(), features, owner, ContextTraining(epochs=1, set_size=7000)).set_size == 80


def test_centers_move_by_the_loss_without_its_weight():
    """With the weight left in, a rate of 0.5 would move them by 0.0005 of the way."""
    features, owner = crowd(40, 2, 1.0, seed=2)
    runs = [
        train_context(small(), features, owner, ContextTraining(epochs=2, rate=1e-9, center_rate=rate))
        for rate in (0.0, 20.0)
    ]
    still, moved = (run.history[-1]["center"] for run in runs)
    assert moved < 0.7 * still


def test_what_has_no_weight_decay():
    model = ContextEncoder(small(magnitude="two"))
    decayed, free = (
        {id(one) for one in group["params"]} for group in parameter_groups(model, 0.05)
    )  # fmt: skip
    names = {id(one): name for name, one in model.named_parameters()}
    assert all(names[one].endswith("weight") for one in decayed)
    kinds = ("magnitude", "difference", "norm", "bias", "neck")
    assert all(any(kind in names[one] for kind in kinds) for one in free)
    assert id(model.neck.bias) not in decayed | free


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"settings": context_config("magformer", 32, 751)}, ConfigError, "751 identities apart, the features show 40"),
        ({"identities": np.arange(79)}, DataError, "one identity for each"),
        ({"features": np.zeros((1, 32), np.float32), "identities": np.zeros(1)}, DataError, "at least two pictures"),
        ({"features": np.full((80, 32), np.nan, np.float32)}, DataError, "row 0 holds NaN"),
        ({"settings": context_config("magformer", 64, 40)}, ConfigError, "features of width 32"),
    ],
)
def test_wrong_data_is_refused(change, error, words):
    features, owner = crowd(40, 2, 1.0, seed=2)
    with pytest.raises(error, match=words):
        train_context(**{"settings": small(), "features": features, "identities": owner, **change})


@pytest.mark.parametrize("field", ["epochs", "set_size", "sets", "rate"])
def test_wrong_settings_are_refused(field):
    with pytest.raises(ConfigError, match=field):
        ContextTraining(**{field: 0})


def test_a_loss_that_explodes_is_said():
    features, owner = crowd(40, 2, 1.0, seed=2)
    with pytest.raises(ConfigError, match="no longer finite"):
        train_context(small(), features, owner, ContextTraining(epochs=3, rate=1e30))
