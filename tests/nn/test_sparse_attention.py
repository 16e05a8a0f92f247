"""The blocked form against the dense one, and both against loops that ask for each pair who sees whom."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from passerby.errors import ConfigError
from passerby.nn.sparse_attention import (
    SparseAttention,
    Window,
    blocked_sparse_attention,
    dense_sparse_attention,
    sparse_attention,
)

#: Sentences, pictures, with and without global tokens; lengths that do and do not fill their last block.
WINDOWS = [
    Window((1, 1), (0, 0)),
    Window((5, 1), (2, 0), 1),
    Window((70, 1), (3, 0)),
    Window((130, 1), (4, 0), 2),
    Window((128, 1), (20, 0), 1),
    Window((33, 1), (40, 0), 1),
    Window((7, 7), (1, 1), 1),
    Window((24, 8), (2, 2)),
    Window((37, 19), (2, 1), 3),
    Window((20, 18), (1, 17)),
    Window((18, 40), (0, 3), 1),
]


def tensors(window, rows=2, heads=2, width=4, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (rows, window.length, heads, width)
    return [torch.randn(shape, generator=generator, dtype=dtype, requires_grad=True) for _ in range(3)]


def some_mask(window, rows=2, seed=0):
    """Like padding, and like nothing in particular: both must be right."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(rows, window.length, generator=generator) > 0.3
    mask[0, window.length // 2 :] = False
    return mask


def sees(one, other, window):
    if one < window.global_tokens or other < window.global_tokens:
        return True
    (row, column), (row2, column2) = (divmod(place - window.global_tokens, window.grid[1]) for place in (one, other))
    return abs(row - row2) <= window.reach[0] and abs(column - column2) <= window.reach[1]


def naive(query, key, value, window, mask=None):
    rows, length, heads, width = query.shape
    out = torch.zeros_like(query)
    for row in range(rows):
        for place in range(length):
            seen = [
                other for other in range(length)
                if sees(place, other, window) and (mask is None or mask[row, other] or other == place)
            ]  # fmt: skip
            for head in range(heads):
                scores = query[row, place, head] @ key[row, seen, head].T / math.sqrt(width)
                out[row, place, head] = scores.softmax(0) @ value[row, seen, head]
    return out


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("window", WINDOWS[:7], ids=str)
def test_the_dense_form_equals_a_loop(window, masked):
    query, key, value = tensors(window)
    mask = some_mask(window) if masked else None
    with torch.no_grad():
        expected = naive(query, key, value, window, mask)
        torch.testing.assert_close(dense_sparse_attention(query, key, value, window, mask), expected)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_blocked_form_equals_the_dense_one_forward_and_backward(window, masked, dtype):
    mask = some_mask(window) if masked else None
    weight = torch.randn(2, window.length, 2, 4, generator=torch.Generator().manual_seed(9)).to(dtype)
    found = []
    for form in (dense_sparse_attention, blocked_sparse_attention):
        inputs = tensors(window, dtype=dtype)
        out = form(*inputs, window, mask)
        found.append([out, *torch.autograd.grad((out * weight).sum(), inputs)])
    for dense, blocked in zip(*found, strict=True):
        torch.testing.assert_close(blocked, dense, rtol=0, atol=1e-5 if dtype == torch.float32 else 1e-12)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 50), columns=st.integers(1, 20), down=st.integers(0, 20), across=st.integers(0, 6),
    global_tokens=st.integers(0, 3), seed=st.integers(0, 99),
)  # fmt: skip
def test_any_grid_any_reach(rows, columns, down, across, global_tokens, seed):
    window = Window((rows, columns), (down, across), global_tokens)
    query, key, value = tensors(window, rows=1, heads=1, width=2, seed=seed)
    mask = some_mask(window, rows=1, seed=seed)
    with torch.no_grad():
        dense = dense_sparse_attention(query, key, value, window, mask)
        torch.testing.assert_close(blocked_sparse_attention(query, key, value, window, mask), dense)
        torch.testing.assert_close(sparse_attention(query, key, value, window, mask), dense)


