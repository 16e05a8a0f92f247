"""Learning-rate curves at their corners."""

import pytest

from passerby.errors import ConfigError
from passerby.training.schedule import schedule


def test_cosine_rises_then_falls_to_the_floor():
    curve = schedule("cosine", total=100, warmup=10)
    values = [curve(step) for step in range(101)]
    assert values[0] == pytest.approx(0.1)
    assert max(values) == pytest.approx(1.0)
    assert values[10:] == sorted(values[10:], reverse=True)
    assert values[100] == pytest.approx(0.0)
    assert schedule("cosine", 100, 10, 0.2)(100) == pytest.approx(0.2)


def test_constant_stays():
    curve = schedule("constant", 100, 4)
    assert [curve(step) for step in (0, 3, 4, 99)] == [0.25, 1.0, 1.0, 1.0]


def test_unknown_name():
    with pytest.raises(ConfigError, match="Did you mean 'cosine'"):
        schedule("cosin", 10, 1)
