"""What a pair of vectors is, told from both together: the head of the cross-modal identity loss.

``W_c GELU(LayerNorm(W_1 [a; b] + c))``. The first layer is linear, so a vector's share as the first and as the second
of a pair is computed once, however many pairs it is in.

Axes: B vectors, D width, P pairs, K classes.
"""

from __future__ import annotations

from torch import Tensor, nn


class PairHead(nn.Module):
    """The head of the formula above.

    Args:
        width: D.
        classes: K.
    """

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.join = nn.Linear(2 * width, width)
        self.norm, self.activation = nn.LayerNorm(width), nn.GELU()
        self.classifier = nn.Linear(width, classes)
        nn.init.normal_(self.classifier.weight, std=0.001)
        nn.init.zeros_(self.classifier.bias)

    def project(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """What vectors add to the first layer as the first and as the second: (B, D) -> (B, D), (B, D)."""
        # The same numbers read as (2D, D): rows of both halves take turns. Cutting the matrix into halves instead would
        # put its gradient together from two copies in every step.
        rows = self.join.weight.view(-1, vectors.shape[1])
        shares = nn.functional.linear(vectors, rows).unflatten(1, (-1, 2))  # (B, D, 2)
        return shares[..., 0] + self.join.bias, shares[..., 1]

    def forward(self, joined: Tensor) -> Tensor:
        """The sum of a first and a second share to logits: (P, D) -> (P, K)."""
        return self.classifier(self.activation(self.norm(joined)))
