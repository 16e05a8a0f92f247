"""The convolution whose weight gradient is made on maps side by side: the same sums as ever, in another order."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import conv2d

from passerby.nn.tiled_convolution import TiledConv2d, lay_side_by_side, tile_convolutions, weight_gradient


def test_maps_lie_in_order_with_zeros_between():
    maps = torch.arange(1.0, 1 + 6 * 2 * 3 * 2).reshape(6, 2, 3, 2)
    wide = lay_side_by_side(maps, 3, rows=4, columns=3)
    assert wide.shape == (2, 2, 4, 9)
    for index, map_ in enumerate(maps):
        row, place = divmod(index, 3)
        assert torch.equal(wide[row, :, :3, 3 * place : 3 * place + 2], map_)
    assert wide.sum() == maps.sum()


@settings(max_examples=25, deadline=None)
@given(
    count=st.integers(1, 9),
    stride=st.sampled_from([1, 2]),
    height=st.integers(1, 4),
    width=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_the_weight_gradient_is_autograds(count, stride, height, width, seed):
    torch.manual_seed(seed)
    maps = torch.randn(count, 3, stride * height, stride * width, dtype=torch.float64)
    weight = torch.randn(5, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    made = conv2d(maps, weight, stride=stride, padding=1)
    gradient = torch.randn_like(made)
    (expected,) = torch.autograd.grad(made, weight, gradient)
    torch.testing.assert_close(weight_gradient(maps, gradient, weight, stride), expected)


@pytest.mark.parametrize("stride", [1, 2])
def test_training_in_bfloat16_agrees_with_the_plain_layer(stride, monkeypatch):
    torch.manual_seed(0)
    tiled, plain = TiledConv2d(8, 16, stride), nn.Conv2d(8, 16, 3, stride=stride, padding=1, bias=False)
    plain.load_state_dict(tiled.state_dict())
    maps = torch.randn(6, 8, 6, 4)
    sides = [maps.clone().requires_grad_() for _ in range(2)]
    tiles = []
    monkeypatch.setattr(
        "passerby.nn.tiled_convolution.weight_gradient", lambda *a: tiles.append(a) or weight_gradient(*a)
    )
    for layer, side in zip((tiled, plain), sides, strict=True):
        with torch.autocast("cpu", torch.bfloat16):
            made = layer(side)
        assert made.dtype == torch.bfloat16
        made.float().square().mean().backward()
    assert len(tiles) == 1
    torch.testing.assert_close(sides[0].grad, sides[1].grad, rtol=0.05, atol=1e-3)
    torch.testing.assert_close(tiled.weight.grad, plain.weight.grad, rtol=0.05, atol=2e-3)


@pytest.mark.parametrize(
    ("training", "dtype", "width"),
    [(False, torch.bfloat16, 4), (True, None, 4), (True, torch.bfloat16, 8), (True, torch.float16, 4)],
)
def test_it_is_the_plain_layer_elsewhere(training, dtype, width, monkeypatch):
    def never(*_):
        raise AssertionError("the gradient was made on tiles")

    monkeypatch.setattr("passerby.nn.tiled_convolution.weight_gradient", never)
    layer = TiledConv2d(4, 4).train(training)
    with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
        layer(torch.randn(2, 4, 4, width)).float().sum().backward()
    assert layer.weight.grad is not None


def test_sides_that_the_stride_does_not_divide_are_left_to_the_plain_layer():
    layer = TiledConv2d(4, 4, stride=2)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.randn(2, 4, 5, 3)).shape == (2, 4, 3, 2)


def test_a_frozen_layer_makes_no_gradient(monkeypatch):
    made = []
    monkeypatch.setattr("passerby.nn.tiled_convolution.weight_gradient", lambda *a: made.append(a))
    layer, maps = TiledConv2d(4, 4), torch.randn(2, 4, 4, 4, requires_grad=True)
    layer.weight.requires_grad_(False)
    with torch.autocast("cpu", torch.bfloat16):
        layer(maps).float().sum().backward()
    assert made == []
    assert maps.grad is not None


def test_a_network_keeps_its_weights_names_and_results():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1, bias=False))
    )
    before, weights = network(torch.ones(2, 3, 6, 4)), dict(network.named_parameters())
    network[1].eval()
    tile_convolutions(network)
    assert isinstance(network[0], TiledConv2d)
    assert isinstance(network[1][0], TiledConv2d)
    assert network[0].training
    assert not network[1][0].training
    assert {name: id(one) for name, one in network.named_parameters()} == {k: id(v) for k, v in weights.items()}
    assert torch.equal(network(torch.ones(2, 3, 6, 4)), before)


@pytest.mark.parametrize(
    "other",
    [
        {"bias": True},
        {"groups": 2},
        {"dilation": 2, "padding": 2},
        {"padding": 0},
        {"padding": "same"},
        {"stride": 3},
        {"kernel_size": 5, "padding": 2},
        {"padding_mode": "circular"},
    ],
)
def test_a_convolution_of_another_kind_stays(other):
    network = nn.Sequential(nn.Conv2d(4, 4, **{"kernel_size": 3, "padding": 1, "bias": False, **other}))
    tile_convolutions(network)
    assert type(network[0]) is nn.Conv2d


def test_a_subclass_stays():
    class Scaled(nn.Conv2d):
        pass

    network = nn.Sequential(Scaled(4, 4, 3, padding=1, bias=False))
    tile_convolutions(network)
    assert type(network[0]) is Scaled
