"""`passerby explain`: what is printed in a pipe, as JSON, and drawn; what is refused."""

import json

import numpy as np
import pytest
from PIL import Image

from itself_models import save_itself
from passerby.cli import app
from passerby.cli.explain import explain
from passerby.errors import DataError


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explained")
    save_itself(folder / "model", folder)
    pixels = np.random.default_rng(0).integers(0, 256, (96, 48, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "person.png")
    return folder


def test_words_in_a_pipe_and_a_sheet(place, capsys):
    explain(str(place / "model"), place / "person.png", "a woman in a red coat", place / "why.png", 2, False)
    printed = capsys.readouterr()
    words = [line.split("\t")[0] for line in printed.out.splitlines()]
    assert words == ["a", "woman", "in", "a", "red", "coat"]
    assert "why.png" in printed.err
    with Image.open(place / "why.png") as sheet:
        assert sheet.width > 300


def test_json_holds_every_map(place, capsys):
    explain(str(place / "model"), place / "person.png", "a red coat", place / "why.png", 0, True)
    told = json.loads(capsys.readouterr().out)
    assert np.array(told["relevance"]).shape == (6, 3)
    assert np.array(told["selected"]).sum() == 7
    assert len(told["words"]) == 3


def test_the_command_is_known_and_refuses_what_it_cannot_read(place):
    assert "explain" in app.COMMANDS
    with pytest.raises(DataError, match="one sentence"):
        explain(str(place / "model"), place / "person.png", " ", place / "why.png", 2, False)
    with pytest.raises(DataError):
        explain(str(place / "model"), place / "nobody.png", "a man", place / "why.png", 2, False)
