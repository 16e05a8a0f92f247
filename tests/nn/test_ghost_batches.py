"""Ghost batches: each part normalised by itself, one set of weights, running statistics that are the parts' mean."""

import copy

import torch
from torch import nn

from passerby.nn.ghost_batches import GhostBatches


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1), nn.BatchNorm2d(2))


def test_each_part_is_normalised_as_if_it_were_alone():
    net, parts = network(), torch.randn(2, 5, 3, 6, 6)
    alone = [copy.deepcopy(net)(part) for part in parts]
    ghosts = GhostBatches(net, 2)
    for one, part, expected in zip(ghosts.copies(), parts, alone, strict=True):
        torch.testing.assert_close(one(part), expected)


def test_running_statistics_are_the_mean_of_the_parts_and_go_on_from_there():
    net, parts = network(), torch.randn(3, 2, 5, 3, 6, 6)
    ghosts, expected = GhostBatches(net, 2), copy.deepcopy(net)
    for pair in parts:
        towers = [copy.deepcopy(expected) for _ in pair]
        for tower, part in zip(towers, pair, strict=True):
            tower(part)
        for mine, *theirs in zip(expected.buffers(), *(tower.buffers() for tower in towers), strict=True):
            mine.copy_(sum(theirs) / 2 if mine.is_floating_point() else theirs[0])
        for one, part in zip(ghosts.copies(), pair, strict=True):
            one(part)
        ghosts.gather_statistics(2)
    for found, wanted in zip(net.buffers(), expected.buffers(), strict=True):
        torch.testing.assert_close(found, wanted)
    assert int(net[1].num_batches_tracked) == 3


def test_a_copy_that_saw_nothing_does_not_count():
    net = network()
    ghosts = GhostBatches(net, 3)
    first, *_ = ghosts.copies()
    first(torch.randn(4, 3, 6, 6) + 5)
    ghosts.gather_statistics(1)
    assert torch.equal(net[1].running_mean, first[1].running_mean)


def test_the_copies_share_their_weights_and_hang_nowhere_in_the_network():
    net = network()
    ghosts = GhostBatches(net, 2)
    before = list(net.state_dict())
    one, other = ghosts.copies()
    assert one[0].weight is other[0].weight is net[0].weight
    assert one[1].running_mean is not other[1].running_mean
    assert list(net.state_dict()) == before
    assert ghosts.copies()[0] is one  # made once


def test_new_parameters_or_another_mode_of_the_network_reach_the_copies():
    net = network()
    ghosts = GhostBatches(net, 2)
    ghosts.copies()
    net[0].weight = nn.Parameter(torch.zeros_like(net[0].weight))
    net.eval()
    one, _ = ghosts.copies()
    assert one[0].weight is net[0].weight
    assert not one.training
