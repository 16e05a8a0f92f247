"""From a split and an encoder to a report: against loops over the records, and with everything that goes wrong."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from passerby.data.records import Caption, PersonImage, Split
from passerby.errors import DataError
from passerby.evaluation import (
    FIGURES,
    encode_split,
    evaluate,
    evaluate_chance,
    evaluate_features,
    evaluate_scores,
    find_protocol,
    markdown_table,
    rich_table,
)
from passerby.evaluation.report import MORE_FIGURES

TEXT = find_protocol("text-to-image", selection_split="val")
IMAGE = find_protocol("image-to-image")


def make_split(people=6, views=3, name="test", **changes):
    """`views` pictures of each person, the last person junk's neighbour; a caption for every second picture."""
    images = tuple(
        PersonImage(f"{person}/{view}", Path(f"{person}_{view}.jpg"), person, f"c{view % 2}")
        for person in range(people)
        for view in range(views)
    )
    captions = tuple(Caption(f"person {i.person_id} {i.image_id}", i.image_id, i.person_id) for i in images[::2])
    return Split(name, changes.get("images", images), changes.get("captions", captions))


class Stub:
    """Unit vectors around one direction per person, as the path or the text tells; counts its calls."""

    def __init__(self, noise=0.3, dim=16):
        self.noise, self.dim, self.seen = noise, dim, []

    def vector(self, key, person):
        direction = np.random.default_rng(person).normal(size=self.dim)
        own = np.random.default_rng(sum(map(ord, key))).normal(size=self.dim)
        vector = direction + self.noise * own
        return (vector / np.linalg.norm(vector)).astype(np.float32)

    def encode_images(self, images):
        self.seen += list(images)
        return np.stack([self.vector(path.name, int(path.name.split("_")[0])) for path in images])

    def encode_texts(self, texts):
        self.seen += list(texts)
        return np.stack([self.vector(text, int(text.split()[1])) for text in texts])


def test_figures_equal_a_loop_over_the_records():
    split = make_split()
    stub = Stub(noise=1.5)
    report = evaluate(stub, split, TEXT, dataset="toy", fingerprint="abc")
    r1 = ap = 0.0
    for caption in split.captions:
        query = stub.encode_texts([caption.text])[0]
        order = sorted(split.images, key=lambda image: -float(query @ stub.encode_images([image.path])[0]))
        right = [image.person_id == caption.person_id for image in order]
        r1 += right[0]
        ap += np.mean([sum(right[: rank + 1]) / (rank + 1) for rank, hit in enumerate(right) if hit])
    assert report.r1 == pytest.approx(100 * r1 / len(split.captions))
    assert report.map == pytest.approx(100 * ap / len(split.captions), abs=1e-6)
    assert report.counts["queries"] == len(split.captions)
    assert report.counts["gallery"] == len(split.images)
    assert report.counts["hits_per_query"] == 3
    assert report.intervals["r1"][0] <= report.r1 <= report.intervals["r1"][1]


def test_everything_is_encoded_once_for_any_number_of_protocols():
    split, stub = make_split(), Stub()
    features = encode_split(stub, split)
    evaluate_features(features, split, TEXT)
    evaluate_features(features, split, IMAGE)
    assert len(stub.seen) == len(split.images) + len(split.captions)


def test_progress_is_told_in_chunks(monkeypatch):
    monkeypatch.setattr("passerby.evaluation.features._CHUNK", 7)
    told = []
    whole = encode_split(Stub(), make_split())
    parts = encode_split(Stub(), make_split(), progress=lambda *news: told.append(news))
    assert told[:3] == [("images", 7, 18), ("images", 14, 18), ("images", 18, 18)]
    assert told[-1] == ("captions", 9, 9)
    np.testing.assert_array_equal(whole.images, parts.images)
    np.testing.assert_array_equal(whole.captions, parts.captions)


def test_a_picture_never_finds_itself():
    """With random vectors the picture itself would be its own perfect first answer."""
    split = make_split(people=40, views=2)
    random = np.random.default_rng(0).normal(size=(80, 64))
    scores = random @ random.T
    assert evaluate_scores(scores, split, IMAGE, name="random").r1 < 20
    assert evaluate_chance(split, IMAGE).r1 == pytest.approx(100 / 79)


def test_the_same_camera_is_left_out_only_when_asked():
    split = make_split(people=4, views=4)
    scores = np.zeros((16, 16))
    for one, left in enumerate(split.images):
        for other, right in enumerate(split.images):
            same_person = left.person_id == right.person_id
            scores[one, other] = same_person * (2 if left.camera_id == right.camera_id else -1)
    assert evaluate_scores(scores, split, IMAGE, name="x").r1 == 100
    across = find_protocol("image-to-image", same_camera="junk")
    assert evaluate_scores(scores, split, across, name="x").r1 == 0
    assert evaluate_scores(scores, split, across, name="x").counts["hits_per_query"] == 2


