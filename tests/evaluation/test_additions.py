"""What may be added to an evaluation: mirrors, pooled queries, branches, means over splits, warnings, fingerprints."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from passerby.data.records import Caption, PersonImage, Split
from passerby.errors import ConfigError, DataError
from passerby.evaluation import (
    Features,
    encode_split,
    evaluate,
    evaluate_features,
    evaluate_scores,
    find_protocol,
    latex_rows,
    mean_report,
    pool_queries,
    split_branches,
)
from passerby.evaluation.data_fingerprint import data_fingerprint
from passerby.evaluation.domains import data_sets_in, domain_warnings

IMAGE, MULTI = find_protocol("image-to-image"), find_protocol("multi-query")


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def pictures(people=4, views=4, prefix="", name="test", query_ids=()):
    images = tuple(
        PersonImage(f"{prefix}{person}/{view}", Path(f"{prefix}{person}_{view}.jpg"), person, f"c{view % 2}")
        for person in range(people)
        for view in range(views)
    )
    return Split(name, images, query_ids=query_ids)


# -- mirrors --------------------------------------------------------------------------------------------------------


class Corner:
    """A vector from the left and the right half of a picture."""

    def __init__(self):
        self.sizes = []

    def encode_images(self, images):
        self.sizes.append(len(images))
        pixels = [one if isinstance(one, np.ndarray) else np.asarray(Image.open(one)) for one in images]
        return unit(np.stack([[one[:, :8].mean() + 1, one[:, 8:].mean() + 1, 50.0] for one in pixels]))

    def encode_texts(self, texts):
        return unit(np.ones((len(texts), 3)))


def test_a_flip_adds_the_mirror_and_makes_mirrored_pictures_equal(tmp_path, monkeypatch):
    monkeypatch.setattr("passerby.evaluation.features._MIRRORS", 3)
    left = np.zeros((32, 16, 3), np.uint8)
    left[:, :8] = 200
    images = []
    for number in range(8):
        path = tmp_path / f"{number}.png"
        Image.fromarray(left if number % 2 else left[:, ::-1]).save(path)
        images.append(PersonImage(path.name, path, number // 4))
    split, encoder = Split("test", tuple(images), (Caption("a", "0.png", 0),)), Corner()
    plain, flipped = encode_split(encoder, split), encode_split(encoder, split, flip=True)
    assert np.abs(plain.images[0] - plain.images[1]).max() > 0.5
    np.testing.assert_allclose(flipped.images, np.broadcast_to(flipped.images[0], (8, 3)), atol=1e-6)
    expected = unit(plain.images[:1] + plain.images[1:2])
    np.testing.assert_allclose(flipped.images[:1], expected, atol=1e-6)
    np.testing.assert_array_equal(plain.captions, flipped.captions)
    assert encoder.sizes == [8, 3, 3, 2, 8]
    report = evaluate(encoder, split, IMAGE, flip=True)
    assert report.flip
    assert any("test-time flip" in note for note in report.notes())
    assert not evaluate(encoder, split, IMAGE).flip


# -- pooled queries -------------------------------------------------------------------------------------------------


def test_a_query_is_the_mean_of_its_persons_pictures_by_its_camera():
    split = pictures(query_ids=("0/0", "1/1", "3/3"))
    more = pictures(people=3, views=6, prefix="m", name="multi_query")
    random = np.random.default_rng(0)
    features, vectors = Features(unit(random.normal(size=(16, 5)))), unit(random.normal(size=(18, 5)))
    pooled = pool_queries(features, split, vectors, more).pooled
    for row, image in enumerate(split.images):
        group = [
            vectors[at]
            for at, other in enumerate(more.images)
            if (other.person_id, other.camera_id) == (image.person_id, image.camera_id)
        ]
        if image.image_id in split.query_ids and group:
            np.testing.assert_allclose(pooled[row], unit(np.mean(group, axis=0)), atol=1e-6)
        else:
            np.testing.assert_array_equal(pooled[row], features.images[row])
    report = evaluate_features(replace(features, pooled=pooled), split, MULTI)
    assert report.counts["queries"] == 3
    assert "multi-query" in report.protocol.describe()


def test_pooling_what_does_not_fit_is_refused():
    split, more = pictures(), pictures(people=1, prefix="m", name="multi_query")
    features = Features(unit(np.ones((16, 5))))
    stranger = replace(more, images=tuple(replace(image, person_id=99) for image in more.images))
    opposite = unit(np.array([[1, 0, 0, 0, 0]] * 2 + [[-1, 0, 0, 0, 0]] * 2))
    for vectors, of, words in (
        (np.ones((3, 5)), more, r"\(3, 5\)"),
        (np.ones((4, 5)), stranger, "no picture of any query's person"),
        (opposite, more, "have no mean"),
    ):
        with pytest.raises(DataError, match=words):
            pool_queries(features, split, vectors, of)
    with pytest.raises(ConfigError, match="pool_queries"):
        evaluate_features(features, split, MULTI)


# -- branches -------------------------------------------------------------------------------------------------------


def test_branches_are_judged_by_themselves_from_one_encoding():
    split = pictures()
    right = np.repeat(np.eye(4), 4, axis=0)
    wrong = np.tile(np.eye(4), (4, 1))
    features = Features(unit(np.hstack([0.6 * right, 0.8 * wrong])))
    parts = split_branches(features, {"global": (0, 4), "local": (4, 8)})
    np.testing.assert_allclose(parts["global"].images, right, atol=1e-6)
    reports = {name: evaluate_features(part, split, IMAGE) for name, part in parts.items()}
    assert reports["global"].r1 == 100
    assert reports["local"].r1 == 0
    assert evaluate_features(features, split, IMAGE).r1 < 100
    assert split_branches(features, {}) == {}


@pytest.mark.parametrize("columns", [(0, 9), (-1, 3), (2, 2), (3, 1)])
def test_branches_outside_the_vectors_are_refused(columns):
    with pytest.raises(ConfigError, match="'part' takes the columns"):
        split_branches(Features(np.ones((2, 8), np.float32)), {"part": columns})


def test_an_empty_branch_is_refused():
    with pytest.raises(ConfigError, match="zero or not a number in row 0"):
        split_branches(Features(np.eye(4, dtype=np.float32)), {"part": (1, 2)})


# -- several splits -------------------------------------------------------------------------------------------------


def test_a_mean_over_splits_is_the_mean_and_says_so():
    reports = []
    for number in range(3):
        split = pictures(name=f"test-{number}")
        scores = np.random.default_rng(number).normal(size=(16, 16))
        reports.append(evaluate_scores(scores, split, replace(IMAGE, report_split=split.name), name="x"))
    mean = mean_report(reports)
    assert mean.r1 == pytest.approx(np.mean([report.r1 for report in reports]))
    assert mean.curve[4] == pytest.approx(np.mean([report.curve[4] for report in reports]))
    assert mean.protocol.report_split == "test-0 to test-2"
    assert np.isnan(mean.intervals["r1"]).all()
    assert mean.data_fingerprint not in {report.data_fingerprint for report in reports}
    assert any("mean of 3 splits" in note for note in mean.notes())
    assert mean_report(reports[:1]) is reports[0]
    with pytest.raises(ConfigError, match="no reports"):
        mean_report([])
    with pytest.raises(ConfigError, match="2 models or protocols"):
        mean_report([reports[0], replace(reports[1], name="y")])


# -- warnings and fingerprints --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trained_on", "tested_on", "warned"),
    [
        ("MSMT17, split train", "rstpreid", True),
        ("icfg-pedes-val", "RSTPReid", True),
        ("rstpreid", "msmt17-v2", True),
        ("cuhk-pedes", "market1501-500k", True),
        ("Market-1501", "CUHK_PEDES", True),
        ("cuhk-pedes", "cuhk03-classic-labeled", True),
        ("market1501", "cuhk03-labeled", False),
        ("market1501", "market1501", False),
        ("street, seed 1000", "rstpreid", False),
        ("ICFG-PEDES", "CUHK-PEDES", False),
        (None, "msmt17", False),
        ("unknown", "", False),
    ],
)
def test_sets_of_the_same_people_are_warned_of(trained_on, tested_on, warned):
    assert bool(domain_warnings(trained_on, tested_on)) is warned


def test_data_sets_are_known_however_they_are_written():
    assert data_sets_in("Trained on CUHK PEDES and MSMT-17 (V2)") == ["CUHK-PEDES", "MSMT17"]


def test_a_fingerprint_changes_with_anything_that_is_judged(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"12345")
    image = PersonImage("a", path, 1, "c1")
    split = Split("test", (image, PersonImage("b", tmp_path / "none.jpg", 1)), (Caption("x", "a", 1),))
    marks = {data_fingerprint(split)}
    for other in (
        replace(split, name="val"),
        replace(split, query_ids=("a",)),
        replace(split, captions=(Caption("y", "a", 1),)),
        replace(split, images=split.images[::-1]),
        *(
            replace(split, images=(replace(image, **change), split.images[1]))
            for change in ({"person_id": 2}, {"camera_id": "c2"}, {"junk": True}, {"path": tmp_path / "none.jpg"})
        ),
    ):
        marks.add(data_fingerprint(other))
    assert len(marks) == 9
    moved = tmp_path / "elsewhere.jpg"
    moved.write_bytes(b"54321")  # another place, the same size
    assert data_fingerprint(replace(split, images=(replace(image, path=moved), split.images[1]))) in marks


# -- rows for papers ------------------------------------------------------------------------------------------------


def test_latex_rows_are_escaped_and_carry_their_protocol():
    report = evaluate_scores(np.eye(16), pictures(), IMAGE, name="50%_model & co\\", dataset="toy")
    heading, rule, row, comment = latex_rows([report]).splitlines()
    assert heading.count("&") == row.replace(r"\&", "").count("&") == 5
    assert rule == r"\midrule"
    assert row.startswith(r"50\%\_model \& co\textbackslash{} & ")
    assert row.endswith(r" \\")
    assert comment.startswith("% toy: image to image")
    assert report.data_fingerprint[:12] in comment
