"""Losses of distillation against naive loops in double precision, their symmetries and what they refuse."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from passerby.errors import ConfigError
from passerby.losses.feature_distance import feature_distance
from passerby.losses.interactive_contrast import interactive_contrast
from passerby.losses.similarity_divergence import row_divergence, similarity_divergence


def random(rows, width, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, width, generator=generator, dtype=torch.float64)


def unit(rows, width, seed):
    return normalize(random(rows, width, seed), dim=1)


def softmax(values):
    powers = [math.exp(value - max(values)) for value in values]
    return [power / sum(powers) for power in powers]


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(1, 6), width=st.integers(1, 5), seed=st.integers(0, 999))
def test_feature_distance_equals_naive_loops(rows, width, seed):
    student, teacher = random(rows, width, seed), random(rows, width, seed + 1)
    total = 0.0
    for left, right in zip(student.tolist(), teacher.tolist(), strict=True):
        long, other = math.hypot(*left), math.hypot(*right)
        total += sum((a / long - b / other) ** 2 for a, b in zip(left, right, strict=True))
    found = float(feature_distance(student, teacher))
    assert found == pytest.approx(total / rows, rel=1e-10, abs=1e-14)
    assert 0 <= found <= 4 + 1e-12


def test_feature_distance_knows_no_length_and_teaches_the_student_alone():
    student, teacher = random(4, 3, 0).requires_grad_(), random(4, 3, 1).requires_grad_()
    loss = feature_distance(student, teacher)
    assert float(feature_distance(3 * student, 0.5 * teacher).detach()) == pytest.approx(
        float(loss.detach()), rel=1e-12
    )
    loss.backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None
    assert float(feature_distance(teacher.detach(), 2 * teacher.detach())) == pytest.approx(0, abs=1e-20)
    assert float(feature_distance(teacher.detach(), -teacher.detach())) == pytest.approx(4)


def naive_direction(queries, candidates, query_ids, candidate_ids, scale):
    total = 0.0
    for query, own in zip(queries, query_ids, strict=True):
        chances = softmax([scale * float(query @ candidate) for candidate in candidates])
        right = [index for index, other in enumerate(candidate_ids) if other == own]
        total -= sum(math.log(chances[index]) for index in right) / len(right)
    return total / len(queries)


@settings(max_examples=20, deadline=None)
@given(rows=st.integers(1, 5), more=st.integers(0, 3), scale=st.floats(0.5, 20), seed=st.integers(0, 999))
def test_interactive_contrast_equals_naive_loops(rows, more, scale, seed):
    everybody = rows + more
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 3, (everybody,), generator=generator)
    images, texts = unit(rows, 4, seed), unit(rows, 4, seed + 1)
    taught = unit(everybody, 4, seed + 2), unit(everybody, 4, seed + 3)
    found = interactive_contrast(images, texts, ids[:rows], *taught, ids, scale)
    expected = naive_direction(images, taught[1], ids[:rows].tolist(), ids.tolist(), scale)
    expected += naive_direction(texts, taught[0], ids[:rows].tolist(), ids.tolist(), scale)
    assert float(found) == pytest.approx(expected / 2, rel=1e-10)


def test_interactive_contrast_teaches_the_student_alone():
    parts = [unit(4, 3, seed).requires_grad_() for seed in range(4)]
    ids = torch.arange(4)
    interactive_contrast(parts[0], parts[1], ids, parts[2], parts[3], ids, 5.0).backward()
    assert all(part.grad.abs().sum() > 0 for part in parts[:2])
    assert all(part.grad is None for part in parts[2:])


@settings(max_examples=20, deadline=None)
@given(rows=st.integers(1, 5), more=st.integers(0, 3), seed=st.integers(0, 999), warm=st.floats(0.05, 2))
def test_similarity_divergence_equals_naive_loops(rows, more, seed, warm):
    student = unit(rows + more, 3, seed), unit(rows + more, 3, seed + 1)
    teacher = unit(rows + more, 5, seed + 2), unit(rows + more, 5, seed + 3)
    total = 0.0
    for side in (0, 1):
        for row in range(rows):
            p = softmax([float(teacher[side][row] @ other) / 0.3 for other in teacher[1 - side]])
            q = softmax([float(student[side][row] @ other) / warm for other in student[1 - side]])
            total += sum(a * (math.log(a) - math.log(b)) for a, b in zip(p, q, strict=True) if a > 0) / rows
    own, taught = tuple(part[:rows] for part in student), tuple(part[:rows] for part in teacher)
    found = float(similarity_divergence(own, student, taught, teacher, warm, 0.3))
    assert found == pytest.approx(total, rel=1e-8, abs=1e-12)
    assert found >= -1e-12


def test_a_student_that_scores_like_its_teacher_has_nothing_to_learn():
    teacher = unit(5, 4, 0), unit(5, 4, 1)
    turn = torch.linalg.qr(random(4, 4, 2)).Q
    student = teacher[0] @ turn, teacher[1] @ turn  # other vectors, the same scores
    assert float(similarity_divergence(student, student, teacher, teacher)) == pytest.approx(0, abs=1e-12)
    other = unit(5, 4, 3), unit(5, 4, 4)
    assert float(similarity_divergence(other, other, teacher, teacher)) > 0.1


def test_the_divergence_is_the_teachers_and_not_the_students():
    sure, unsure = torch.tensor([[8.0, 0, 0]]), torch.zeros(1, 3)
    assert float(row_divergence(unsure, sure)) == pytest.approx(math.log(3), abs=0.02)
    assert float(row_divergence(sure, unsure)) > 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: feature_distance(torch.ones(2, 3), torch.ones(2, 4)), r"\(2, 3\) of the student and \(2, 4\)"),
        (lambda: feature_distance(torch.ones(3), torch.ones(3)), r"expected \(B, D\) of both"),
        (
            lambda: interactive_contrast(
                *[torch.ones(2, 3)] * 2, torch.ones(3), *[torch.ones(2, 3)] * 2, torch.ones(2), 1
            ),
            "each row needs one id",
        ),
        (lambda: row_divergence(torch.ones(2, 3), torch.ones(2, 2)), "same rows and columns"),
        (lambda: similarity_divergence(*[(torch.ones(2, 3),) * 2] * 4, 0.0), "expected above zero"),
        (lambda: similarity_divergence(*[(torch.ones(2, 3),) * 2] * 4, 1.0, -1.0), "expected above zero"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ConfigError, match=message):
        call()