@pytest.mark.parametrize("window", [Window((34, 1), (1, 0), 1), Window((9, 3), (1, 1), 1)], ids=str)
def test_the_blocked_form_has_a_right_gradient(window):
    generator = torch.Generator().manual_seed(0)
    shape = (1, window.length, 1, 2)
    inputs = [torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    mask = some_mask(window, rows=1)
    assert len(window.block) == 2
    assert window.block != window.grid, "more than one block"
    assert torch.autograd.gradcheck(lambda *qkv: blocked_sparse_attention(*qkv, window, mask), inputs)


def test_what_is_out_of_sight_changes_nothing():
    window = Window((200, 1), (8, 0), 1)
    query, key, value = (t.detach() for t in tensors(window))
    before = sparse_attention(query, key, value, window)
    key[:, 150:], value[:, 150:] = 5.0, 7.0
    after = sparse_attention(query, key, value, window)
    assert torch.equal(before[:, 1:140], after[:, 1:140])
    assert not torch.allclose(before[:, 0], after[:, 0]), "the global token sees all"
    assert not torch.allclose(before[:, 149], after[:, 149])


def test_padding_is_as_if_it_were_not_there():
    torch.manual_seed(0)
    layer = SparseAttention(8, 2, (2, 0), 1).eval()
    tokens = torch.randn(1, 9, 8)
    padded = torch.nn.functional.pad(tokens, (0, 0, 0, 300), value=3.0)
    mask = torch.arange(309)[None] < 9
    with torch.no_grad():
        torch.testing.assert_close(layer(padded, mask)[:, :9], layer(tokens), rtol=0, atol=1e-6)
        assert layer(padded, torch.zeros(1, 309, dtype=torch.bool)).isfinite().all()


def test_a_window_over_everything_is_plain_attention():
    window = Window((300, 1), (300, 0))
    query, key, value = (t.detach() for t in tensors(window))
    heads_first = [t.transpose(1, 2) for t in (query, key, value)]
    expected = torch.nn.functional.scaled_dot_product_attention(*heads_first).transpose(1, 2)
    torch.testing.assert_close(blocked_sparse_attention(query, key, value, window), expected)


def test_heads_are_a_knob_of_their_own():
    """More heads are narrower ones: other numbers from as many parameters, and nobody sees further."""
    tokens = torch.randn(1, 60, 16, generator=torch.Generator().manual_seed(0))
    outputs = []
    for heads in (1, 2, 4, 8):
        torch.manual_seed(0)
        layer = SparseAttention(16, heads, (1, 0), 0).eval()
        assert sum(p.numel() for p in layer.parameters()) == 4 * 16 * 17
        moved = tokens.clone()
        moved[:, 30:] += 1
        with torch.no_grad():
            outputs.append(layer(tokens))
            assert torch.equal(layer(moved)[:, :29], outputs[-1][:, :29])
    assert not torch.allclose(outputs[0], outputs[1])


def test_short_sequences_are_one_dense_block_and_long_ones_are_not(monkeypatch):
    from passerby.nn import sparse_attention as module

    def refuse(*_):
        raise AssertionError("the other form")

    short, long = Window((64, 1), (32, 0), 1), Window((2048, 1), (32, 0), 1)
    monkeypatch.setattr(module, "blocked_sparse_attention", refuse)
    sparse_attention(*tensors(short, 1, 1, 2), short)
    monkeypatch.undo()
    monkeypatch.setattr(module, "dense_sparse_attention", refuse)
    sparse_attention(*tensors(long, 1, 1, 2), long)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SparseAttention(10, 3, (1, 0)), "10 channels cannot be cut into 3 heads"),
        (lambda: SparseAttention(8, 2, (-1, 0)), r"reach \(-1, 0\)"),
        (lambda: SparseAttention(8, 2, (1, 0), -2), "-2 global tokens"),
        (lambda: SparseAttention(8, 2, (1, 1), 1, (3, 2))(torch.zeros(1, 6, 8)), "3x2 needs 7 tokens; got 6"),
        (
            lambda: blocked_sparse_attention(*[torch.zeros(1, 3, 1, 2)] * 3, Window((4, 1), (1, 0))),
            "needs 4 tokens; got 3",
        ),
    ],
)
def test_wrong_input(make, words):
    with pytest.raises(ConfigError, match=words):
        make()
