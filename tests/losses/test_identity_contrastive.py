"""The contrastive loss against naive loops in double precision, its gradient, and its symmetries."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from passerby.errors import ConfigError
from passerby.losses.identity_contrastive import contrastive_direction, identity_contrastive


def unit(rows, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(rows, width, generator=generator, dtype=torch.float64), dim=1)


def naive_direction(queries, candidates, query_ids, candidate_ids, scale):
    total = 0.0
    for q in range(len(queries)):
        scores = [scale * float(queries[q] @ c) for c in candidates]
        top = max(scores)
        log_sum = top + math.log(sum(math.exp(s - top) for s in scores))
        positives = [n for n in range(len(candidates)) if candidate_ids[n] == query_ids[q]]
        total += -sum(scores[n] - log_sum for n in positives) / len(positives)
    return total / len(queries)


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(1, 9), people=st.integers(1, 4), scale=st.floats(1, 60), seed=st.integers(0, 999))
def test_equals_naive_loops(rows, people, scale, seed):
    images, texts = unit(rows, 6, seed), unit(rows, 6, seed + 1)
    ids = torch.randint(0, people, (rows,), generator=torch.Generator().manual_seed(seed))
    expected = (
        naive_direction(images, texts, ids.tolist(), ids.tolist(), scale)
        + naive_direction(texts, images, ids.tolist(), ids.tolist(), scale)
    ) / 2
    assert float(identity_contrastive(images, texts, ids, scale)) == pytest.approx(expected, rel=1e-10)


def test_same_person_is_no_negative():
    """Captions that fit the other picture of the same person cost less when the loss knows that it is that person."""
    images, swapped = torch.eye(3, dtype=torch.float64), torch.eye(3, dtype=torch.float64)[[1, 0, 2]]
    as_same = identity_contrastive(images, swapped, torch.tensor([7, 7, 8]), 5.0)
    as_strangers = identity_contrastive(images, swapped, torch.tensor([7, 9, 8]), 5.0)
    assert as_same < as_strangers
    assert float(as_strangers - as_same) == pytest.approx(5 / 3, abs=1e-5)


def test_distinct_identities_are_plain_infonce():
    images, texts = unit(5, 8, 1), unit(5, 8, 2)
    logits = 20 * images @ texts.T
    labels = torch.arange(5)
    expected = (
        torch.nn.functional.cross_entropy(logits, labels) + torch.nn.functional.cross_entropy(logits.T, labels)
    ) / 2
    torch.testing.assert_close(identity_contrastive(images, texts, labels, 20.0), expected)


def test_order_of_pairs_does_not_matter():
    images, texts, ids = unit(6, 4, 3), unit(6, 4, 4), torch.tensor([0, 0, 1, 2, 2, 3])
    order = torch.tensor([4, 1, 5, 0, 3, 2])
    torch.testing.assert_close(
        identity_contrastive(images, texts, ids, 10.0),
        identity_contrastive(images[order], texts[order], ids[order], 10.0),
    )


def test_gradient_reaches_images_texts_and_temperature():
    images, texts = unit(4, 5, 5).float().requires_grad_(), unit(4, 5, 6).float().requires_grad_()
    scale = torch.tensor(14.0, requires_grad=True)
    identity_contrastive(images, texts, torch.arange(4), scale).backward()
    for leaf in (images, texts, scale):
        assert leaf.grad is not None
        assert torch.isfinite(leaf.grad).all()
        assert leaf.grad.abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_finite(dtype):
    images, texts = unit(8, 16, 7).to(dtype), unit(8, 16, 8).to(dtype)
    assert torch.isfinite(identity_contrastive(images, texts, torch.arange(8), 100.0))


def test_ids_of_another_length_are_refused():
    with pytest.raises(ConfigError, match="each row needs one id"):
        contrastive_direction(unit(3, 4), unit(3, 4), torch.arange(2), torch.arange(3), 1.0)
