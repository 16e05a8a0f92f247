"""`passerby train` from the outside: progress and result apart, clear refusals, one voice among several processes."""

import json
import os
import sys
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))

import coloured_people

from passerby.cli.threads import cores_taken, settle_threads
from passerby.cli.train import train
from passerby.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the data set `people` and the recipe `recipe.yaml`."""
    folder = tmp_path_factory.mktemp("place")
    coloured_people.write(folder / "people")
    (folder / "recipe.yaml").write_text(yaml.safe_dump(coloured_people.recipe()))
    return folder


@pytest.fixture
def run(place, tmp_path, monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    app = typer.Typer()
    app.command()(train)

    def invoke(*words, recipe=place / "recipe.yaml", data=f"rstpreid:{place / 'people'}", out=tmp_path / "run"):
        return CliRunner().invoke(app, [str(recipe), "--data", data, "--out", str(out), *words])

    return invoke


def test_progress_goes_to_stderr_and_the_result_to_stdout(run, tmp_path):
    result = run("--set", "optimisation.epochs=4")
    assert result.exit_code == 0, result.output
    assert "trained miniature: 12 steps" in result.stdout
    assert "best on val: R@1" in result.stdout
    assert f"model: {tmp_path / 'run' / 'checkpoint'}" in result.stdout
    assert "decoding: 24 of 24 images" in result.stderr
    assert "training: 16 of 16 images" in result.stderr
    assert "epoch 4/4, loss" in result.stderr
    assert "mAP" in result.stderr
    again = run("--set", "optimisation.epochs=4")
    assert isinstance(again.exception, ConfigError)
    assert "holds a finished run" in str(again.exception)


def test_json_alone_on_standard_output(run, tmp_path):
    result = run("--json", "--set", "optimisation.epochs=1", "--set", "evaluation.every=0")
    summary = json.loads(result.stdout)
    assert summary["steps"] == 3
    assert summary["resumed_at"] == 0
    assert (Path(summary["checkpoint"]) / "model.safetensors").is_file()
    assert set(summary["best"]) == {"value", "epoch", "r1", "map"}


def test_an_interrupted_run_says_how_it_continues_and_does(run, tmp_path, monkeypatch):
    from passerby.training.tasks.dual_encoder import DualEncoderTask

    validate = DualEncoderTask.validate
    monkeypatch.setattr(DualEncoderTask, "validate", lambda self, model: (_ for _ in ()).throw(KeyboardInterrupt))
    stopped = run("--set", "evaluation.every=5")
    assert stopped.exit_code == 130
    assert "the same command continues" in stopped.stderr
    assert not stopped.stdout
    monkeypatch.setattr(DualEncoderTask, "validate", validate)
    summary = json.loads(run("--set", "evaluation.every=5", "--json").stdout)
    assert summary["resumed_at"] == 12  # the end of the last epoch before it
    assert summary["steps"] == 24


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"words": ["--set", "optimisation.epoch=3"]}, ConfigError, "Did you mean 'epochs'"),
        ({"words": ["--set", "model.image.name=strip_conv"]}, ConfigError, "Did you mean 'stripe_conv'"),
        ({"recipe": "stret"}, ConfigError, "Did you mean 'street'"),
        ({"data": "rstpreid:/no/such/place"}, DataError, "no such folder"),
        ({"data": "rstpried:."}, DataError, "Did you mean 'rstpreid'"),
    ],
)
def test_what_is_wrong_is_said_with_the_nearest_right(run, tmp_path, changed, error, message):
    words = changed.pop("words", [])
    result = run(*words, **changed)
    assert isinstance(result.exception, error)
    assert message in str(result.exception)
    assert not (tmp_path / "run").exists()


def test_other_processes_fail_in_silence(run, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    result = run("--set", "optimisation.epoch=3")
    assert result.exit_code == 1
    assert not result.output


@pytest.mark.parametrize(
    ("taken", "environment", "policy", "threads"),
    [
        (0.1, {}, None, None),
        (0.9, {}, "PASSIVE", "1"),
        (2.0, {}, "PASSIVE", "1"),
        (1.5, {"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE", "1"),
        (1.5, {"OMP_NUM_THREADS": "2"}, "PASSIVE", "2"),
        (0.1, {"LOCAL_WORLD_SIZE": "2"}, "PASSIVE", None),
        (0.1, {"LOCAL_WORLD_SIZE": "1"}, None, None),
    ],
)
def test_threads_are_few_and_sleep_where_cores_are_shared(monkeypatch, taken, environment, policy, threads):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr("passerby.cli.threads.cores_taken", lambda: taken)
    for name in ("OMP_WAIT_POLICY", "OMP_NUM_THREADS", "LOCAL_WORLD_SIZE"):
        monkeypatch.setenv(name, "")  # so that it is put back whatever happens
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settle_threads()
    assert os.environ.get("OMP_WAIT_POLICY") == policy
    assert os.environ.get("OMP_NUM_THREADS") == threads


def test_a_load_of_the_past_is_not_taken_for_one_of_now(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(os, "getloadavg", lambda: (0.3, 0.0, 0.0))
    assert cores_taken() == 0.3
    monkeypatch.setattr(os, "getloadavg", lambda: (2.5, 0.0, 0.0))
    ticks = iter([1000, 1000 + round(1.5 * 0.2 * os.sysconf("SC_CLK_TCK"))])  # one and a half cores idle for 0.2 s
    monkeypatch.setattr("passerby.cli.threads._idle_s", lambda: next(ticks) / os.sysconf("SC_CLK_TCK"))
    assert cores_taken() == pytest.approx(0.5, abs=0.3)
