"""The largest of rows of two linear maps: equal to whole products in value and gradient, masked rows among them."""

import pytest
import torch
from torch.nn.functional import linear

from passerby.nn.grab import GrabHead, TokenGroup
from passerby.nn.strongest_rows import gathering_pays, strongest_rows


def whole_products(hidden, given, weights, bias, sizes, taken):
    """The same by autograd: every product written out, rows that take no part as low as they go."""
    values = linear(hidden, weights[0], bias) + linear(given, weights[1])
    if taken is not None:
        values = values.masked_fill(~taken[:, None], torch.finfo(values.dtype).min)
    blocks = zip(values.split([groups * length for groups, length in sizes]), sizes, strict=True)
    return torch.cat([block.view(groups, length, -1).amax(dim=1) for block, (groups, length) in blocks])


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("sizes", [[(1, 1)], [(4, 5)], [(3, 2), (2, 6), (1, 1)]])
def test_values_and_gradients_are_those_of_whole_products(sizes, masked):
    torch.manual_seed(len(sizes))
    rows, groups = sum(count * length for count, length in sizes), sum(count for count, _ in sizes)
    given = [torch.randn(rows, 5), torch.randn(rows, 3), torch.randn(7, 5), torch.randn(7, 3), torch.randn(7)]
    taken = torch.rand(rows) < 0.6 if masked else None
    slope = torch.randn(groups, 7)
    found = []
    for way in (strongest_rows, whole_products):
        leaves = [tensor.clone().requires_grad_() for tensor in given]
        hidden, plain, wide, short, bias = leaves
        largest = way(hidden, plain, (wide, short), bias, sizes, taken)
        assert largest.shape == (groups, 7)
        largest.backward(slope)
        found.append([largest.detach(), *(leaf.grad for leaf in leaves)])
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)
    assert found[0][1].abs().sum() > 0


def test_rows_of_which_none_takes_part_learn_nothing():
    hidden, given = torch.randn(4, 3, requires_grad=True), torch.randn(4, 2)
    weights = torch.randn(6, 3), torch.randn(6, 2)
    taken = torch.tensor([True, True, False, False])
    largest = strongest_rows(hidden, given, weights, torch.zeros(6), [(2, 2)], taken)
    assert (largest[1] == torch.finfo(torch.float32).min).all()
    largest.sum().backward()
    assert hidden.grad is not None
    assert hidden.grad[:2].abs().sum() > 0
    assert hidden.grad[2:].abs().sum() == 0


def test_where_it_is_used():
    assert gathering_pays(torch.zeros(1))
    assert not gathering_pays(torch.zeros(1, dtype=torch.float64))
    with torch.autocast("cpu", torch.bfloat16):
        assert not gathering_pays(torch.zeros(1))


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_a_head_learns_the_same_either_way(norm, monkeypatch):
    torch.manual_seed(0)
    head, tokens = GrabHead(6, 8, "max", norm).train(), torch.randn(3, 4, 6)
    taken = torch.arange(4) < torch.tensor([4, 1, 3])[:, None]
    groups, slope, found = [TokenGroup(tokens), TokenGroup(tokens.flip(0), taken)], torch.randn(6, 8), []
    for gathers in (True, False):
        monkeypatch.setattr("passerby.nn.grab.gathering_pays", lambda _, gathers=gathers: gathers)
        head.zero_grad(set_to_none=True)
        vectors = head(groups)
        vectors.backward(slope)
        found.append([vectors.detach(), *(one.grad for one in head.parameters())])
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)
