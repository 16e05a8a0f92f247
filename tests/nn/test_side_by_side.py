"""Parts computed at the same time give what they give one after the other, and gradients that add up in order."""

import pytest
import torch
from torch import nn

from passerby.nn import side_by_side as module
from passerby.nn.side_by_side import drops_anything, each_on_a_core, side_by_side


@pytest.fixture
def two_cores():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 5))


def gradients(net, parts, how):
    """Results and gradients of a loss that weighs every part differently."""
    net.zero_grad(set_to_none=True)
    results = how([lambda part=part: net(part) for part in parts], net.parameters())
    sum(((number + 1) * result.square()).sum() for number, result in enumerate(results)).backward()
    return [result.detach() for result in results], [one.grad.clone() for one in net.parameters()]


def one_after_the_other(parts, parameters):
    return [part() for part in parts]


@pytest.mark.parametrize("count", [2, 3, 5])
def test_results_and_gradients_are_those_of_one_part_after_the_other(two_cores, count):
    parts = torch.randn(count, 4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    expected = gradients(network(), parts, one_after_the_other)
    found = gradients(network(), parts, side_by_side)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_the_parts_are_in_fact_computed_by_other_threads(two_cores):
    import threading

    names = []
    weight = nn.Parameter(torch.ones(()))

    def part():
        names.append(threading.current_thread().name)
        assert torch.get_num_threads() == 1
        return weight * 2

    total = sum(side_by_side([part, part], [weight]))
    assert all(name.startswith("side-by-side") for name in names)
    assert len(names) == 2
    total.backward()
    assert weight.grad.item() == 4
    assert torch.get_num_threads() == 2  # the caller keeps its own number


def test_runs_are_equal_to_the_last_bit(two_cores):
    parts = torch.randn(4, 16, 3, 8, 8)
    first, second = (gradients(network(), parts, side_by_side) for _ in range(2))
    for one, other in zip(first[1], second[1], strict=True):
        assert torch.equal(one, other)


def test_the_callers_number_format_holds_in_every_part(two_cores):
    layer = nn.Linear(4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        results = side_by_side([lambda: layer(torch.ones(2, 4))] * 2, layer.parameters())
    assert {result.dtype for result in results} == {torch.bfloat16}
    plain = side_by_side([lambda: layer(torch.ones(2, 4))] * 2, layer.parameters())
    assert {result.dtype for result in plain} == {torch.float32}


def test_a_parameter_that_no_part_uses_has_no_gradient(two_cores):
    used, spare = nn.Linear(2, 2), nn.Linear(2, 2)
    results = side_by_side([lambda: used(torch.ones(1, 2))] * 2, [*used.parameters(), *spare.parameters()])
    sum(result.sum() for result in results).backward()
    assert spare.weight.grad is None
    assert used.weight.grad is not None


def test_a_gradient_that_two_parameters_share_is_counted_once_for_each(two_cores):
    left, right = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(3))
    results = side_by_side([lambda: left + right] * 3, [left, right])
    sum(result.sum() for result in results).backward()
    assert left.grad.tolist() == right.grad.tolist() == [3.0, 3.0, 3.0]


def test_an_error_in_a_part_reaches_the_caller(two_cores):
    weight = nn.Parameter(torch.ones(()))

    def broken():
        raise ValueError("a part broke")

    with pytest.raises(ValueError, match="a part broke"):
        side_by_side([lambda: weight * 1, broken], [weight])


@pytest.mark.parametrize("reason", ["one core", "one part", "no gradient", "nothing learned", "no OpenMP"])
def test_without_cores_parts_or_gradients_the_caller_computes_itself(two_cores, monkeypatch, reason):
    monkeypatch.setattr(module, "_pool", lambda cores: pytest.fail("no thread is needed"))
    weight = nn.Parameter(torch.ones(()), requires_grad=reason != "nothing learned")
    parts = [lambda: weight * 3] * (1 if reason == "one part" else 2)
    if reason == "one core":
        torch.set_num_threads(1)
    if reason == "no OpenMP":
        monkeypatch.setattr(module, "_cores_are_per_thread", lambda: False)
    with torch.set_grad_enabled(reason != "no gradient"):
        assert [result.item() for result in side_by_side(parts, [weight])] == [3.0] * len(parts)


def test_each_item_is_worked_on_by_one_core(two_cores):
    seen, cpu = [], torch.device("cpu")

    def double(tensor):
        seen.append((torch.get_num_threads(), torch.is_grad_enabled()))
        return tensor * 2

    tensors = [torch.ones(size) * size for size in (3, 2, 1)]
    assert [found.tolist() for found in each_on_a_core(double, tensors, cpu)] == [[6, 6, 6], [4, 4], [2]]
    assert set(seen) == {(1, False)}
    torch.set_num_threads(1)
    assert [found.tolist() for found in each_on_a_core(double, tensors, cpu)] == [[6, 6, 6], [4, 4], [2]]
    assert each_on_a_core(double, [], cpu) == []


def test_what_drops_something_is_known_by_its_layers():
    from timm.layers import DropPath

    from passerby.nn.transformer import SelfAttention

    assert not drops_anything(nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.0), DropPath(0.0)))
    assert drops_anything(nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.1)))
    assert drops_anything(nn.Sequential(DropPath(0.2)))
    attention = SelfAttention(8, 2)
    assert not drops_anything(attention)
    attention.dropout = 0.1
    assert drops_anything(attention)
