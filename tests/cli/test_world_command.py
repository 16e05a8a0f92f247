"""`passerby world` from the outside: what it writes, what it says, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from PIL import Image
from typer.testing import CliRunner

from passerby.cli.world import command, picture_size
from passerby.data.readers import open_dataset
from passerby.errors import ConfigError, DataError

FEW = ["--identities", "4", "--val-identities", "0", "--test-identities", "2", "--size", "48x24", "--workers", "1"]


def run(*arguments):
    return CliRunner().invoke(command, [str(one) for one in arguments])


def test_make_writes_a_data_set_and_says_what_to_do_next(tmp_path):
    outcome = run("make", tmp_path / "street", *FEW, "--masks", "--views", 3)
    assert outcome.exit_code == 0, outcome.output
    assert "20 pictures of 6 people" in outcome.stdout
    assert f"next: passerby train street --data rstpreid:{tmp_path / 'street'}" in outcome.stdout
    assert "drawing: 20 of 20 pictures" in outcome.stderr
    dataset = open_dataset(f"rstpreid:{tmp_path / 'street'}")
    assert {name: len(split.images) for name, split in dataset.splits.items()} == {"train": 12, "test": 8}
    assert len(list((tmp_path / "street" / "masks").iterdir())) == 20


@pytest.mark.parametrize(
    ("options", "reader", "following"),
    [
        (["--layout", "cuhk-pedes"], "cuhk-pedes", "passerby train street --data cuhk-pedes:{}"),
        (["--layout", "market1501"], "market1501", "passerby data check market1501 {}"),
        (["--layout", "cuhk03"], "cuhk03-labeled", "passerby data check cuhk03-detected {}"),
    ],
)
def test_make_writes_the_layout_that_is_asked_for(tmp_path, options, reader, following):
    outcome = run("make", tmp_path / "street", *FEW, *options)
    assert outcome.exit_code == 0, outcome.output
    assert f"next: {following.format(tmp_path / 'street')}" in outcome.stdout
    assert len(open_dataset(f"{reader}:{tmp_path / 'street'}").split("test").images) == 8


def test_make_writes_defects_on_request(tmp_path):
    outcome = run("make", tmp_path / "street", *FEW, "--defects")
    assert f"next: passerby data check rstpreid {tmp_path / 'street'}" in outcome.stdout
    assert (tmp_path / "street" / "imgs" / "Thumbs.db").is_file()
    with pytest.raises(DataError, match="1 of 16 pictures are not in"):
        open_dataset(f"rstpreid:{tmp_path / 'street'}")


def test_json_goes_to_standard_output_alone(tmp_path):
    record = json.loads(run("make", tmp_path / "street", *FEW, "--seed", 3, "--json").stdout)
    assert record["images"] == 16
    assert record["plan"]["seed"] == 3
    assert record["plan"]["size"] == [48, 24]


def test_a_wrong_plan_layout_or_folder_is_an_error_of_ours(tmp_path):
    assert isinstance(run("make", tmp_path / "one", *FEW, "--plan", "tiny").exception, ConfigError)
    assert isinstance(run("make", tmp_path / "two", *FEW, "--layout", "cuhk").exception, ConfigError)
    (tmp_path / "note.txt").write_text("mine")
    assert isinstance(run("make", tmp_path, *FEW).exception, DataError)


@pytest.mark.parametrize(("text", "size"), [("128x64", (128, 64)), ("384X128", (384, 128)), ("natural", "natural")])
def test_sizes_are_height_times_width(text, size):
    assert picture_size(text) == size


@pytest.mark.parametrize("text", ["128", "x64", "128x", "axb", "", "-1x4", "naturel", "1x2x3"])
def test_wrong_sizes_are_refused(text):
    with pytest.raises(ConfigError, match="expected HEIGHTxWIDTH"):
        picture_size(text)


def test_sheet_draws_a_picture(tmp_path):
    outcome = run("sheet", tmp_path / "sheet.png", "--identities", 1)
    assert outcome.exit_code == 0, outcome.output
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.format == "PNG"


@pytest.mark.parametrize("camera", [0, 8])
def test_cameras_of_a_film_are_counted_from_one(tmp_path, camera):
    outcome = run("film", tmp_path / "f.avi", "--camera", camera)
    assert outcome.exit_code == 2
    assert "Invalid value for '--camera'" in outcome.stderr


def test_help_imports_no_drawing():
    script = "import sys; import passerby.cli.world; sys.exit('numpy' in sys.modules or 'PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
