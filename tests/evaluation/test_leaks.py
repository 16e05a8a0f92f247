"""Each guard beside a model that leaks and one that does not: the first must be caught, the second let through."""

import inspect
import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from leaking_model import World, rows_of, scorer, trained

from attended_models import attended_model
from passerby.data.records import Caption, PersonImage, Split
from passerby.errors import DataError
from passerby.evaluation import Features, evaluate_features, find_protocol, markdown_table, set_up
from passerby.evaluation.leaks import (
    duplicate_diagnosis,
    equal_rows,
    noise_captions,
    noise_diagnosis,
    pairing_diagnosis,
    permutation_diagnosis,
    refuse_equal_rows,
)
from passerby.evaluation.paired import PairedReport, paired_markdown, paired_report
from passerby.losses.soft_target import soft_target
from passerby.metrics import relevance_from_labels
from passerby.models.dual_encoder import DualEncoder
from passerby.models.towers.base import TextTower
from passerby.retriever import Retriever


@pytest.fixture(scope="module")
def leaking():
    return trained(shown=True, signal=0.0)


@pytest.fixture(scope="module")
def honest():
    return trained(shown=False, signal=0.5)


def batch_loss(texts, images, batch=96):
    losses = [
        float(soft_target(torch.from_numpy(images[at : at + batch]), torch.from_numpy(texts[at : at + batch])))
        for at in range(0, len(texts), batch)
    ]
    return float(np.mean(losses))


def test_noise_reaches_the_reports_figures_when_the_encoder_sees_the_answer(leaking):
    """Tables II and III: 20.83 / 99.98 / 100.00 % and a loss of 1.66 from captions that know nothing."""
    world = World(192, 5, 0.0, seed=7)
    texts, images = rows_of(leaking, world)
    report = paired_report(texts, images, world.of, 96, name="cross", loss=batch_loss(texts, images))
    assert report.figures["paired_recall@1"] == pytest.approx(20.83, abs=0.6)
    assert report.figures["paired_recall@5"] > 97
    assert report.figures["paired_recall@10"] > 99
    assert report.ceilings["paired_recall@1"] == pytest.approx(20.83, abs=0.01)
    assert report.floor == pytest.approx(1.585, abs=1e-3)
    assert report.floor < report.loss < 1.9
    assert "duplicates decide it" in " ".join(report.diagnoses)


def test_noise_stays_at_chance_when_it_does_not():
    world = World(192, 5, 0.0, seed=7)
    texts, images = rows_of(trained(shown=False, signal=0.0, steps=100), world)
    report = paired_report(texts, images, world.of, 96)
    for key, chance in report.chance.items():
        assert report.figures[key] == pytest.approx(chance, abs=3)
    assert report.diagnoses == []


def test_the_noise_diagnosis_catches_one_and_not_the_other(leaking, honest):
    world = World(200, 1, 0.0, seed=8)
    relevance = relevance_from_labels(np.arange(200), np.arange(200))
    (caught,) = noise_diagnosis(scorer(leaking)(world.captions, world.pictures), relevance)
    assert "know which picture" in caught
    assert noise_diagnosis(scorer(honest)(world.captions, world.pictures), relevance) == []


def test_the_order_and_the_pairing_diagnosis_catch_one_and_not_the_other(leaking, honest):
    world = World(30, 1, 0.5, seed=9)
    captions, pictures = list(world.captions), list(world.pictures)
    for diagnose, words in ((permutation_diagnosis, "the place of a picture"), (pairing_diagnosis, "sees the answer")):
        assert words in " ".join(diagnose(scorer(leaking), captions, pictures))
        assert diagnose(scorer(honest), captions, pictures) == []


def test_information_makes_the_honest_model_useful_and_not_the_leaking_one(honest):
    """What the leak destroys: with words that say something, the model that copies its picture learns to read less."""
    world = World(200, 1, 0.5, seed=10)
    copies = trained(shown=True, signal=0.5)
    stranger = torch.zeros(200, 48)  # at search time there is no picture to copy
    with torch.inference_mode():
        scores = [
            (model.texts(world.captions, stranger) @ model.picture(world.pictures).T).numpy()
            for model in (honest, copies)
        ]
    found = [float((s.argmax(axis=1) == np.arange(200)).mean()) for s in scores]
    assert found[0] > 2 * found[1] > 0


@pytest.mark.parametrize("attention", ["none", "self", "sparse"])
def test_our_dual_encoders_pass_every_guard(attention):
    model = attended_model(attention)
    torch.manual_seed(1)
    captions, pictures = list(torch.randint(1, 100, (12, 6))), list(torch.randn(12, 3, 64, 32))

    @torch.inference_mode()
    def score(texts, images):
        return (model.encode_texts(torch.stack(list(texts))) @ model.encode_images(torch.stack(list(images))).T).numpy()

    assert permutation_diagnosis(score, captions, pictures) == []
    assert pairing_diagnosis(score, captions, pictures, query=3) == []


