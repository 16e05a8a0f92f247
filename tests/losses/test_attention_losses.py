"""Soft targets, InfoNCE and matching against naive loops in double precision: values, gradients, symmetries."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from passerby.errors import ConfigError
from passerby.losses.identity_contrastive import identity_contrastive
from passerby.losses.info_nce import info_nce
from passerby.losses.matching import draw_hard_negatives, matching_loss
from passerby.losses.soft_target import soft_target


def random(rows, width, seed, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(rows, width, generator=generator, dtype=torch.float64)


def softmax(values):
    top = max(values)
    powers = [math.exp(value - top) for value in values]
    return [power / sum(powers) for power in powers]


def naive_targets(images, texts, temperature):
    count = len(images)
    return [
        softmax([float(images[i] @ images[j] + texts[i] @ texts[j]) / 2 * temperature for j in range(count)])
        for i in range(count)
    ]


def naive_soft_target(images, texts, temperature, targets):
    count, total = len(images), 0.0
    for i in range(count):
        of_text = softmax([float(texts[i] @ images[j]) / temperature for j in range(count)])
        of_image = softmax([float(texts[j] @ images[i]) / temperature for j in range(count)])
        total -= sum(targets[i][j] * math.log(of_text[j]) for j in range(count)) / 2
        total -= sum(targets[j][i] * math.log(of_image[j]) for j in range(count)) / 2
    return total / count


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(1, 6), temperature=st.floats(0.5, 3), legacy=st.booleans(), seed=st.integers(0, 999))
def test_soft_target_equals_naive_loops(rows, temperature, legacy, seed):
    images, texts = random(rows, 4, seed), random(rows, 4, seed + 1)
    expected = naive_soft_target(images, texts, temperature, naive_targets(images, texts, temperature))
    assert float(soft_target(images, texts, temperature, legacy)) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("legacy", [False, True])
def test_soft_target_has_the_gradient_of_the_naive_version(legacy):
    """By central differences; detached targets are those of the unchanged vectors, legacy ones move along."""
    images, texts = random(4, 3, 0).requires_grad_(), random(4, 3, 1).requires_grad_()
    found = torch.autograd.grad(soft_target(images, texts, 1.3, legacy), [images, texts])
    fixed, step = naive_targets(images.detach(), texts.detach(), 1.3), 1e-5
    for which, gradient in enumerate(found):
        for place in range(12):
            sides = []
            for sign in (1, -1):
                moved = [images.detach().clone(), texts.detach().clone()]
                moved[which].view(-1)[place] += sign * step
                targets = naive_targets(*moved, 1.3) if legacy else fixed
                sides.append(naive_soft_target(*moved, 1.3, targets))
            assert float(gradient.reshape(-1)[place]) == pytest.approx((sides[0] - sides[1]) / (2 * step), abs=1e-7)


def test_detached_and_legacy_gradients_differ_and_values_do_not():
    images, texts = random(5, 4, 2).requires_grad_(), random(5, 4, 3)
    plain, legacy = soft_target(images, texts), soft_target(images, texts, legacy=True)
    assert plain.item() == legacy.item()
    assert not torch.allclose(*(torch.autograd.grad(loss, images)[0] for loss in (plain, legacy)))


def test_equal_rows_put_a_floor_under_the_soft_target_loss():
    """Five captions of each picture and vectors that know the picture: ln 5 and not a hair less."""
    pictures = 40 * torch.eye(6, dtype=torch.float64).repeat_interleave(5, 0)
    assert float(soft_target(pictures, pictures)) == pytest.approx(math.log(5), abs=1e-9)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_long_vectors_in_half_precision_stay_finite(dtype):
    images, texts = random(8, 256, 4).to(dtype), random(8, 256, 5).to(dtype)
    assert soft_target(images, texts).isfinite()
    assert soft_target(images, texts).dtype == torch.float32


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(1, 7), scale=st.floats(1, 50), seed=st.integers(0, 999))
def test_info_nce_equals_naive_loops(rows, scale, seed):
    images, texts = random(rows, 5, seed), random(rows, 5, seed + 1)
    total = 0.0
    for i in range(rows):
        total -= math.log(max(softmax([scale * float(images[i] @ t) for t in texts])[i], 1e-300))
        total -= math.log(max(softmax([scale * float(texts[i] @ v) for v in images])[i], 1e-300))
    assert float(info_nce(images, texts, scale)) == pytest.approx(total / 2 / rows, rel=1e-9)


def test_info_nce_is_the_identity_loss_where_nobody_occurs_twice():
    images, texts = (torch.nn.functional.normalize(random(6, 8, seed), dim=1) for seed in (0, 1))
    expected = identity_contrastive(images, texts, torch.arange(6), 20.0)
    assert float(info_nce(images, texts, 20.0)) == pytest.approx(float(expected), rel=1e-5)


def test_info_nce_learns_its_temperature_and_splits_over_processes():
    images, texts = (torch.nn.functional.normalize(random(6, 8, seed), dim=1) for seed in (2, 3))
    log_scale = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: info_nce(images, texts, s.exp()), log_scale)
    parts = [info_nce(images[at : at + 3], texts[at : at + 3], 7.0, images, texts, at) for at in (0, 3)]
    torch.testing.assert_close(sum(parts) / 2, info_nce(images, texts, 7.0))


# -- matching -------------------------------------------------------------------------------------------------------


def test_matching_equals_naive_loops():
    positives, negatives = random(5, 1, 0)[:, 0], random(5, 3, 1)
    expected = -sum(
        math.log(softmax([float(p), *map(float, row)])[0]) for p, row in zip(positives, negatives, strict=True)
    )
    assert float(matching_loss(positives, negatives)) == pytest.approx(expected / 5)
    assert float(matching_loss(torch.zeros(2), torch.zeros(2, 3))) == pytest.approx(math.log(4))


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(2, 9), people=st.integers(2, 4), count=st.integers(1, 6), seed=st.integers(0, 999))
def test_negatives_are_other_people_and_none_twice(rows, people, count, seed):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.arange(rows) % people
    drawn = draw_hard_negatives(torch.randn(rows, rows, generator=generator), ids, ids, count, generator)
    fewest = min(int((ids != one).sum()) for one in ids)
    assert drawn.shape == (rows, min(count, fewest))
    assert not (ids[drawn] == ids[:, None]).any()
    assert all(len(set(row)) == len(row) for row in drawn.tolist())


def test_what_the_first_stage_confuses_is_drawn_in_proportion():
    logits = torch.tensor([[9.0, 0.0, 1.0, 2.0]]).repeat(20_000, 1)
    drawn = draw_hard_negatives(
        logits, torch.zeros(20_000), torch.tensor([0.0, 1, 2, 3]), 1, torch.Generator().manual_seed(0)
    )
    shares = torch.bincount(drawn[:, 0], minlength=4) / 20_000
    assert shares[0] == 0, "the same person is never drawn, however alike"
    torch.testing.assert_close(shares[1:], torch.tensor([0.0, 1.0, 2.0]).softmax(0), rtol=0, atol=0.015)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: soft_target(torch.zeros(2, 3), torch.zeros(3, 3)), r"\(2, 3\) images and \(3, 3\) texts"),
        (lambda: soft_target(torch.zeros(2, 3), torch.zeros(2, 3), 0.0), "temperature is 0.0"),
        (lambda: info_nce(torch.zeros(2, 3), torch.zeros(3, 3), 1.0), "each picture needs its text"),
        (lambda: info_nce(torch.zeros(2, 3), torch.zeros(2, 3), 1.0, first=1), "rows 1 to 3 of 2"),
        (lambda: matching_loss(torch.zeros(2), torch.zeros(3, 1)), r"expected \(B,\)"),
        (lambda: draw_hard_negatives(torch.zeros(2, 2), torch.zeros(2), torch.zeros(2), 1), "one identity"),
        (lambda: draw_hard_negatives(torch.zeros(2, 2), torch.zeros(3), torch.zeros(2), 1), "3 and 2 identities"),
        (lambda: draw_hard_negatives(torch.zeros(1, 1), torch.zeros(1), torch.ones(1), 0), "0 negatives"),
    ],
)
def test_wrong_input(call, words):
    with pytest.raises(ConfigError, match=words):
        call()
