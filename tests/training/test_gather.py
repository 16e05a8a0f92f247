"""Two processes with half a batch each give the gradients of one process with the whole batch (gloo, CPU)."""

import socket
import subprocess
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))

from two_processes import loss_of

from passerby.training.gather import first_row, gather_with_gradient, process_count


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_two_processes_equal_one(tmp_path):
    out, port = tmp_path / "two.pt", str(free_port())
    script = str(Path(__file__).with_name("two_processes.py"))
    workers = [subprocess.Popen([sys.executable, script, str(rank), "2", port, str(out)]) for rank in range(2)]
    assert [worker.wait(timeout=240) for worker in workers] == [0, 0]
    two = torch.load(out, weights_only=True)
    loss, parameters = loss_of(0, 1)
    loss.backward()
    torch.testing.assert_close(two["loss"], loss.detach(), rtol=1e-6, atol=1e-6)
    for shared, alone in zip(two["grads"], parameters, strict=True):
        torch.testing.assert_close(shared, alone.grad, rtol=1e-6, atol=1e-6)


def test_one_process_gathers_nothing():
    rows = torch.ones(2, 3, requires_grad=True)
    assert gather_with_gradient(rows) is rows
    assert process_count() == 1
    assert first_row(8) == 0
