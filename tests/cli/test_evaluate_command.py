"""`passerby evaluate`: a table for people, JSON for machines, sheets on request, clear words when it cannot."""

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from passerby.cli.evaluate import evaluate
from passerby.data.records import Caption, Dataset, PersonImage, Split
from passerby.errors import ConfigError, DataError


class Stub:
    """Knows people by the first pixel of their picture and by the number in their caption, most of the time."""

    name, fingerprint = "stub", "f00d"

    def encode_images(self, images):
        return np.stack([self._vector(np.asarray(Image.open(path))[0, 0, 0] // 10) for path in images])

    def encode_texts(self, texts):
        return np.stack([self._vector(int(text.split()[-1])) for text in texts])

    def _vector(self, person):
        vector = np.random.default_rng(int(person) % 7).normal(size=8)
        return (vector / np.linalg.norm(vector)).astype(np.float32)


@pytest.fixture
def run(tmp_path, monkeypatch):
    images = []
    for person in range(9):
        for view in range(2):
            path = tmp_path / f"{person}_{view}.png"
            Image.new("RGB", (16, 32), (10 * person, 200, 50)).save(path)
            images.append(PersonImage(path.name, path, person, f"c{view}"))
    captions = tuple(Caption(f"in a red coat, person {i.person_id}", i.image_id, i.person_id) for i in images[::2])
    test = Split("test", tuple(images), captions)
    dataset = Dataset("toy", tmp_path, {"test": test, "alone": Split("alone", test.images[::2])})
    monkeypatch.setattr("passerby.data.readers.open_dataset", lambda spec: dataset, raising=False)
    monkeypatch.setattr("passerby.retriever.load", lambda model: Stub())
    app = typer.Typer()
    app.command()(evaluate)
    return lambda *words: CliRunner().invoke(app, ["stub", "--data", "toy:x", *words])


def test_a_table_with_chance_protocol_and_intervals(run):
    result = run()
    assert result.exit_code == 0, result.output
    for words in ("R@1", "mAP", "stub", "chance", "text to image", "9 queries of 9 identities", "95 % intervals"):
        assert words in result.stdout
    assert "encoding: 27 of 27 items" in result.stderr
    assert "encoding" not in result.stdout


def test_json_alone_on_standard_output(run):
    plain = json.loads(run("--json", "--selected-on", "val", "--colour-baseline").stdout)
    assert list(plain) == ["model", "colour_baseline", "chance", "sheets"]
    assert {"r1", "r5", "r10", "map", "minp"} <= set(plain["chance"])
    assert plain["model"]["fingerprint"] == "f00d"
    assert plain["model"]["protocol"]["selection_split"] == "val"
    assert plain["model"]["r1"] > plain["chance"]["r1"]


def test_pictures_ask_and_sheets_are_written(run, tmp_path):
    folder = tmp_path / "sheets"
    plain = json.loads(
        run("--protocol", "image-to-image", "--same-camera", "junk", "--json", "--sheets", str(folder)).stdout
    )
    assert plain["model"]["counts"]["queries"] == 18
    assert {Path(path).name for path in plain["sheets"].values()} == {"good.png", "median.png", "bad.png"}
    assert all(Path(path).is_file() for path in plain["sheets"].values())


@pytest.mark.parametrize(
    ("words", "error", "says"),
    [
        (("--protocol", "text-to-imge"), ConfigError, "Did you mean 'text-to-image'"),
        (("--selected-on", "test"), ConfigError, "too good"),
        (("--split", "tset"), DataError, "Did you mean 'test'"),
        (("--split", "alone"), DataError, "9 images and 0 captions"),
        (("--protocol", "image-to-image", "--colour-baseline"), ConfigError, "reads words"),
        (("--sheets", "/dev/null/x"), DataError, "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_said(run, words, error, says):
    result = run(*words)
    assert isinstance(result.exception, error)
    assert says in str(result.exception)


def test_an_unknown_camera_rule_is_wrong_use(run):
    assert run("--same-camera", "maybe").exit_code == 2
