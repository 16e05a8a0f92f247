"""Landmark factors, affinities along edges, and how landmarks are chosen."""

import pytest
import torch

from passerby.errors import ConfigError
from passerby.nn.landmark_attention import LANDMARKS, choose_landmarks, edge_affinities, landmark_factors


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("norm", ["row", "matrix", "none"])
def test_factors_equal_loops(norm):
    rows, landmarks = drawn(5, 2, 4), drawn(2, 3, 4, seed=1)
    factors = landmark_factors(rows, landmarks, norm)
    for n in range(5):
        for s in range(2):
            for p in range(3):
                mark = landmarks[s, p]
                length = {"row": mark.norm(), "matrix": torch.linalg.svdvals(landmarks[s])[0], "none": 1.0}[norm]
                assert float(factors[n, s, p]) == pytest.approx(float(rows[n, s] @ mark / length))


@pytest.mark.parametrize("norm", ["row", "matrix"])
def test_a_landmark_of_zeros_is_no_landmark(norm):
    assert torch.equal(
        landmark_factors(drawn(4, 1, 3), torch.zeros(1, 2, 3).double(), norm), torch.zeros(4, 1, 2).double()
    )


@pytest.mark.parametrize("lists", [1, 3])
def test_affinities_equal_loops(lists):
    queries, keys = drawn(4, 3, 2), drawn(6, 3, 2, seed=1)
    neighbours = torch.randint(0, 6, (4, lists, 5), generator=torch.Generator().manual_seed(2))
    found = edge_affinities(queries, keys, neighbours)
    for n in range(4):
        for s in range(3):
            for a in range(5):
                other = int(neighbours[n, min(s, lists - 1), a])
                assert float(found[n, s, a]) == pytest.approx(float(queries[n, s] @ keys[other, s]))


@pytest.mark.parametrize("mode", [mode for mode in LANDMARKS if mode != "learned"])
@pytest.mark.parametrize("rows", [1, 3, 60])
def test_landmarks_are_rows_and_the_seed_decides(mode, rows):
    features = drawn(rows, 4)
    one, two = (choose_landmarks(features, 2, 5, mode, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(one, two)
    assert one.shape[:2] == (2, 5)
    assert 0 <= int(one.min()) <= int(one.max()) < rows
    if rows >= 5:
        assert all(len(set(layer[:, 0].tolist())) == 5 for layer in one)


def test_sampled_landmarks_differ_between_layers_and_draws():
    generator = torch.Generator().manual_seed(0)
    one, two = (choose_landmarks(drawn(50, 4), 2, 5, "sampled", generator) for _ in range(2))
    assert not torch.equal(one[0], one[1])
    assert not torch.equal(one, two)


def test_farthest_points_reach_every_cluster():
    features = torch.eye(5).repeat_interleave(10, dim=0) + 0.01 * drawn(50, 5).float()
    chosen = choose_landmarks(features, 1, 5, "fps", torch.Generator().manual_seed(0))
    assert sorted((chosen[0, :, 0] // 10).tolist()) == [0, 1, 2, 3, 4]


def test_a_mean_is_of_one_cluster():
    features = torch.eye(5).repeat_interleave(20, dim=0) + 0.01 * drawn(100, 5).float()
    chosen = choose_landmarks(features, 1, 5, "mean_k", torch.Generator().manual_seed(0))
    assert chosen.shape == (1, 5, 20)
    assert all(len(set((one // 20).tolist())) == 1 for one in chosen[0])


def test_unknown_names_are_refused():
    with pytest.raises(ConfigError, match="Did you mean 'sampled'"):
        choose_landmarks(drawn(4, 2), 1, 2, "sampeld", torch.Generator())
    with pytest.raises(ConfigError, match="no landmark norm is called 'l2'"):
        landmark_factors(drawn(4, 1, 2), drawn(1, 2, 2), "l2")
