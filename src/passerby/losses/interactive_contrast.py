"""Interactive contrast: a student's pictures among its teacher's sentences, and its sentences among its pictures.

    loss = 1/2 [ H(softmax(scale v^S T^T), q) + H(softmax(scale t^S V^T), q) ]

where ``q`` spreads a query's target evenly over the candidates of its identity, as everywhere in this project.

Source: CLIP-KD, Yang et al. 2024 (there ICL), which calls every other pair of the batch a negative.

Axes: Q pairs of this process, N pairs of all processes, D embedding width.
"""

from __future__ import annotations

from torch import Tensor

from passerby.losses.identity_contrastive import contrastive_direction


def interactive_contrast(
    images: Tensor,
    texts: Tensor,
    ids: Tensor,
    teacher_images: Tensor,
    teacher_texts: Tensor,
    teacher_ids: Tensor,
    scale: Tensor | float,
) -> Tensor:
    """The loss of the formula above.

    Args:
        images: unit image vectors of the student.
        texts: unit text vectors of the student; row i belongs to row i of `images`.
        ids: identity of each of the student's pairs.
        teacher_images: unit image vectors of the teacher, for the pairs of all processes.
        teacher_texts: unit text vectors of the teacher, likewise.
        teacher_ids: identity of each of the teacher's pairs; each of `ids` is among them.
        scale: inverse temperature, positive.

    Shape:
        images (Q, D), texts (Q, D), ids (Q,), teacher_images (N, D), teacher_texts (N, D), teacher_ids (N,) -> scalar.

    Raises:
        ConfigError: the shapes disagree.
    """
    of_images = contrastive_direction(images, teacher_texts.detach(), ids, teacher_ids, scale)
    of_texts = contrastive_direction(texts, teacher_images.detach(), ids, teacher_ids, scale)
    return (of_images + of_texts) / 2
