"""`passerby evaluate`: a table for people, JSON for machines, sheets on request, clear words when it cannot."""

import json
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

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

    name, fingerprint, trained_on = "stub", "f00d", "RSTPReid, split train"
    branches = MappingProxyType({})

    def encode_images(self, images):
        pixels = [image if isinstance(image, np.ndarray) else np.asarray(Image.open(image)) for image in images]
        return np.stack([self._vector(picture[0, 0, 0] // 10) for picture in pixels])

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
    cut = {f"test-{n}": Split(f"test-{n}", test.images[n : n + 10], query_ids=()) for n in (0, 2, 4)}
    more = Split("multi_query", tuple(replace(image, image_id=f"more/{image.image_id}") for image in images))
    splits = {"test": test, "alone": Split("alone", test.images[::2]), "multi_query": more, **cut}
    dataset = Dataset("ICFG-PEDES", tmp_path, splits)
    monkeypatch.setattr("passerby.data.readers.open_dataset", lambda spec: dataset, raising=False)
    monkeypatch.setattr("passerby.retriever.load", lambda model: Stub())
    app = typer.Typer()
    app.command()(evaluate)
    return lambda *words: CliRunner().invoke(app, ["stub", "--data", "toy:x", *words])


_INTERVALS = "below each figure: 95 % intervals"


def test_a_table_with_chance_protocol_and_intervals(run):
    result = run()
    assert result.exit_code == 0, result.output
    for words in ("R@1", "mAP", "stub", "chance", "text to image", "9 queries of 9 identities", _INTERVALS):
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


def test_people_who_were_seen_in_training_are_warned_of(run):
    assert "warning: trained on RSTPReid, tested on ICFG-PEDES" in " ".join(run().stdout.split())
    assert len(json.loads(run("--json").stdout)["model"]["warnings"]) == 1


def test_the_data_choose_a_protocol_and_a_pattern_takes_the_mean_of_splits(run, tmp_path):
    words = ("--split", "test-*", "--sheets", str(tmp_path / "sheets"), "--json")
    plain = json.loads(run(*words).stdout)
    single = [json.loads(run("--split", f"test-{n}", "--json").stdout)["model"] for n in (0, 2, 4)]
    assert plain["model"]["protocol"]["name"] == "image-to-image"
    assert plain["model"]["r1"] == pytest.approx(np.mean([one["r1"] for one in single]))
    assert plain["model"]["protocol"]["report_split"] == "test-0 to test-4"
    assert "mean of 3 splits" in plain["model"]["provenance"]
    assert set(plain["sheets"]) == {f"test-{n}: {kind}" for n in (0, 2, 4) for kind in ("good", "median", "bad")}
    assert _INTERVALS not in run("--split", "test-*").stdout, "a mean over splits has none"


def test_flip_and_pooled_queries_and_branches_are_stamped(run, monkeypatch):
    monkeypatch.setattr(Stub, "branches", {"global": (0, 4), "local": (4, 8)})
    plain = json.loads(run("--flip", "--protocol", "multi-query", "--same-camera", "counted", "--json").stdout)
    assert list(plain)[:3] == ["model", "global", "local"]
    assert plain["local"]["name"] == "stub, local"
    assert plain["model"]["flip"] is True
    assert "multi-query" in plain["model"]["protocol"]["text"]


def test_the_best_mixture_stands_beside_the_honest_row_and_says_that_it_is_no_result(run, monkeypatch):
    monkeypatch.setattr(Stub, "branches", {"global": (0, 4), "local": (4, 8)})
    honest = json.loads(run("--json", "--selected-on", "val").stdout)
    both = json.loads(run("--json", "--selected-on", "val", "--mixture-oracle").stdout)
    assert list(both) == ["model", "global", "local", "mixture_oracle", "chance", "sheets"]
    assert both["model"] == honest["model"]
    assert "not a result" in both["mixture_oracle"]["name"]
    assert both["mixture_oracle"]["protocol"]["selection_split"] == "test"
    shown = " ".join(run("--mixture-oracle").stdout.split())
    assert "the split that is reported: not a result; the model's own row is the one to report" in shown
    assert "not a result" in run("--mixture-oracle", "--markdown").stdout


def test_re_ranked_rows_stand_beside_the_plain_one_and_say_their_mode(run):
    words = ("--protocol", "image-to-image", "--rerank", "k-reciprocal:k1=4,k2=2", "--rerank", "aqe:k=3,mode=gallery")
    shown = " ".join(run(*words).stdout.split())
    assert "transductive" in shown
    assert "gallery-only" in shown
    plain = json.loads(run(*words, "--json").stdout)
    assert list(plain)[:3] == ["model", "k-reciprocal:k1=4,k2=2", "aqe:k=3,mode=gallery"]
    assert plain["model"]["scoring"] == "dot product"
    first, second = list(plain.values())[1:3]
    assert first["name"] == "stub, k-reciprocal (k1 4, k2 2, lambda 0.3, transductive)"
    assert (first["transductive"], second["transductive"]) == (True, False)
    assert first["fingerprint"] == plain["model"]["fingerprint"]


@pytest.mark.parametrize(("option", "start"), [("--markdown", "| | R@1 |"), ("--latex", " & R@1 & ")])
def test_rows_for_papers(run, option, start):
    output = run(option).stdout
    assert output.startswith(start)
    assert "stub" in output
    assert "chance" in output


@pytest.mark.parametrize(
    ("words", "error", "says"),
    [
        (("--protocol", "text-to-imge"), ConfigError, "Did you mean 'text-to-image'"),
        (("--selected-on", "test"), ConfigError, "too good"),
        (("--split", "tset"), DataError, "Did you mean 'test'"),
        (("--split", "train-*"), DataError, "no split 'train-*'"),
        (("--split", "alone"), DataError, "9 images and 0 captions"),
        (("--protocol", "image-to-image", "--colour-baseline"), ConfigError, "reads words"),
        (("--sheets", "/dev/null/x"), DataError, "cannot be written"),
        (("--rerank", "k-reciprocl"), ConfigError, "Did you mean 'k-reciprocal'"),
        (("--mixture-oracle", "--split", "test-*"), ConfigError, "chooses a weight on one split, and test-* names 3"),
        (("--mixture-oracle",), ConfigError, "the vectors of stub hold no branches"),
        (("--rerank", "aqe:k=0"), ConfigError, "k = 0; expected at least 1"),
    ],
)
def test_what_cannot_be_done_is_said(run, words, error, says):
    result = run(*words)
    assert isinstance(result.exception, error)
    assert says in str(result.exception)


def test_an_unknown_camera_rule_is_wrong_use(run):
    assert run("--same-camera", "maybe").exit_code == 2
