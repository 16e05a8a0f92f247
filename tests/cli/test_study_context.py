"""`passerby study context` (passerby.cli.study_context): what it is told, what it says."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from passerby.cli.study import command
from passerby.errors import ConfigError, MissingExtraError
from passerby.studies import context as study


def run(*arguments):
    return CliRunner().invoke(command, ["context", *map(str, arguments)])


def test_it_hands_over_what_it_was_told_and_prints_each_figure_with_its_protocol(tmp_path, monkeypatch):
    given = []
    figure = {"mean": 62.5, "interval": [60.0, 65.0]}
    report = {
        "data": "market1501",
        "plan": {"seeds": 3},
        "rules": "across cameras",
        "protocols": {"-": "alone", "A": "transductive", "B": "gallery"},
        "table": [{"model": "magformer", "protocol": "B", "r1": figure, "map": figure}],
    }

    def answer(out, data, preset, seeds, announce):
        given.append((out, data, preset, seeds))
        announce(1, 2, "a cell")
        return study.ContextStudy(out, out / "report.html", report)

    monkeypatch.setattr(study, "run_context", answer)
    result = run("--out", tmp_path, "--data", "market1501:x", "--preset", "street", "--seeds", "3")
    assert result.exit_code == 0, result.output
    assert given == [(Path(tmp_path), "market1501:x", "street", 3)]
    assert "magformer" in result.output
    assert "60.0 to 65.0" in result.output
    assert "A: transductive" in result.output
    assert '"seeds": 3' in run("--out", tmp_path, "--data", "market1501:x", "--json").output


def test_what_is_missing_or_wrong_is_said_before_anything_is_made(tmp_path, monkeypatch):
    wrong = run("--out", tmp_path / "none", "--preset", "stret")
    assert isinstance(wrong.exception, ConfigError)
    assert "street" in str(wrong.exception)
    assert not (tmp_path / "none").exists()
    from passerby.cli import study_context

    monkeypatch.setattr(study_context, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError):
        raise run("--out", tmp_path).exception
