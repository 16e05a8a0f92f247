"""Batch statistics over processes: two threads of one gloo-less world against one layer that sees all rows.

The collective is replaced by a sum over two halves that are computed in one process; the real one runs in
tests/training/test_reid_task.py.
"""

import threading

import pytest
import torch
import torch.distributed as dist
from torch import nn

from passerby.nn.shared_batch_norm import (
    SharedBatchNorm1d,
    SharedBatchNorm2d,
    share_batch_statistics,
    shared_batch_norm,
)


class Meeting:
    """All-reduce between threads: everybody leaves a tensor, waits, and takes the sum."""

    def __init__(self, parties):
        self.parties, self.held = parties, {}
        self.barrier = threading.Barrier(parties, timeout=30)

    def all_reduce(self, tensor):
        self.held[threading.get_ident()] = tensor.clone()
        self.barrier.wait()
        total = sum(self.held[key] for key in sorted(self.held))
        self.barrier.wait()
        tensor.copy_(total)


@pytest.mark.parametrize("layer", [nn.BatchNorm1d, nn.BatchNorm2d])
def test_two_halves_are_one_whole(layer, monkeypatch):
    torch.manual_seed(0)
    shape = (8, 5) if layer is nn.BatchNorm1d else (8, 5, 3, 2)
    rows, target = torch.randn(shape, dtype=torch.float64) * 3 + 7, torch.randn(shape, dtype=torch.float64)
    whole = layer(5).double()
    nn.init.uniform_(whole.weight)
    nn.init.uniform_(whole.bias)
    halves = [layer(5).double() for _ in range(2)]
    for half in halves:
        half.load_state_dict(whole.state_dict())
        assert share_batch_statistics(nn.Sequential(half)) == 1
    given = rows.clone().requires_grad_()
    (whole(given) * target).sum().backward()

    meeting = Meeting(2)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "all_reduce", meeting.all_reduce)
    parts = [part.clone().requires_grad_() for part in rows.chunk(2)]

    def work(number):
        (halves[number](parts[number]) * target.chunk(2)[number]).sum().backward()

    # Forward and backward of a CPU graph run in the thread that calls them.
    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    torch.testing.assert_close(torch.cat([part.grad for part in parts]), given.grad)
    torch.testing.assert_close(sum(half.weight.grad for half in halves), whole.weight.grad)
    for half in halves:
        torch.testing.assert_close(half.running_mean, whole.running_mean)
        torch.testing.assert_close(half.running_var, whole.running_var)
        assert half.num_batches_tracked == whole.num_batches_tracked
        torch.testing.assert_close(half.eval()(rows), whole.eval()(rows))


def test_alone_it_is_the_plain_layer(monkeypatch):
    monkeypatch.setattr(dist, "get_world_size", lambda: 1)
    monkeypatch.setattr(dist, "all_reduce", lambda tensor: None)
    rows = torch.randn(6, 4, 3, 3)
    plain, shared = nn.BatchNorm2d(4, momentum=None), SharedBatchNorm2d(4, momentum=None)
    for _ in range(2):
        torch.testing.assert_close(shared_batch_norm(shared, rows), plain(rows))
    torch.testing.assert_close(shared.running_var, plain.running_var)
    bare = SharedBatchNorm1d(4, affine=False, track_running_stats=False)
    torch.testing.assert_close(
        bare(rows.flatten(2)), nn.functional.batch_norm(rows.flatten(2), None, None, training=True)
    )
    assert shared_batch_norm(shared, rows.bfloat16()).dtype == torch.bfloat16


def test_names_of_weights_stay_and_other_layers_too():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.LayerNorm(4), nn.BatchNorm1d(4))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert share_batch_statistics(network) == 2
    assert share_batch_statistics(network) == 0
    assert list(network.state_dict()) == list(before)
    assert [type(one).__name__ for one in network] == ["Conv2d", "SharedBatchNorm2d", "LayerNorm", "SharedBatchNorm1d"]
