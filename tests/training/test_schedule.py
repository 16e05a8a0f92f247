"""Learning-rate curves at their corners."""

import pytest

from passerby.errors import ConfigError
from passerby.training.recipe import load_recipe
from passerby.training.schedule import schedule


def test_cosine_rises_then_falls_to_the_floor():
    curve = schedule("cosine", total=100, warmup=10)
    values = [curve(step) for step in range(101)]
    assert values[0] == pytest.approx(0.1)
    assert max(values) == pytest.approx(1.0)
    assert values[10:] == sorted(values[10:], reverse=True)
    assert values[100] == pytest.approx(0.0)
    assert schedule("cosine", 100, 10, 0.2)(100) == pytest.approx(0.2)


def test_linear_falls_evenly_to_the_floor():
    curve = schedule("linear", total=110, warmup=10)
    assert [curve(step) for step in (4, 9, 10, 60, 110)] == pytest.approx([0.5, 1.0, 1.0, 0.5, 0.0])
    assert schedule("linear", 110, 10, 0.2)(60) == pytest.approx(0.6)


def test_constant_stays():
    curve = schedule("constant", 100, 4)
    assert [curve(step) for step in (0, 3, 4, 99)] == [0.25, 1.0, 1.0, 1.0]


def test_unknown_name():
    with pytest.raises(ConfigError, match="Did you mean 'cosine'"):
        schedule("cosin", 10, 1)


def test_steps_lower_the_rate_at_their_milestones():
    curve = schedule("step", 100, 10, warmup_from=0.1, milestones=[40, 70], decay=0.1)
    assert curve(0) == pytest.approx(0.1 + 0.9 / 10)
    assert [curve(step) for step in (10, 39, 40, 69, 70, 99)] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    with pytest.raises(ConfigError, match="milestones"):
        schedule("step", 100, 10)


def test_plateau_is_flat_but_for_its_warmup():
    curve = schedule("plateau", 100, 2)
    assert [curve(step) for step in (0, 1, 2, 99)] == [0.5, 1.0, 1.0, 1.0]


def test_the_published_recipe_of_itself_follows_its_factors_from_epoch_to_epoch():
    """Its code has 0.10, 0.28, 0.46, 0.64, 0.82 for the first five of 60 epochs and 8e-4 for the last."""
    options, steps = load_recipe("itself").optimisation, 145
    total = options.epochs * steps
    warmup = round(options.warmup * total)
    curve = schedule(options.schedule, total, warmup, warmup_from=options.warmup_from)
    ends = [curve(epoch * steps - 1) for epoch in range(1, 6)]
    assert ends == pytest.approx([0.28, 0.46, 0.64, 0.82, 1.0], abs=1e-3)
    assert curve(0) == pytest.approx(0.1, abs=2e-3)
    assert curve(59 * steps) == pytest.approx(8e-4, abs=2e-5)


@pytest.mark.parametrize("name", ["tbps-clip", "tbps-clip-s"])
def test_the_published_recipes_of_tbps_clip_end_at_a_twentieth_of_their_rate(name):
    """From 1e-6 within the first of five epochs to 1e-4, and down to 5e-6."""
    options, total = load_recipe(name).optimisation, 1_000
    warmup = round(options.warmup * total)
    curve = schedule(options.schedule, total, warmup, options.floor, warmup_from=options.warmup_from)
    assert options.learning_rate * curve(0) == pytest.approx(1e-6, rel=0.6)
    assert options.learning_rate * curve(200) == pytest.approx(1e-4)
    assert options.learning_rate * curve(total) == pytest.approx(5e-6)
