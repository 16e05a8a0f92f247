"""Feature distillation: a student's unit vectors are pulled to its teacher's, coordinate by coordinate.

``loss = mean_i || s_i - t_i ||^2`` with rows of unit length, so that it lies in [0, 4] whatever the width.

Source: CLIP-KD, Yang et al. 2024 (there FD), where it is the strongest of six ways to distil a CLIP.

Axes: B pairs, D embedding width.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import normalize

from passerby.errors import ConfigError
from passerby.losses.pairs import exact


def feature_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """The loss of the formula above; lengths do not matter.

    Args:
        student: vectors of the student.
        teacher: vectors of the teacher for the same inputs; no gradient flows into them.

    Shape:
        student (B, D), teacher (B, D) -> scalar.

    Raises:
        ConfigError: the shapes differ.
    """
    if student.shape != teacher.shape or student.ndim != 2:
        raise ConfigError(
            f"feature_distance: {tuple(student.shape)} of the student and {tuple(teacher.shape)} of the teacher; "
            "expected (B, D) of both"
        )
    apart = normalize(exact(student), dim=1) - normalize(exact(teacher.detach()), dim=1)  # (B, D)
    return apart.square().sum(dim=1).mean()
