"""Whole runs of a real dual encoder: it learns, resumes after a kill to the same bytes, and shares its work."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parent))

import coloured_people

from passerby.data.readers import open_dataset
from passerby.errors import CheckpointError, ConfigError
from passerby.models.checkpoint import read_checkpoint
from passerby.models.restore import restore_dual_encoder
from passerby.training.recipe import parse_recipe
from passerby.training.run import _some_idle, run_recipe
from passerby.training.tasks.dual_encoder import DualEncoderTask


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return coloured_people.write(tmp_path_factory.mktemp("people") / "set")


@pytest.fixture(scope="module")
def uninterrupted(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    seen = []
    result = run_recipe(parse_recipe(coloured_people.recipe()), open_dataset(data), folder, seen.append)
    return result, seen


def weights(folder):
    return load_file(Path(folder) / "checkpoint" / "model.safetensors")


def test_it_learns_and_leaves_a_checkpoint(uninterrupted):
    result, seen = uninterrupted
    assert result.steps == 24
    assert result.best["map"] > 40  # chance is about 25
    assert json.loads((result.folder / "result.json").read_text())["best"] == result.best
    assert seen[-1].step == seen[-1].steps == 24
    assert (result.folder / "curves.png").stat().st_size > 1000
    checkpoint = read_checkpoint(result.folder / "checkpoint")
    assert restore_dual_encoder(checkpoint).embedding_dim == 16
    assert checkpoint.config.metrics["val_map"] == pytest.approx(result.best["map"])


def test_killed_and_resumed_is_the_same_to_the_last_bit(uninterrupted, data, tmp_path):
    script, folder = str(Path(__file__).with_name("dual_encoder_run.py")), tmp_path / "run"
    child = subprocess.Popen([sys.executable, script, data, str(folder)])
    state, deadline = folder / "state.pt", time.monotonic() + 240
    while not state.exists() and time.monotonic() < deadline and child.poll() is None:
        time.sleep(0.02)
    time.sleep(0.2)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    with (folder / "log.jsonl").open("a") as log:
        log.write('{"step": 23, "ep')  # what a kill in the middle of a line leaves
    result = run_recipe(parse_recipe(coloured_people.recipe()), open_dataset(data), folder)
    assert 0 < result.resumed_at < 24
    assert result.best == uninterrupted[0].best
    for name, value in weights(uninterrupted[0].folder).items():
        assert torch.equal(value, weights(folder)[name]), name
    assert [json.loads(line)["step"] for line in (folder / "log.jsonl").read_text().splitlines()][-1] == 24


def test_a_finished_run_is_left_alone(uninterrupted, data):
    with pytest.raises(ConfigError, match="holds a finished run"):
        run_recipe(parse_recipe(coloured_people.recipe()), open_dataset(data), uninterrupted[0].folder)


def test_a_run_is_not_gone_on_with_on_other_data(data, tmp_path):
    folder, recipe = tmp_path / "run", parse_recipe(coloured_people.recipe())

    def stop(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_recipe(recipe, open_dataset(data), folder, stop, save_every_s=0.0)
    other = open_dataset(coloured_people.write(tmp_path / "other", train=13))
    with pytest.raises(CheckpointError, match="begun on other pictures or captions"):
        run_recipe(recipe, other, folder)


def test_two_processes_come_to_the_same_parameters_as_one(data, tmp_path):
    # Neither batch statistics nor random changes: both are each process's own.
    tree = coloured_people.recipe(
        {"name": "timm", "options": {"source": "test_convnext", "weights": "random"}},
        {"name": "conv", "options": {"channels": 16, "dropout": 0.0}},
        data={"image_size": [64, 32]},
        augmentation={"flip": 0.0, "shift": 0.0, "colour": 0.0},
        optimisation={"epochs": 2, "learning_rate": 3e-4},
    )
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(tree))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "passerby"]
    command += ["train", str(tmp_path / "recipe.yaml"), "--data", data, "--out", str(tmp_path / "two"), "--json"]
    shared = subprocess.run(command, capture_output=True, text=True, timeout=150)
    assert shared.returncode == 0, shared.stderr
    assert len(shared.stdout.splitlines()) == 1  # one process talks
    alone = run_recipe(parse_recipe(tree), open_dataset(data), tmp_path / "one")
    summary = json.loads(shared.stdout)
    assert summary["steps"] == alone.steps
    assert summary["best"]["map"] == pytest.approx(alone.best["map"])
    start = DualEncoderTask(parse_recipe(tree), open_dataset(data)).model.image_projection.weight
    assert (weights(tmp_path / "one")["image_projection.weight"] - start).abs().max() > 1e-4
    for name, value in weights(tmp_path / "one").items():
        if name == "text_tower.score.bias":  # the softmax over words cancels it: its gradient is rounding, no more
            continue
        torch.testing.assert_close(weights(tmp_path / "two")[name], value, rtol=1e-5, atol=1e-5, msg=name)


def test_recipes_of_different_precision_train_in_one_process(data, tmp_path):
    for precision in ("fp32", "bf16"):
        tree = coloured_people.recipe(optimisation={"epochs": 1, "precision": precision})
        assert run_recipe(parse_recipe(tree), open_dataset(data), tmp_path / precision).steps == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [({"precision": "fp16"}, "fp16 needs a GPU"), ({"batch_size": 9, "accumulation": 2}, "cannot be cut")],
)
def test_what_the_machine_or_the_batch_cannot_do_is_said(data, tmp_path, change, message):
    if torch.cuda.is_available() and "precision" in change:
        pytest.skip("this machine has a GPU")
    with pytest.raises(ConfigError, match=message):
        run_recipe(parse_recipe(coloured_people.recipe(optimisation=change)), open_dataset(data), tmp_path / "run")


def test_a_tracker_that_is_not_installed_is_named(data, tmp_path, monkeypatch):
    monkeypatch.setattr("passerby.training.run.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install wandb"):
        run_recipe(parse_recipe(coloured_people.recipe()), open_dataset(data), tmp_path / "run", tracker="wandb")


def test_a_spare_parameter_is_noticed(data):
    task = DualEncoderTask(parse_recipe(coloured_people.recipe()), open_dataset(data))
    assert not _some_idle(task)
    task.model.text_tower.spare = torch.nn.Linear(2, 2)
    assert _some_idle(task)
    assert all(parameter.grad is None for parameter in task.model.parameters())