def test_junk_strangers_and_lone_people_are_counted_and_told():
    images = (
        PersonImage("a1", Path("a1"), 1),
        PersonImage("a2", Path("a2"), 1, junk=True),
        PersonImage("b1", Path("b1"), 2),
        PersonImage("b2", Path("b2"), 2),
        PersonImage("x", Path("x")),
    )
    captions = (Caption("of b", "b1"), Caption("of nobody", "x"), Caption("of junk", "a2", 1))
    split = Split("test", images, captions)
    report = evaluate_scores(np.eye(5), split, IMAGE, name="x")
    assert report.counts["queries"] == 3
    assert report.counts["queries_without_hit"] == 1
    assert report.counts["junk"] == report.counts["without_identity"] == 1
    notes = "\n".join(report.notes())
    for words in ("1 queries have nothing to find", "1 gallery images of nobody known", "1 gallery images are junk"):
        assert words in notes
    assert evaluate_chance(split, TEXT).counts["queries"] == 1


def test_chance_is_what_equal_scores_give():
    split = make_split()
    chance, flat = evaluate_chance(split, TEXT), evaluate_scores(np.zeros((9, 18)), split, TEXT, name="flat")
    assert chance.figures == flat.figures
    assert chance.r1 == pytest.approx(100 * 3 / 18)
    assert flat.ties_matter
    assert any("order of ties" in note for note in flat.notes())


def test_a_report_prints_itself_everywhere():
    report = evaluate(Stub(), make_split(), TEXT, name="a|b [red]", dataset="toy", fingerprint="f00", seed=3)
    plain = json.loads(report.to_json())
    assert {key: plain[key] for key in (*FIGURES, *MORE_FIGURES)} == dict(report.figures)
    assert plain["protocol"]["selection_split"] == "val"
    assert (plain["dataset"], plain["fingerprint"], plain["seed"]) == ("toy", "f00", 3)
    assert set(plain["versions"]) >= {"passerby", "python", "numpy"}
    console = Console(width=120, file=io.StringIO())
    console.print(rich_table([report], "toy"))
    assert "a|b [red]" in console.file.getvalue()
    lines = markdown_table([report, report]).splitlines()
    assert len(lines) == 4
    assert lines[2].startswith("| a\\|b [red] |")


def test_one_identity_has_no_interval_and_its_json_no_nan():
    split = make_split(people=1)
    report = evaluate(Stub(), split, TEXT)
    assert json.loads(report.to_json())["intervals"]["r1"] == [None, None]
    assert markdown_table([report])


class Broken(Stub):
    def __init__(self, change):
        super().__init__()
        self.change = change

    def encode_images(self, images):
        return self.change(super().encode_images(images))


def poisoned(vectors):
    vectors[4] = np.nan
    return vectors


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (poisoned, r"1 of 18 images.*'1/1', with NaN"),
        (lambda vectors: vectors * 3, r"18 of 18 images.*'0/0', of length 3"),
        (lambda vectors: vectors[:-1], r"\(17, 16\).*\(18, D\)"),
        (lambda vectors: vectors.astype(int), "int64"),
        (lambda vectors: vectors[0], r"\(16,\)"),
    ],
)
def test_bad_vectors_are_refused_and_the_image_named(change, words):
    with pytest.raises(DataError, match=words):
        evaluate(Broken(change), make_split(), TEXT)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: evaluate(Stub(), make_split(name="val"), TEXT), "reports the split 'test'.*'val'"),
        (lambda: evaluate(Stub(), make_split(captions=()), TEXT), "18 images and 0 captions"),
        (lambda: evaluate(Stub(), Split("test", ()), IMAGE), "0 images and 0 captions"),
        (lambda: evaluate(Stub(), make_split(views=1), IMAGE), "no query that has anything to find"),
        (lambda: evaluate_scores(np.zeros((9, 9)), make_split(), TEXT, name="x"), r"\(9, 9\).*\(9, 18\)"),
        (lambda: evaluate_features(encode_split(Stub(), make_split(people=2)), make_split(), TEXT), "3 captions"),
        (
            lambda: evaluate_features(encode_split(Stub(), make_split(), with_captions=False), make_split(), TEXT),
            "no captions",
        ),
    ],
)
def test_splits_that_cannot_be_judged_are_refused(call, words):
    with pytest.raises(DataError, match=words):
        call()
