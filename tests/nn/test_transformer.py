import math

import pytest
import torch

from passerby.errors import ConfigError
from passerby.nn.projection import build_projection
from passerby.nn.transformer import Block, QuickGELU, SelfAttention, Stack


def naive_attention(layer, tokens, mask=None, causal=False):
    rows, length, channels = tokens.shape
    size = channels // layer.heads
    qkv = layer.qkv(tokens)
    out = torch.zeros_like(tokens)
    for row in range(rows):
        for head in range(layer.heads):
            query, key, value = (
                qkv[row, :, part * channels + head * size : part * channels + (head + 1) * size] for part in range(3)
            )
            for place in range(length):
                seen = [
                    other
                    for other in range(length)
                    if (mask is None or mask[row, other]) and (not causal or other <= place)
                ]
                scores = torch.stack([query[place] @ key[other] / math.sqrt(size) for other in seen])
                weights = scores.softmax(0)
                out[row, place, head * size : (head + 1) * size] = sum(
                    weight * value[other] for weight, other in zip(weights, seen, strict=True)
                )
    return layer.out(out)


@pytest.mark.parametrize("kind", ["plain", "masked", "causal"])
def test_attention_equals_a_loop(kind):
    torch.manual_seed(0)
    layer = SelfAttention(12, 3).double()
    tokens = torch.randn(2, 5, 12, dtype=torch.float64)
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 0, 1, 1, 1]]).bool() if kind == "masked" else None
    causal = kind == "causal"
    found = layer(tokens, mask, causal)
    torch.testing.assert_close(found, naive_attention(layer, tokens, mask, causal), rtol=1e-10, atol=1e-10)


def test_attention_has_a_right_gradient():
    torch.manual_seed(0)
    layer = SelfAttention(4, 2).double()
    tokens = torch.randn(1, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: layer(x, torch.tensor([[True, True, False]])), tokens)


def test_a_causal_stack_never_looks_ahead():
    torch.manual_seed(0)
    stack = Stack(2, 8, 2).eval()
    tokens = torch.randn(1, 6, 8)
    changed = tokens.clone()
    changed[:, 4:] += 1
    with torch.no_grad():
        before, after = stack(tokens, causal=True), stack(changed, causal=True)
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])


def test_a_block_adds_its_branches():
    torch.manual_seed(0)
    block = Block(8, 2, 16, "quick_gelu").eval()
    tokens = torch.randn(2, 3, 8)
    middle = tokens + block.attention(block.norm1(tokens))
    widened = block.widen(block.norm2(middle))
    expected = middle + block.narrow(widened * torch.sigmoid(1.702 * widened))
    torch.testing.assert_close(block(tokens), expected)


def test_quick_gelu_is_near_gelu_and_not_it():
    values = torch.linspace(-3, 3, 50)
    difference = (QuickGELU()(values) - torch.nn.functional.gelu(values)).abs().max()
    assert 0.005 < difference < 0.03


def test_quick_gelu_learns_by_the_slope_of_its_formula():
    values = torch.linspace(-8, 8, 101, dtype=torch.float64, requires_grad=True)
    training, formula = QuickGELU().train(), QuickGELU().eval()
    torch.testing.assert_close(training(values), formula(values))
    slopes = [torch.autograd.grad(way(values).sum(), values)[0] for way in (training, formula)]
    torch.testing.assert_close(*slopes)
    assert torch.autograd.gradcheck(training, values)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SelfAttention(10, 3), "10 channels cannot be cut into 3 heads"),
        (lambda: SelfAttention(10, 0), "0 heads"),
        (lambda: Block(8, 2, 16, "quick_gleu"), "Did you mean 'quick_gelu'"),
        (lambda: build_projection("liner", 4, 2), "Did you mean 'linear'"),
    ],
)
def test_wrong_input(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


def test_the_linear_projection_is_one_matrix():
    head = build_projection("linear", 6, 4)
    assert [tuple(p.shape) for p in head.parameters()] == [(4, 6)]
