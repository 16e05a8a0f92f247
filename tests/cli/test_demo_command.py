"""`passerby demo` on the command line; what it does is in tests/studies/test_demo.py."""

import json
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from passerby.cli import demo as command
from passerby.errors import MissingExtraError
from passerby.studies import demo as study

ROW = {"r1": 50.0, "r5": 60.0, "r10": 70.0, "map": 40.0, "minp": 30.0}
REPORT = {
    **dict.fromkeys(("model", "ceiling", "colour_baseline", "chance", "image_to_image"), ROW),
    "counts": {"queries": 500, "gallery_images": 1000, "test_identities": 250},
    "seconds": {"total": {"wall": 100.0, "cpu": 150.0}},
    "protocol": {"text_to_image": "text to image, by identity"},
}


@pytest.fixture
def run(tmp_path, monkeypatch):
    def made_up(folder, size, seed, announce):
        for done in (0, 10):
            announce("drawing the street", done, 10, "")
            announce("training", done, 10, "loss 1.00")
        return study.DemoResult(folder, folder / "report.html", REPORT)

    monkeypatch.setattr(study, "run_demo", made_up)
    app = typer.Typer()
    app.command()(command.demo)
    return lambda *words: CliRunner().invoke(app, ["--out", str(tmp_path / "demo"), *words])


def test_the_table_the_page_and_what_to_do_next(run, tmp_path):
    result = run("--size", "small", "--seed", "3")
    assert result.exit_code == 0, result.output
    assert "500 sentences, 1,000 pictures, 250 unseen people" in result.stdout
    assert "model, text to image                         50.0   60.0   70.0   40.0   30.0" in result.stdout
    assert str(tmp_path / "demo" / "small-3" / "report.html") in result.stdout
    assert "try next: passerby search" in result.stdout
    assert "training: 10 of 10 steps" in result.stderr


def test_json_alone_on_standard_output(run):
    assert json.loads(run("--json").stdout) == REPORT


def test_what_is_missing_is_said_before_a_street_is_drawn(run, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "find_spec", lambda package: None if package == "onnx" else object())
    error = run().exception
    assert isinstance(error, MissingExtraError)
    assert "pip install 'passerby[export]'" in str(error)
    assert not (tmp_path / "demo").exists()


def test_on_the_base_install_it_is_one_line(tmp_path):
    code = (
        "import importlib.util as u, sys\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'torch' else find(name, *rest)\n"
        f"from passerby.cli.app import main\nmain(['demo', '--out', {str(tmp_path / 'demo')!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "passerby: the demo needs the package 'torch', which is not installed; run: pip install 'passerby[train]'"
    ]
