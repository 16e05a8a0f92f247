"""The center loss against loops, its gradient on centers and features, and labels that have no center."""

import pytest
import torch

from passerby.errors import ConfigError, DataError
from passerby.losses.center import CenterLoss, center_loss


def drawn(rows=9, classes=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(rows, 3, generator=generator)
    centers = torch.randn(classes, 3, generator=generator)
    return features, torch.randint(0, classes, (rows,), generator=generator), centers


@pytest.mark.parametrize("form", ["mean", "half_sum"])
def test_equals_loops(form):
    features, labels, centers = drawn()
    total = 0.0
    for feature, label in zip(features.tolist(), labels.tolist(), strict=True):
        total += sum((a - b) ** 2 for a, b in zip(feature, centers[label].tolist(), strict=True))
    expected = total / 9 if form == "mean" else total / 2
    assert float(center_loss(features, labels, centers, form)) == pytest.approx(expected, rel=1e-5)


def test_gradient_pulls_both_ways_and_leaves_strangers_alone():
    features, _, _ = drawn(2)
    loss = CenterLoss(3, 3)
    leaf = features.requires_grad_()
    (0.0005 * loss(leaf, torch.tensor([0, 2]))).backward()
    loss.undo_weight(0.0005)
    gap = (features - loss.centers[[0, 2]]).detach()
    torch.testing.assert_close(loss.centers.grad[[0, 2]], -gap, rtol=1e-4, atol=1e-6)
    assert loss.centers.grad[1].abs().sum() == 0
    torch.testing.assert_close(leaf.grad, 0.0005 * gap, rtol=1e-4, atol=1e-8)


def test_a_weight_of_zero_is_not_divided_by():
    loss = CenterLoss(3, 3)
    (0.0 * loss(torch.randn(2, 3), torch.tensor([0, 1]))).backward()
    loss.undo_weight(0.0)
    assert torch.isfinite(loss.centers.grad).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_finite(dtype):
    features, labels, centers = drawn()
    assert torch.isfinite(center_loss((100 * features).to(dtype), labels, centers))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"labels": torch.tensor([0, 4])}, DataError, "labels from 0 to 4 for 4 centers"),
        ({"labels": torch.tensor([-1, 0])}, DataError, "labels from -1 to 0"),
        ({"labels": torch.tensor([0])}, ConfigError, "each row needs one label"),
        ({"centers": torch.zeros(4, 7)}, ConfigError, "the width of the features"),
        ({"form": "sum"}, ConfigError, "no form of the center loss is called 'sum'"),
    ],
)
def test_wrong_input_is_refused(change, error, words):
    given = {"features": torch.zeros(2, 3), "labels": torch.tensor([0, 1]), "centers": torch.zeros(4, 3), **change}
    with pytest.raises(error, match=words):
        center_loss(**given)
