"""Weights trained in fp16: the same bits as PyTorch's optimisers give fp16 parameters, and everything around them."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from accelerate.state import AcceleratorState
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))

from half_run import StillTask, UnderAutocast, run

from passerby.errors import ConfigError
from passerby.nn.pair_head import PairHead
from passerby.nn.transformer import QuickGELU
from passerby.training import run as running
from passerby.training.half_weights import half_weights, train_in_half
from passerby.training.loop import _Run
from passerby.training.recipe import load_recipe

OPTIMISERS = {
    "adam": lambda groups: torch.optim.Adam(groups, lr=1e-2, eps=1e-3, weight_decay=4e-2),
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=1e-2, eps=1e-3, weight_decay=4e-2),
    "sgd": lambda groups: torch.optim.SGD(groups, lr=1e-2, momentum=0.9, weight_decay=4e-2),
}


class Everything(nn.Module):
    """One of each kind of layer."""

    def __init__(self):
        super().__init__()
        self.linear, self.bare = nn.Linear(4, 4), nn.Linear(4, 4, bias=False)
        self.line, self.plane = nn.Conv1d(2, 2, 3), nn.Conv2d(2, 2, 3)
        self.attention, self.norm, self.batch = nn.MultiheadAttention(4, 2), nn.LayerNorm(4), nn.BatchNorm1d(4)
        self.words = nn.Embedding(5, 4)
        self.told = nn.Linear(4, 5)
        self.told.weight = self.words.weight
        self.positions, self.pairs = nn.Parameter(torch.zeros(3, 4)), PairHead(4, 3)
        self.again = self.linear


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def in_fp16(values):
    return torch.equal(values, values.half().float())


def layers():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 3, bias=False))


def groups_of(model):
    first, norm, last = model
    return [{"params": [*first.parameters(), *norm.parameters()], "lr": 2e-2}, {"params": [last.weight]}]


def gradients(model, step):
    generator = torch.Generator().manual_seed(step)
    return [torch.randn(one.shape, generator=generator) * 0.1 for one in model.parameters()]


def test_what_the_releases_convert():
    model = Everything()
    names = {id(one): name for name, one in model.named_parameters()}
    found = [names[id(one)] for one in half_weights(model)]
    attention = ["in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"]
    expected = {"linear.weight", "linear.bias", "bare.weight", "line.weight", "line.bias", "plane.weight", "plane.bias"}
    assert len(found) == len(set(found))
    assert set(found) == {*expected, "told.bias", *[f"attention.{name}" for name in attention]}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_steps_are_those_of_fp16_parameters_to_the_last_bit(name):
    mine, theirs = layers(), layers()
    for part in (theirs[0], theirs[2]):
        part.half()
    optimiser, oracle = OPTIMISERS[name](groups_of(mine)), OPTIMISERS[name](groups_of(theirs))
    train_in_half(optimiser, mine)
    places = [one.data_ptr() for one in mine.parameters()]
    start = [one.detach().clone() for one in mine.parameters()]
    for step in range(20):
        for one, other, gradient in zip(mine.parameters(), theirs.parameters(), gradients(mine, step), strict=True):
            one.grad, other.grad = gradient.clone(), gradient.to(other.dtype)
        for group, same in zip(optimiser.param_groups, oracle.param_groups, strict=True):
            group["lr"] = same["lr"] = group["lr"] * 0.97
        optimiser.step()
        oracle.step()
    for one, other, before, place in zip(mine.parameters(), theirs.parameters(), start, places, strict=True):
        assert one.dtype == torch.float32
        assert one.data_ptr() == place
        assert torch.equal(one, other.float())  # the normalisation's too, which stays float32 on both sides
        assert not torch.equal(one, before)
    assert all(one.grad is None for one in half_weights(mine))


@pytest.mark.parametrize(("value", "moves"), [(0.035, False), (-0.035, False), (0.02, True), (0.01, True)])
def test_steps_below_half_of_a_spacing_are_rounded_away(value, moves):
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, value)
    optimiser = torch.optim.Adam(layer.parameters(), lr=1e-5, eps=1e-3)
    train_in_half(optimiser, layer)
    before = layer.weight.item()
    for _ in range(100):
        layer.weight.grad = torch.ones(1, 1)
        optimiser.step()
    assert (layer.weight.item() != before) is moves
    assert before == pytest.approx(value, rel=1e-3)


def test_under_autocast_it_trains_as_a_module_of_fp16_does():
    """Forward and backward too, where activations are fp16 on both sides."""
    torch.manual_seed(0)
    mine = nn.Sequential(nn.Linear(6, 16), QuickGELU(), nn.Linear(16, 3))
    theirs = nn.Sequential(nn.Linear(6, 16), QuickGELU(), nn.Linear(16, 3))
    theirs.load_state_dict(mine.state_dict())
    theirs.half()
    optimiser = torch.optim.Adam(mine.parameters(), lr=1e-3, eps=1e-3)
    oracle = torch.optim.Adam(theirs.parameters(), lr=1e-3, eps=1e-3)
    train_in_half(optimiser, mine)
    losses = []
    for _ in range(30):
        rows = torch.randn(16, 6)
        with torch.autocast("cpu", torch.float16):
            loss = (mine(rows).float() - rows[:, :3]).square().sum()
            loss.backward()
        other = (theirs(rows.half()).float() - rows[:, :3]).square().sum()
        other.backward()
        assert torch.equal(loss, other)
        losses.append(float(loss.detach()))
        optimiser.step()
        oracle.step()
        oracle.zero_grad()
    assert losses[-1] < losses[0]
    for one, same in zip(mine.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, same.float())


def test_what_has_no_gradient_stays_and_what_is_frozen_is_rounded():
    model = layers()
    model[2].requires_grad_(False)
    before = model[2].weight.detach().clone()
    optimiser = OPTIMISERS["adam"]([one for one in model.parameters() if one.requires_grad])
    train_in_half(optimiser, model)
    model[0].bias.grad = torch.ones(8)
    still = model[0].weight.detach().clone()
    optimiser.step()
    assert torch.equal(model[0].weight, still)
    assert torch.equal(model[2].weight, before.half().float())


def test_accelerate_without_a_scale_steps_in_half():
    """As `precision: pure_fp16` has it on a GPU: a scaler is there, and switched off."""
    AcceleratorState._reset_state()
    Accelerator(cpu=True)
    mine, theirs = layers(), layers()
    optimiser, oracle = OPTIMISERS["adam"](groups_of(mine)), OPTIMISERS["adam"](groups_of(theirs))
    for built, model in ((optimiser, mine), (oracle, theirs)):
        train_in_half(built, model)
    scaled = AcceleratedOptimizer(optimiser, scaler=torch.amp.GradScaler("cpu", enabled=False))
    for step in range(3):
        for model in (mine, theirs):
            for one, gradient in zip(model.parameters(), gradients(model, step), strict=True):
                one.grad = gradient
        scaled.step()
        oracle.step()
    for one, other in zip(mine.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other)


# -- in the loop -------------------------------------------------------------------------------------------------------


class Interrupted(Exception):
    pass


def stop(progress):
    if progress.step >= 10:
        raise Interrupted


@pytest.mark.parametrize("kind", [None, UnderAutocast])
@pytest.mark.parametrize("more", [{}, {"accumulation": 2, "ema": 0.0, "optimiser": "sgd", "learning_rate": 1e-3}])
def test_stopped_and_resumed_is_the_same_to_the_last_bit(tmp_path, kind, more):
    options = more if kind is None else {**more, "kind": kind}
    whole, _ = run(tmp_path / "whole", **options)
    with pytest.raises(Interrupted):
        run(tmp_path / "cut", on_progress=stop, **options)
    cut, result = run(tmp_path / "cut", **options)
    assert 0 < result.resumed_at <= 10
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, cut.model.state_dict()[name]), name
    averages = [torch.load(tmp_path / each / "checkpoint" / "weights.pt") for each in ("whole", "cut")]
    assert all(torch.equal(value, averages[1][name]) for name, value in averages[0].items())
    chosen = half_weights(whole.model)
    assert all(in_fp16(one) for one in chosen)
    assert not in_fp16(whole.model[1].weight)
    assert in_fp16(averages[0]["0.weight"]) is bool(more)  # a moving average has float32's decimals


def test_it_learns_beside_float32(tmp_path):
    errors = {}
    for precision in ("pure_fp16", "fp32"):
        task, _ = run(tmp_path / precision, StillTask(), precision=precision)
        errors[precision] = -task.validate(task.model).value
        assert in_fp16(task.model[0].weight) is (precision == "pure_fp16")
    start = StillTask()
    assert max(errors.values()) < 0.6 * -start.validate(start.model).value
    assert errors["pure_fp16"] == pytest.approx(errors["fp32"], rel=0.05)


def test_gradients_are_cut_before_they_are_rounded(tmp_path, monkeypatch):
    seen = []
    real = _Run._step
    monkeypatch.setattr(_Run, "_step", lambda self, batches: (real(self, batches), seen.append(moment(self)))[0])

    def moment(self):
        return [self.optimiser.state[one]["exp_avg"].clone() for one in self.optimiser.param_groups[0]["params"]]

    run(tmp_path / "run", StillTask(), epochs=1, clip_norm=1e-2, weight_decay=0.0)
    first = torch.cat([one.float().flatten() for one in seen[0]])
    assert float(first.norm()) <= 0.1 * 1e-2 * 1.01
    assert {one.dtype for one in seen[-1]} == {torch.float16, torch.float32}


def test_two_processes_come_to_the_same_parameters_as_one(tmp_path):
    script, port = str(Path(__file__).with_name("half_run.py")), str(free_port())
    command = [sys.executable, script, str(tmp_path)]
    shared = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    each = [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(2)]
    workers = [subprocess.Popen(command, env=one) for one in each]
    assert [worker.wait(timeout=900) for worker in workers] == [0, 0]
    alone, start = run(tmp_path / "one", StillTask())[0].model, StillTask().model.state_dict()
    two = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for name, value in alone.state_dict().items():
        assert torch.equal(two[0][name], two[1][name]), name
        torch.testing.assert_close(two[0][name], value, rtol=1e-2, atol=2e-3, msg=name)
        assert (value - start[name]).abs().max() > 0.05, name


# -- from the recipe ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["optimisation.optimiser=muon"], "muon is none of them; take optimiser=adam"),
        (["optimisation.epsilon=1e-8"], "epsilon=1e-08, which fp16 rounds towards zero"),
        (["optimisation.optimiser=adamw", "optimisation.epsilon=1e-6"], r"give at least 6\.1e-05, or 1e-3"),
    ],
)
def test_what_fp16_cannot_move_is_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        load_recipe("itself", ["optimisation.precision=pure_fp16", *change])
    assert load_recipe("itself", change).optimisation.precision == "auto"


@pytest.mark.parametrize("name", ["itself", "irra", "rde", "tal-cid", "irra-sdm-id"])
def test_recipes_of_the_releases_take_it(name):
    assert load_recipe(name, ["optimisation.precision=pure_fp16"]).optimisation.epsilon == 1e-3


def test_families_without_such_a_release_do_not_know_it():
    with pytest.raises(ConfigError, match=r"precision.*'fp16'"):
        load_recipe("street", ["optimisation.precision=pure_fp16"])


@pytest.mark.parametrize(("precision", "scaled"), [("fp16", True), ("pure_fp16", False)])
def test_on_a_gpu_the_loss_is_scaled_unless_it_is_pure(monkeypatch, tmp_path, precision, scaled):
    asked = {}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(running, "Accelerator", lambda **options: asked.update(options))
    across = running.DistributedDataParallelKwargs()
    running._accelerator(load_recipe("itself", [f"optimisation.precision={precision}"]), tmp_path, None, across)
    assert asked["mixed_precision"] == "fp16"
    enabled = [one.enabled for one in asked["kwargs_handlers"] if isinstance(one, running.GradScalerKwargs)]
    assert enabled == [scaled]
