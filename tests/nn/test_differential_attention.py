"""The difference of attention maps: lambda, how maps are put together, and the norm after it."""

import math

import pytest
import torch

from passerby.errors import ConfigError
from passerby.nn.differential_attention import DifferentialWeight, HeadNorm, combination, lambda_init, map_count


def test_lambda_starts_as_published():
    assert [round(lambda_init(layer), 4) for layer in range(4)] == [0.2, 0.3555, 0.4707, 0.5561]


def test_lambda_equals_its_formula():
    torch.manual_seed(0)
    weight = DifferentialWeight(6, 2)
    pairs = ((weight.query1, weight.key1), (weight.query2, weight.key2))
    dots = [sum(a * b for a, b in zip(one.tolist(), two.tolist(), strict=True)) for one, two in pairs]
    assert float(weight()) == pytest.approx(math.exp(dots[0]) - math.exp(dots[1]) + lambda_init(2), abs=1e-6)


@pytest.mark.parametrize("heads", [1, 2, 3])
def test_clean_is_the_difference_of_each_heads_maps(heads):
    weight, maps = torch.tensor(0.3), torch.rand(2 * heads, 5)
    mixed = combination(weight, heads, "clean") @ maps
    for head in range(heads):
        torch.testing.assert_close(mixed[head], maps[2 * head] - 0.3 * maps[2 * head + 1])
    torch.testing.assert_close(combination(weight, heads, "clean").sum(dim=1), torch.full((heads,), 0.7))


def test_off_takes_each_map_as_it_is():
    assert torch.equal(combination(torch.tensor(0.0), 3, "off"), torch.eye(3))


def test_repo_has_row_sums_of_one_minus_two_lambda():
    """.60, .29, .06 and -.11 for the four layers, and nothing of the first head's first map (I-10)."""
    for layer, total in enumerate((0.60, 0.29, 0.06, -0.11)):
        share = combination(torch.tensor(lambda_init(layer)), 2, "repo")
        torch.testing.assert_close(share.sum(dim=1), torch.full((2,), total), rtol=0, atol=0.005)
        assert share[:, 0].abs().sum() == 0


def test_gradient_reaches_lambda():
    weight = torch.tensor(0.3, requires_grad=True)
    combination(weight, 2, "clean").sum().backward()
    assert float(weight.grad) == -2


def test_norm_equals_loops():
    heads, norm = torch.randn(3, 2, 4), HeadNorm(4, 1)
    with torch.no_grad():
        norm.gain.uniform_(0.5, 2)
    found = norm(heads)
    for n in range(3):
        for h in range(2):
            scale = math.sqrt(sum(float(v) ** 2 for v in heads[n, h]) / 4 + 1e-5)
            expected = heads[n, h] / scale * norm.gain * (1 - lambda_init(1))
            torch.testing.assert_close(found[n, h], expected)
    assert torch.isfinite(norm(torch.zeros(1, 1, 4))).all()


def test_map_counts_and_wrong_modes():
    assert [map_count(2, mode) for mode in ("clean", "off", "repo")] == [4, 2, 4]
    with pytest.raises(ConfigError, match="'repo' with 4 heads"):
        map_count(4, "repo")
    with pytest.raises(ConfigError, match="Did you mean 'clean'"):
        map_count(2, "clea")
