"""`passerby study selection` (passerby.cli.study_selection): what it is told, what it says."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from passerby.cli.study import command
from passerby.errors import ConfigError, MissingExtraError
from passerby.studies import selection as study


def run(*arguments):
    return CliRunner().invoke(command, ["selection", *map(str, arguments)])


def test_it_hands_over_what_it_was_told_and_prints_each_table_and_claim(tmp_path, monkeypatch):
    given = []
    figure = {"mean": 62.5, "interval": [60.0, 65.0]}
    row = {"label": "MARS", "figures": dict.fromkeys(("r1", "r5", "r10", "map"), figure)}
    report = {
        "data": "rstpreid",
        "seeds": 3,
        "tables": [{"title": "Table 3: selectors", "rows": [row]}],
        "claims": [{"above": "itself", "below": "tal-cid", "r1": {"mean": 2.0}, "verdict": "holds"}],
    }

    def answer(out, data, preset, seeds, announce):
        given.append((out, data, preset, seeds))
        announce(1, 2, "a cell")
        return study.SelectionStudy(out, out / "report.html", report)

    monkeypatch.setattr(study, "run_selection", answer)
    result = run("--out", tmp_path, "--data", "rstpreid:x", "--preset", "street", "--seeds", "3")
    assert result.exit_code == 0, result.output
    assert given == [(Path(tmp_path), "rstpreid:x", "street", 3)]
    for words in ("Table 3: selectors", "MARS", "62.5", "60.0 to 65.0", "itself above tal-cid: +2.0 points", "holds"):
        assert words in result.output
    assert '"seeds": 3' in run("--out", tmp_path, "--data", "rstpreid:x", "--json").output


def test_what_is_missing_or_wrong_is_said_before_anything_is_made(tmp_path, monkeypatch):
    wrong = run("--out", tmp_path / "none", "--preset", "stret")
    assert isinstance(wrong.exception, ConfigError)
    assert "street" in str(wrong.exception)
    assert not (tmp_path / "none").exists()
    from passerby.cli import study_selection

    monkeypatch.setattr(study_selection, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError):
        raise run("--out", tmp_path).exception
