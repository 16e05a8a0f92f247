"""Optimisers by name, and Muon against what its papers say."""

import pytest
import torch
from torch import nn

from passerby.training.muon import Muon, orthogonalise
from passerby.training.optimiser import build_optimiser, embedding_tables
from passerby.training.recipe import OptimisationConfig


@pytest.mark.parametrize("shape", [(8, 8), (6, 40), (40, 6), (1, 9)])
def test_singular_values_become_about_one_and_directions_stay(shape):
    torch.manual_seed(0)
    matrix = torch.randn(shape) * 1e-3
    made = orthogonalise(matrix).float()
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    values = torch.linalg.svdvals(made)
    assert values.min() > 0.6
    assert values.max() < 1.3
    assert torch.nn.functional.cosine_similarity(made.flatten(), (left @ right).flatten(), dim=0) > 0.97


def test_zeros_stay_zeros():
    assert torch.equal(orthogonalise(torch.zeros(3, 5)), torch.zeros(3, 5))


@pytest.mark.parametrize("shape", [(16, 16), (8, 4, 3, 3)])
def test_a_step_has_the_same_length_whatever_the_shape(shape):
    torch.manual_seed(0)
    weight = nn.Parameter(torch.zeros(shape))
    weight.grad = torch.randn(shape)
    Muon([{"params": [weight], "matrices": True}], lr=0.5).step()
    rows, columns = shape[0], weight[0].numel()
    expected = 0.5 * 0.2 * (max(rows, columns) / max(rows, columns)) ** 0.5
    assert weight.square().mean().sqrt().item() == pytest.approx(expected, rel=0.25)


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 5), (6, 4, 3, 3), (2, 3, 2, 2, 2)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_matrix_moves_as_the_papers_say_whatever_its_layout(shape, layout):
    torch.manual_seed(0)
    start = torch.randn(shape)
    layout = layout if len(shape) == 4 else torch.contiguous_format
    weight, plain, average = nn.Parameter(start.clone(memory_format=layout)), start.clone(), torch.zeros(shape)
    muon = Muon([{"params": [weight], "matrices": True}], lr=0.5, weight_decay=0.1)
    for _ in range(3):
        gradient = torch.randn(shape)
        weight.grad = gradient.to(memory_format=layout)
        muon.step()
        average = 0.95 * average + gradient
        left, _, right = torch.linalg.svd((gradient + 0.95 * average).flatten(1), full_matrices=False)
        length = 0.2 * max(shape[0], start[0].numel()) ** 0.5
        plain = plain * (1 - 0.5 * 0.1) - 0.5 * length * (left @ right).view(shape)
    assert weight.is_contiguous(memory_format=layout)
    assert nn.functional.cosine_similarity((weight - start).flatten(), (plain - start).flatten(), dim=0) > 0.97


def test_everything_else_moves_as_adamw_does():
    torch.manual_seed(0)
    mine, theirs = nn.Parameter(torch.ones(7)), nn.Parameter(torch.ones(7))
    one = Muon([{"params": [mine], "matrices": False}], lr=0.1, weight_decay=0.3)
    other = torch.optim.AdamW([theirs], lr=0.1, weight_decay=0.3)
    for _ in range(5):
        mine.grad = torch.randn(7)
        theirs.grad = mine.grad.clone()
        one.step()
        other.step()
    assert torch.allclose(mine, theirs, atol=1e-6)


def test_only_matrices_that_are_no_embeddings_are_made_orthogonal():
    model = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 3), nn.Conv1d(3, 2, 3))
    options = OptimisationConfig(optimiser="muon", learning_rate=0.1, matrix_rate=2.0, matrix_momentum=0.7)
    built = build_optimiser([{"params": list(model.parameters()), "rate": 0.5}], options, embedding_tables(model))
    kinds = {group["matrices"]: group for group in built.param_groups}
    assert {tuple(one.shape) for one in kinds[True]["params"]} == {(3, 4), (2, 3, 3)}
    assert {tuple(one.shape) for one in kinds[False]["params"]} == {(5, 4), (3,), (2,)}
    assert kinds[True]["base_lr"] == pytest.approx(0.1)
    assert {group["momentum"] for group in built.param_groups} == {0.7}
    assert kinds[False]["base_lr"] == pytest.approx(0.05)


@pytest.mark.parametrize(("name", "kind"), [("adamw", "AdamW"), ("adam", "Adam"), ("sgd", "SGD"), ("muon", "Muon")])
def test_names(name, kind):
    weight = nn.Parameter(torch.ones(2, 2))
    built = build_optimiser([{"params": [weight]}], OptimisationConfig(optimiser=name))
    assert type(built).__name__ == kind
    before = weight.detach().clone()
    weight.square().sum().backward()
    built.step()
    assert not torch.equal(weight, before)
