"""Masked batch normalisation in two processes is that of one, rows unevenly dealt, padding among them or not."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from masked_norm_processes import train


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    out = tmp_path_factory.mktemp("two") / "two.pt"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    script = str(Path(__file__).with_name("masked_norm_processes.py"))
    workers = [subprocess.Popen([sys.executable, script, str(rank), "2", port, str(out)]) for rank in range(2)]
    assert [worker.wait(timeout=240) for worker in workers] == [0, 0]
    return [torch.load(f"{out}.{rank}", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("masked", [False, True])
def test_two_processes_normalise_and_learn_as_one(two, masked):
    outputs, grads, running = train(0, 1, masked)
    steps = [
        torch.cat(parts)
        for parts in zip(
            *(found[masked]["outputs"].split(size) for found, size in zip(two, (7, 3), strict=True)), strict=True
        )
    ]
    torch.testing.assert_close(torch.cat(steps), outputs, rtol=1e-4, atol=1e-5)
    for found in two:
        for shared, alone in zip(found[masked]["grads"], grads, strict=True):
            torch.testing.assert_close(shared, alone, rtol=1e-4, atol=1e-4)
        for shared, alone in zip(found[masked]["running"], running, strict=True):
            torch.testing.assert_close(shared, alone, rtol=1e-5, atol=1e-6)
    # A shift before the normalisation changes nothing, so its gradient says nothing either.
    assert all(float(one.abs().max()) > 1e-3 for one in (grads[0], *grads[2:]))


def test_a_total_over_processes_hands_each_part_the_gradient_of_all(two):
    """Parts 1 and 2, sums weighed 2 and 3: named here for `passerby.nn.process_total`."""
    for found in two:
        total, gradient = found["total"]
        assert total.tolist() == [3.0, 3.0]
        assert gradient.tolist() == [5.0, 5.0]


def test_the_process_group_can_end_before_the_interpreter():
    """A module imported once the group stands would keep it in its default arguments, and gloo abort at exit."""
    code = (
        "import os, sys, torch, torch.distributed as dist\n"
        "os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=sys.argv[1])\n"
        "dist.init_process_group('gloo', rank=0, world_size=1)\n"
        "from passerby.nn.process_total import process_total\n"
        "process_total(torch.ones(2, requires_grad=True)).sum().backward()\n"
        "sys.exit('torch.distributed.nn.functional' in sys.modules)\n"
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    assert subprocess.run([sys.executable, "-c", code, port], timeout=240).returncode == 0