def test_encoding_a_sentence_takes_no_picture_by_type():
    """The leak cannot be written down: whatever encodes text is given text and nothing else."""
    for function, wanted in (
        (DualEncoder.encode_texts, ["self", "ids"]),
        (DualEncoder.project_texts, ["self", "ids"]),
        (TextTower.forward, ["self", "ids"]),
        (TextTower.tokens, ["self", "ids"]),
    ):
        assert list(inspect.signature(function).parameters) == wanted
    assert not any("imag" in name or "pixel" in name for name in inspect.signature(Retriever.encode_texts).parameters)


# -- duplicates -----------------------------------------------------------------------------------------------------


def small_split(repeat=False):
    images = tuple(PersonImage(f"{n}.jpg", Path(f"{n // 2 if repeat else n}.jpg"), n // 2) for n in range(6))
    return Split("test", images, tuple(Caption(f"a person {n}", f"{n}.jpg") for n in range(6)))


def test_a_file_that_is_listed_twice_is_refused():
    rules = find_protocol("text-to-image")
    assert len(set_up(small_split(), rules).rows) == 6
    with pytest.raises(DataError, match=r"lists the picture 0.jpg twice, as '0.jpg' and '1.jpg'"):
        set_up(small_split(repeat=True), rules)


def test_equal_rows_are_counted_and_refused():
    vectors = np.eye(3, dtype=np.float32)[[0, 1, 1, 2, 2]]
    assert equal_rows(vectors) == (3, 5)
    with pytest.raises(DataError, match=r"5 rows of which 3 are distinct.*'b' and 'c'.*60.00 %"):
        refuse_equal_rows(vectors, list("abcde"))
    refuse_equal_rows(np.eye(3), list("abc"))


def test_an_evaluation_says_when_equal_rows_decide_it(caplog):
    images = np.eye(4, dtype=np.float32)[[0, 0, 1, 1, 2, 2]]
    rules = find_protocol("text-to-own-image")
    with caplog.at_level(logging.WARNING):
        report = evaluate_features(Features(images, images), small_split(), rules, name="cross")
    assert report.r1 == pytest.approx(50)
    assert "cross: R@1 is 50.00 % and 3 of 6 rows are distinct" in caplog.text
    caplog.clear()
    evaluate_features(Features(np.eye(6, dtype=np.float32), np.eye(6, dtype=np.float32)), small_split(), rules)
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("r1", "groups", "rows", "loss", "words"),
    [
        (0.2083, 2083, 10_000, None, ["the duplicates decide it"]),
        (0.2000, 2083, 10_000, None, []),
        (0.15, 2000, 10_000, 1.7, []),
        (0.15, 2000, 10_000, 1.5, ["below 1.609"]),
        (0.2, 2000, 10_000, 0.01, ["decide it", "below 1.609"]),
        (1.0, 10, 10, 0.0, []),
    ],
)
def test_duplicate_diagnosis(r1, groups, rows, loss, words):
    found = duplicate_diagnosis(r1, groups, rows, loss)
    assert len(found) == len(words)
    for sentence, part in zip(found, words, strict=True):
        assert part in sentence


def test_noise_captions_keep_everything_but_the_words():
    split = small_split()
    noise = noise_captions(split, words=5, seed=1)
    assert [c.image_id for c in noise.captions] == [c.image_id for c in split.captions]
    assert noise.images == split.images
    assert all(len(caption.text.split()) == 5 for caption in noise.captions)
    assert noise != noise_captions(split, words=5, seed=2)
    with pytest.raises(DataError, match="no words"):
        noise_captions(Split("test", split.images))


def test_paired_figures_carry_their_warning_and_fit_no_honest_table():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(5, 4)).repeat(2, axis=0)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    report = paired_report(vectors, vectors, np.repeat(np.arange(5), 2), 4, name="a|b", loss=0.9)
    tree = json.loads(json.dumps(report.as_dict()))
    assert tree["warning"] == PairedReport.warning
    assert not {"r1", "r5", "r10", "map"} & set(tree)
    page = paired_markdown([report])
    assert page.startswith(f"> {PairedReport.warning}")
    assert "| 4 | 50.00 (50.00) | 100.00 (100.00) |" in page
    assert "0.90 (0.69)" in page
    assert "a\\|b" in page
    with pytest.raises((KeyError, AttributeError)):
        markdown_table([report])  # type: ignore[list-item]


def test_one_picture_cannot_replace_itself():
    with pytest.raises(DataError, match="at least two"):
        pairing_diagnosis(lambda texts, pictures: np.zeros((1, 1)), ["a"], ["b"])
