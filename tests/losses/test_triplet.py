"""The triplet loss against loops over all triplets, its gradient against the full matrix, and what it leaves out."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from passerby.errors import ConfigError
from passerby.losses import triplet
from passerby.losses.triplet import hardest, triplet_loss


def rows_of(count, people, seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, people, (count,), generator=generator)
    return torch.randn(count, 5, generator=generator, dtype=torch.float64), labels


def naive(features, labels, margin, squared=False):
    losses = []
    for a in range(len(features)):
        squares = [float(((features[a] - other) ** 2).sum()) for other in features]
        distances = squares if squared else [math.sqrt(max(one, 1e-12)) for one in squares]
        same = [distances[i] for i in range(len(features)) if labels[i] == labels[a] and i != a]
        other = [distances[i] for i in range(len(features)) if labels[i] != labels[a]]
        if not same or not other:
            continue
        gap = max(same) - min(other)
        losses.append(math.log1p(math.exp(gap)) if margin is None else max(0.0, gap + margin))
    return sum(losses) / len(losses) if losses else 0.0


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(1, 14),
    people=st.integers(1, 5),
    seed=st.integers(0, 999),
    margin=st.sampled_from([0.0, 0.3, None]),
    squared=st.booleans(),
)
def test_equals_loops(count, people, seed, margin, squared):
    features, labels = rows_of(count, people, seed)
    expected = naive(features, labels, margin, squared)
    assert float(triplet_loss(features, labels, margin, squared)) == pytest.approx(expected, abs=1e-9)


def test_gradient_is_that_of_the_full_matrix():
    features, labels = rows_of(20, 4, 1)
    ours, dense = features.clone().requires_grad_(), features.clone().requires_grad_()
    triplet_loss(ours, labels, 0.3).backward()
    distances = (dense[:, None] - dense[None]).square().sum(dim=2).clamp_min(1e-12).sqrt()
    same = labels[:, None] == labels[None]
    positive = distances.masked_fill(~same, -torch.inf).amax(dim=1)
    negative = distances.masked_fill(same, torch.inf).amin(dim=1)
    alone = same.sum(dim=1) == 1
    (positive - negative + 0.3).clamp_min(0)[~alone].mean().backward()
    torch.testing.assert_close(ours.grad, dense.grad)


def test_blocks_find_what_one_piece_finds(monkeypatch):
    features, labels = rows_of(23, 5, 2)
    whole = hardest(features, labels)
    monkeypatch.setattr(triplet, "_BLOCK", 32 * 4)
    for one, other in zip(hardest(features, labels), whole, strict=True):
        assert torch.equal(one, other)


def test_hardest_rows_of_many_equal_the_full_matrix():
    features, labels = rows_of(300, 40, 3)
    distances = torch.cdist(features, features)
    same = labels[:, None] == labels[None]
    positive, negative, valid = hardest(features, labels)
    beside = same & ~torch.eye(300, dtype=torch.bool)
    assert torch.equal(valid, beside.any(dim=1))
    assert torch.equal(positive[valid], distances.masked_fill(~beside, -torch.inf).argmax(dim=1)[valid])
    assert torch.equal(negative, distances.masked_fill(same, torch.inf).argmin(dim=1))


def test_rows_alone_are_left_out():
    features = torch.tensor([[0.0], [1.0], [5.0]])
    assert float(triplet_loss(features, torch.tensor([0, 0, 1]), 0.0)) == pytest.approx(0.0)
    assert float(triplet_loss(features, torch.arange(3), 0.3)) == 0.0
    assert float(triplet_loss(features, torch.zeros(3, dtype=torch.long), 0.3)) == 0.0


def test_copies_have_a_finite_gradient():
    features = torch.zeros(4, 3, requires_grad=True)
    triplet_loss(features, torch.tensor([0, 0, 1, 1])).backward()
    assert torch.isfinite(features.grad).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_finite(dtype):
    features, labels = rows_of(12, 3, 4)
    assert torch.isfinite(triplet_loss((100 * features).to(dtype), labels))


def test_wrong_input_is_refused():
    features, labels = rows_of(4, 2, 0)
    with pytest.raises(ConfigError, match=r"expected \(B, D\) and \(B,\)"):
        triplet_loss(features, labels[:3])
    with pytest.raises(ConfigError, match="a triplet margin of -1"):
        triplet_loss(features, labels, -1.0)
