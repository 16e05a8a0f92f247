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
        first, second = self.join.weight.chunk(2, dim=1)
        return nn.functional.linear(vectors, first, self.join.bias), nn.functional.linear(vectors, second)

    def forward(self, joined: Tensor) -> Tensor:
        """The sum of a first and a second share to logits: (P, D) -> (P, K)."""
        return self.classifier(self.activation(self.norm(joined)))
