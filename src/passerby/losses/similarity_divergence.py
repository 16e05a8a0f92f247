"""Similarity distillation: how the student's pictures rank a batch of sentences is pulled to how the teacher's do.

For rows of scores ``p = softmax(<v, t> / tau)`` of the teacher and of the student,

    loss = mean_i KL(p^T_i || p^S_i)  of pictures to sentences, plus the same of sentences to pictures.

Only scores are compared, so the two may have vectors of different width.

Source: CLIP-KD, Yang et al. 2024 (there CRD); TinyCLIP, Wu et al. 2023 (there affinity mimicking).

Axes: Q pairs of this process, N pairs of all processes, D and E embedding widths of student and teacher.
"""

from __future__ import annotations

from torch import Tensor

from passerby.errors import ConfigError
from passerby.losses.pairs import scores


def row_divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """``mean_i sum_j p_ij (log p_ij - log q_ij)`` with p, q the softmax of a teacher's and a student's logits.

    Args:
        student: logits.
        teacher: logits; no gradient flows into them.

    Shape:
        student (Q, N), teacher (Q, N) -> scalar.

    Raises:
        ConfigError: the shapes differ.
    """
    if student.shape != teacher.shape:
        raise ConfigError(
            f"similarity_divergence: scores of {tuple(student.shape)} by the student and {tuple(teacher.shape)} by "
            "the teacher; expected the same rows and columns"
        )
    wanted = teacher.detach().log_softmax(dim=1)
    return (wanted.exp() * (wanted - student.log_softmax(dim=1))).sum(dim=1).mean()


def similarity_divergence(
    own: tuple[Tensor, Tensor],
    everywhere: tuple[Tensor, Tensor],
    teacher_own: tuple[Tensor, Tensor],
    teacher_everywhere: tuple[Tensor, Tensor],
    temperature: float = 0.05,
    teacher_temperature: float | None = None,
) -> Tensor:
    """The loss of the formula above.

    Args:
        own: the student's unit vectors of pictures and sentences, of this process.
        everywhere: the same of all processes, gathered with gradient; `own` when there is one process.
        teacher_own: the teacher's unit vectors of the same pictures and sentences.
        teacher_everywhere: the same of all processes.
        temperature: of the student's scores, positive.
        teacher_temperature: of the teacher's scores; as the student's when None.

    Shape:
        own (Q, D) twice, everywhere (N, D) twice, teacher_own (Q, E) twice, teacher_everywhere (N, E) twice -> scalar.

    Raises:
        ConfigError: the shapes disagree, or a temperature is not positive.
    """
    sharp = temperature if teacher_temperature is None else teacher_temperature
    if temperature <= 0 or sharp <= 0:
        raise ConfigError(f"similarity_divergence: temperatures of {temperature} and {sharp}; expected above zero")

    directions = [
        row_divergence(
            scores(own[side], everywhere[1 - side]) / temperature,
            scores(teacher_own[side], teacher_everywhere[1 - side]) / sharp,
        )
        for side in (0, 1)
    ]
    return directions[0] + directions[1]
