"""Center loss: each feature is drawn to a learned center of its identity (Wen et al. 2016, eq. 2).

Axes: B rows, D width, C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from passerby.errors import ConfigError, DataError
from passerby.losses.pairs import exact


def center_loss(features: Tensor, labels: Tensor, centers: Tensor, form: str = "mean") -> Tensor:
    """``mean_i |f_i - c_{y_i}|^2``, as person re-identification uses it; only the needed centers are looked at.

    Args:
        features: not normalised.
        labels: classes 0..C-1.
        centers: one row for each class.
        form: "mean", or "half_sum" for the ``1/2 sum_i`` of the paper. The usual weight of 0.0005 is meant for "mean".

    Shape:
        features (B, D), labels (B,) int64, centers (C, D) -> scalar.

    Raises:
        ConfigError: the form is unknown, or the shapes disagree.
        DataError: a label has no center.
    """
    if features.shape[0] != labels.shape[0] or features.shape[1] != centers.shape[1]:
        raise ConfigError(
            f"center loss: features {tuple(features.shape)}, labels {tuple(labels.shape)}, centers "
            f"{tuple(centers.shape)}; each row needs one label, and centers the width of the features"
        )
    # On a GPU this look would wait for the device in every step; there, indexing below fails on such a label.
    if labels.device.type == "cpu" and len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(centers):
        raise DataError(
            f"labels from {int(labels.min())} to {int(labels.max())} for {len(centers)} centers; number the identities "
            "from 0, or make the loss with as many classes as there are"
        )
    squares = (exact(features) - exact(centers[labels])).square().sum(dim=1)  # (B,)
    if form == "mean":
        return squares.mean()
    if form == "half_sum":
        return squares.sum() / 2
    raise ConfigError(f"no form of the center loss is called {form!r}; known: mean, half_sum")


@torch.no_grad()
def moved_centers(features: Tensor, labels: Tensor, centers: Tensor, rate: float = 0.5) -> Tensor:
    """The centers after one step of plain gradient descent on the "mean" form, as a new tensor.

    ``c_j + 2 rate / B sum_{i: y_i = j} (f_i - c_j)``: what `CenterLoss` with `undo_weight` and its own SGD comes to,
    without a second optimiser to keep.

    Args:
        features: not normalised.
        labels: classes 0..C-1.
        centers: one row for each class.
        rate: of the descent.

    Shape:
        features (B, D), labels (B,) int64, centers (C, D) -> (C, D).
    """
    pulls = (features.to(centers.dtype) - centers[labels]) * (2 * rate / len(labels))
    return centers.index_add(0, labels, pulls)


class CenterLoss(nn.Module):
    """The centers, and the loss of features against them.

    Centers are moved by an optimiser of their own (plain SGD, rate 0.5), by the gradient of this loss without the
    weight that it has among others: a weight of 0.0005 would hold them still.

    Args:
        classes: C.
        width: D.
        form: see `center_loss`.
    """

    def __init__(self, classes: int, width: int, form: str = "mean") -> None:
        super().__init__()
        self.centers = nn.Parameter(torch.randn(classes, width))
        self.form = form

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """(B, D), (B,) -> scalar."""
        return center_loss(features, labels, self.centers, self.form)

    def undo_weight(self, weight: float) -> None:
        """Divide the centers' gradient by the weight that the loss had in the sum; after backward, before the step."""
        if weight and self.centers.grad is not None:
            self.centers.grad /= weight
