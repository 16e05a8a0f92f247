"""The loop: it learns, logs, resumes after a kill to the very same numbers, and refuses what cannot be right."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from resumable_run import LinearTask, run

from passerby.errors import CheckpointError, ConfigError
from passerby.training.tasks.base import Selection


def weights(folder):
    return torch.load(folder / "checkpoint" / "weights.pt", weights_only=True)


def log(folder):
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "images_per_s"} for row in rows]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    run(folder)
    return folder


def test_it_learns_and_leaves_what_a_run_should(uninterrupted):
    rows = log(uninterrupted)
    losses = [row["squared"] for row in rows if "squared" in row]
    errors = [row["val_error"] for row in rows if "val_error" in row]
    assert losses[-1] < losses[0]
    assert len(errors) == 3
    assert errors[-1] < errors[0]
    assert (uninterrupted / "recipe.yaml").is_file()
    assert not (uninterrupted / "state.pt").exists()


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("at", [10, 20])
def test_stopped_and_resumed_is_the_same_to_the_last_bit(uninterrupted, tmp_path, at):
    def stop(progress):
        if progress.step >= at:
            raise Interrupted

    with pytest.raises(Interrupted):
        run(tmp_path / "run", on_progress=stop)
    result = run(tmp_path / "run")
    assert 0 < result.resumed_at <= at
    for name, value in weights(uninterrupted).items():
        assert torch.equal(value, weights(tmp_path / "run")[name]), name
    assert log(tmp_path / "run")[-1] == log(uninterrupted)[-1]
    assert [row["step"] for row in log(tmp_path / "run")] == sorted(row["step"] for row in log(tmp_path / "run"))


def test_killed_and_resumed_is_the_same_to_the_last_bit(uninterrupted, tmp_path):
    script = str(Path(__file__).with_name("resumable_run.py"))
    child = subprocess.Popen([sys.executable, script, str(tmp_path / "run"), "0.05"])
    deadline = time.monotonic() + 240
    while not (tmp_path / "run" / "state.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.2)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    result = run(tmp_path / "run")
    assert result.resumed_at > 0
    for name, value in weights(uninterrupted).items():
        assert torch.equal(value, weights(tmp_path / "run")[name]), name


def test_accumulation_splits_the_batch(tmp_path):
    assert run(tmp_path / "run", accumulation=2).steps == 24


def test_a_batch_that_cannot_be_cut_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be cut into 3 accumulated parts"):
        run(tmp_path / "run", accumulation=3)


def test_another_recipe_in_the_same_folder_is_refused(uninterrupted):
    with pytest.raises(ConfigError, match="holds a run of another recipe"):
        run(uninterrupted, epochs=4)


def test_a_damaged_state_is_refused(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "state.pt").write_bytes(b"not a state")
    with pytest.raises(CheckpointError, match=r"state.*is damaged.*delete it"):
        run(folder)


def test_a_loss_that_is_not_a_number_stops_the_run(tmp_path):
    with pytest.raises(ConfigError, match="the loss became"):
        run(tmp_path / "run", learning_rate=1e30, clip_norm=0)


def rates(folder):
    return [row["lr"] for row in log(folder) if "lr" in row]


def test_validations_that_find_nothing_better_lower_the_rate_and_end_the_run(tmp_path, monkeypatch):
    errors = iter([3.0, 1.0, 2.0, 2.0, 2.0, 0.5])
    monkeypatch.setattr(LinearTask, "validate", lambda self, model: Selection(-(at := next(errors)), {"error": at}))
    options = {"epochs": 6, "schedule": "plateau", "patience": 2, "decay": 0.5, "stop_after": 3, "warmup": 0.0}
    result = run(tmp_path / "run", **options)
    found = [row["val_error"] for row in log(tmp_path / "run") if "val_error" in row]
    assert found == [3.0, 1.0, 2.0, 2.0, 2.0]  # the sixth epoch is not begun
    assert result.best["epoch"] == 2
    assert min(rates(tmp_path / "run")) == pytest.approx(max(rates(tmp_path / "run")) / 2)


@pytest.mark.parametrize("name", ["cosine", "linear"])
def test_the_rate_falls_to_the_floor_of_the_recipe(tmp_path, name):
    found = []
    for floor in (0.0, 0.25):
        run(tmp_path / f"{name}-{floor}", schedule=name, floor=floor)
        found.append(rates(tmp_path / f"{name}-{floor}")[-1])
    left, lowest = found[0] / 0.01, found[1] / 0.01  # the last step is one before the end of the curve
    assert lowest == pytest.approx(0.25 + 0.75 * left)


@pytest.mark.parametrize("optimiser", ["sgd", "adam", "muon"])
def test_other_optimisers_resume_to_the_same_bits(tmp_path, optimiser):
    def stop(progress):
        if progress.step >= 10:
            raise Interrupted

    options = {"optimiser": optimiser, "schedule": "step", "milestones": [1, 2]}
    run(tmp_path / "whole", **options)
    with pytest.raises(Interrupted):
        run(tmp_path / "cut", on_progress=stop, **options)
    run(tmp_path / "cut", **options)
    for name, value in weights(tmp_path / "whole").items():
        assert torch.equal(value, weights(tmp_path / "cut")[name]), name
    fastest = 0.01 * (20 if optimiser == "muon" else 1)  # matrices move at a rate of their own
    assert rates(tmp_path / "whole")[-1] == pytest.approx(fastest * 0.1**2)
