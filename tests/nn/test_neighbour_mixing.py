"""Weighted bags of neighbours against loops, their gradients, and rows that look at nobody."""

import pytest
import torch

from passerby.nn.neighbour_mixing import mix_neighbours


def given(rows=4, heads=2, count=3, there=6, width=5, lists=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(rows, heads, count, generator=generator, dtype=torch.float64)  # negative ones too
    values = torch.randn(heads, there, width, generator=generator, dtype=torch.float64)
    return weights, values, torch.randint(0, there, (rows, lists, count), generator=generator)


@pytest.mark.parametrize("lists", [1, 2])
def test_equals_loops(lists):
    weights, values, neighbours = given(lists=lists)
    mixed = mix_neighbours(weights, values, neighbours)
    for row in range(4):
        for head in range(2):
            expected = torch.zeros(5, dtype=torch.float64)
            for a in range(3):
                other = int(neighbours[row, min(head, lists - 1), a])
                expected += weights[row, head, a] * values[head, other]
            torch.testing.assert_close(mixed[row, head], expected)


def test_gradient_equals_numerical():
    weights, values, neighbours = given()
    torch.autograd.gradcheck(
        lambda w, v: mix_neighbours(w, v, neighbours), (weights.requires_grad_(), values.requires_grad_())
    )


def test_a_place_of_weight_zero_adds_nothing():
    weights, values, neighbours = given()
    weights[:, :, 1] = 0
    moved = neighbours.clone()
    moved[:, :, 1] = 0
    assert torch.equal(mix_neighbours(weights, values, neighbours), mix_neighbours(weights, values, moved))


def test_nobody_to_look_at_is_zero():
    weights, values, neighbours = given(count=0)
    assert torch.equal(mix_neighbours(weights, values, neighbours), torch.zeros(4, 2, 5, dtype=torch.float64))
