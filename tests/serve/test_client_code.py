"""The few lines that the documentation shows for programs are run as they stand there, against a real service."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from colour_encoder import jpeg, person

ROOT = Path(__file__).parents[2]
USUAL = "http://localhost:8000"


@pytest.mark.parametrize("page", ["README.md", "docs/service.md"])
def test_the_client_runs_as_written(page, address, tmp_path, monkeypatch, capsys):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    (block,) = [each for each in blocks if USUAL in each]
    (tmp_path / "woman.jpg").write_bytes(jpeg(person("red", "white", seed=8)))
    monkeypatch.chdir(tmp_path)
    # Words that the tests' own small model knows; the lines themselves stay as they are.
    block = block.replace(USUAL, address).replace("a woman in a red coat", "red blue")
    exec(compile(block, page, "exec"), {})
    printed = capsys.readouterr().out
    assert ".jpg" in printed
    assert "0012_c1s1" in printed or "c2s1" in printed
